"""Stages made on request after a run: they join it, outlive its continuation, and go when what they read changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest

from moorelens.errors import RunFolderError
from moorelens.runs.manifest import MANIFEST, Manifest
from moorelens.runs.stages import RunOutcome, Stage, StageContext, add_stages, run_stages
from tests.runs import toy

HEADER = toy.header()


def sums(seed: int = 1) -> list[Stage]:
    """A run that counts, and sums up with what was added, where it is there."""

    def total(context: StageContext) -> dict[str, bytes]:
        extra = context.read("extra") if "extra" in context.names() else b"none"
        return {"sum": context.read("count") + b" and " + extra}

    return [
        Stage(name="count", run=lambda _: {"count": str(seed).encode()}, config=seed, outputs=("count",)),
        Stage(name="sum", run=total, needs=("count",), uses=("extra",), outputs=("sum",)),
    ]


def extra(config: int = 1) -> Stage:
    return Stage(
        name="extra",
        run=lambda context: {"extra": context.read("count") + b"+" + str(config).encode()},
        config=config,
        needs=("count",),
        outputs=("extra",),
        added=True,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run_stages(tmp_path / "r", sums(), header=HEADER)
    return tmp_path / "r"


def test_an_added_stage_joins_the_run_and_what_uses_it_is_made_anew(folder: Path) -> None:
    before = toy.tree(folder)
    assert add_stages(folder, [extra(), sums()[1]]).ran == ("extra", "sum")
    after = toy.tree(folder)
    assert after["extra"] == b"1+1" and after["sum"] == b"1 and 1+1"
    assert {name for name in before if after[name] != before[name]} <= {"sum", MANIFEST, "run-log.json"}
    manifest = msgspec.json.decode(after[MANIFEST], type=Manifest)
    assert [(entry.name, entry.added) for entry in manifest.stages] == [
        ("count", False),
        ("sum", False),
        ("extra", True),
    ]
    assert manifest.header == HEADER


def test_nothing_is_made_twice_and_other_options_replace_only_the_added_files(folder: Path) -> None:
    add_stages(folder, [extra()])
    assert add_stages(folder, [extra()]) == RunOutcome(ran=(), held=("extra",), left_out=())
    assert add_stages(folder, [extra(2)]).ran == ("extra",)
    assert toy.tree(folder)["extra"] == b"1+2"


def test_the_run_goes_on_with_what_was_added_to_it(folder: Path) -> None:
    add_stages(folder, [extra()])
    assert run_stages(folder, sums(), header=HEADER).ran == ("sum",)
    assert toy.tree(folder)["sum"] == b"1 and 1+1"
    assert run_stages(folder, sums(), header=HEADER).ran == ()


def test_what_was_computed_from_other_files_goes(folder: Path) -> None:
    add_stages(folder, [extra(), sums()[1]])
    run_stages(folder, sums(seed=2), header=HEADER)
    tree = toy.tree(folder)
    assert "extra" not in tree and tree["sum"] == b"2 and none"


def test_starting_over_removes_what_was_added(folder: Path) -> None:
    add_stages(folder, [extra()])
    run_stages(folder, sums(), header=HEADER, force=True)
    assert "extra" not in toy.tree(folder)


@pytest.mark.parametrize("what", ["nothing", "file", "empty", "foreign"])
def test_what_is_no_run_is_refused_and_not_touched(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x"
    if what == "file":
        path.write_text("x")
    elif what != "nothing":
        path.mkdir()
        if what == "foreign":
            (path / MANIFEST).write_text("{}")
    before = toy.tree(tmp_path)
    with pytest.raises(RunFolderError, match="A run is a folder"):
        add_stages(path, [extra()])
    assert toy.tree(tmp_path) == before


def test_a_run_that_lacks_what_a_stage_needs_is_told_to_go_on(folder: Path) -> None:
    missing = dataclasses.replace(extra(), needs=("nowhere",))
    with pytest.raises(RunFolderError, match="lacks nowhere: it was stopped"):
        add_stages(folder, [missing])


def test_a_stage_may_need_a_folder_of_the_run(tmp_path: Path) -> None:
    paint = Stage(name="paint", run=lambda _: {"pictures/a": b"a", "pictures/b": b"b"}, outputs=("pictures/",))
    run_stages(tmp_path / "r", [paint], header=HEADER)
    counted = Stage(
        name="count",
        run=lambda context: {"count": str(len(context.names("pictures/"))).encode()},
        needs=("pictures/",),
        outputs=("count",),
        added=True,
    )
    assert add_stages(tmp_path / "r", [counted]).ran == ("count",)
    assert toy.tree(tmp_path / "r")["count"] == b"2"
