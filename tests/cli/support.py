"""Runs the command line in this process and hands back what a shell would see."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from moorelens.cli.main import main


@dataclass(frozen=True)
class Shell:
    """Exit code, stdout and stderr of one command."""

    code: int
    out: str
    err: str


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Shell:
    capsys.readouterr()
    code = main(list(arguments))
    captured = capsys.readouterr()
    return Shell(code, captured.out, captured.err)


def refused(shell: Shell, *, code: int = 2) -> str:
    """Check that a command was refused in one sentence on stderr, and return the sentence."""
    assert shell.code == code, shell
    assert shell.out == ""
    assert shell.err.startswith("moorelens: ")
    assert shell.err.count("\n") == 1
    assert "Traceback" not in shell.err
    return shell.err
