"""`doctor` says what is there and what is not, and never fails for want of a part."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from typing import Any

import pytest

from moorelens import graphviz
from tests.cli.support import run

PARTS = ["python", "packages", "torch", "graphviz", "pdf", "fonts", "atari", "chromium", "extras", "disk"]


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    shell = run(capsys, "doctor", "--json")
    assert shell.code == 0
    return {finding["name"]: finding for finding in json.loads(shell.out)}


def test_every_part_is_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    found = findings(capsys)
    assert list(found) == PARTS
    assert found["graphviz"]["ok"]
    assert "pygraphviz" in found["graphviz"]["found"]
    assert "torch" in found["packages"]["found"]


def test_in_words_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    shell = run(capsys, "doctor")
    assert [line[3:13].strip() for line in shell.out.splitlines() if line[:2] in ("ok", "--")] == PARTS


def test_absent_parts_are_findings(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphviz, "routes", lambda: ())
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "typst", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    found = findings(capsys)
    assert [name for name, finding in found.items() if not finding["ok"]] == [
        "torch", "graphviz", "pdf", "fonts", "atari", "chromium",
    ]  # fmt: skip
    assert "pip install pygraphviz" in found["graphviz"]["found"]
    assert "does not work here" in found["torch"]["found"]
