"""The notebook runs from top to bottom, as anyone's would, and is short."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "walkthrough.ipynb"


def test_the_walkthrough_runs(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == "code"]
    assert sum(len(cell.splitlines()) for cell in cells) <= 70
    assert all(not cell["outputs"] for cell in document["cells"] if cell["cell_type"] == "code")
    names: dict[str, Any] = {}
    for number, cell in enumerate(cells):
        exec(compile(cell, f"cell {number}", "exec"), names)
    assert names["verification"].holds
    assert names["summary"].fidelity.replay == 1.0
    assert names["summary"].returns.pruned is None, "the summary was read before pruning"
    assert names["pruning"].decisions[1] <= names["pruning"].decisions[0]
    told = capsys.readouterr().out
    assert "the machine gains" in told and "holds" in told
