"""The tree of errors, its exit codes, and its drawing in the module's own docstring."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path

import pytest

from moorelens import errors

CLASSES = [value for _, value in inspect.getmembers(errors, inspect.isclass) if value.__module__ == errors.__name__]


def test_all_errors_have_one_root() -> None:
    assert all(issubclass(error, errors.MooreLensError) for error in CLASSES)


@pytest.mark.parametrize("error", CLASSES)
def test_exit_codes_say_whose_fault_it_is(error: type[errors.MooreLensError]) -> None:
    expected = 2 if issubclass(error, errors.RequestError) else 3 if error is errors.MissingToolError else 1
    assert error.exit_code == expected


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_stands_in_the_drawing_below_its_parent(error: type[errors.MooreLensError]) -> None:
    lines = (errors.__doc__ or "").splitlines()
    row, depth = _place(lines, error.__name__)
    parents = [line for line in lines[:row] if _depth(line) == depth - 1 and _depth(line) >= 0]
    parent = error.__bases__[0]
    assert parent is Exception or parents[-1].split("─ ")[-1].split()[0] == parent.__name__


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_has_its_paragraph_in_the_docs(error: type[errors.MooreLensError]) -> None:
    page = (Path(__file__).parents[1] / "docs/errors.md").read_text(encoding="utf-8")
    assert page.count(f"**{error.__name__}**") == 1


@pytest.mark.parametrize("error", CLASSES)
def test_errors_cross_processes(error: type[errors.MooreLensError]) -> None:
    copy = pickle.loads(pickle.dumps(error("one sentence")))
    assert type(copy) is error
    assert str(copy) == "one sentence"


def _place(lines: list[str], name: str) -> tuple[int, int]:
    (row,) = [i for i, line in enumerate(lines) if line.split("─ ")[-1].split()[:1] == [name]]
    return row, _depth(lines[row])


def _depth(line: str) -> int:
    if "── " not in line:
        return 0 if line.strip().startswith("MooreLensError") else -1
    return (line.index("── ") - 4) // 4 + 1
