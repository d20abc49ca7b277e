"""`zoo list` and its table."""

from __future__ import annotations

import pytest

from moorelens.pipelines.zoo import zoo_table
from tests.cli.support import refused, run


def test_the_table_is_that_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    shell = run(capsys, "zoo", "list", "--markdown")
    assert (shell.code, shell.out) == (0, zoo_table())
    assert "`zoo list` prints one document" in refused(run(capsys, "zoo", "list", "--markdown", "--json"))
