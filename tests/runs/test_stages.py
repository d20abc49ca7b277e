"""What is run, what is not run again, what is refused, and what is left when something goes wrong."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moorelens.errors import InvariantError, RunFolderError, StorageError
from moorelens.runs.manifest import Header, installed_versions
from moorelens.runs.progress import PlainProgress
from moorelens.runs.stages import RunOutcome, Stage, StageContext, run_stages
from tests.runs import toy


def run(folder: Path, stages: list[Stage] | None = None, **options: Any) -> RunOutcome:
    options.setdefault("header", toy.header())
    return run_stages(folder, toy.stages() if stages is None else stages, **options)


class TestWhatIsRun:
    def test_everything_the_first_time_and_nothing_the_second(self, tmp_path: Path) -> None:
        assert run(tmp_path / "r") == RunOutcome(ran=("rollouts", "climb", "paint"), held=(), left_out=())
        before = toy.tree(tmp_path / "r")
        assert run(tmp_path / "r") == RunOutcome(ran=(), held=("rollouts", "climb", "paint"), left_out=())
        assert toy.tree(tmp_path / "r") == before

    def test_a_changed_config_runs_later_stages_only_where_their_inputs_changed(self, tmp_path: Path) -> None:
        run(tmp_path / "r")
        outcome = run(tmp_path / "r", toy.stages(seed=2))  # the stage gives the same bytes for every seed
        assert outcome.ran == ("rollouts",)

    def test_changed_bytes_run_what_is_computed_from_them(self, tmp_path: Path) -> None:
        outputs = iter([b"1", b"2"])

        def first(context: StageContext) -> dict[str, bytes]:
            return {"a": next(outputs)}

        def plan(seed: int) -> list[Stage]:
            return [
                Stage(name="first", run=first, config=seed, outputs=("a",)),
                Stage(name="second", run=lambda c: {"b": c.read("a")}, needs=("a",), outputs=("b",)),
                Stage(name="other", run=lambda c: {"c": b"c"}, outputs=("c",)),
            ]

        run(tmp_path / "r", plan(1))
        assert run(tmp_path / "r", plan(2)).ran == ("first", "second")
        assert toy.tree(tmp_path / "r")["b"] == b"2"

    @pytest.mark.parametrize("change", [{"threads": 2}, {"versions": {"numpy": "3"}}])
    def test_other_versions_or_threads_run_everything(self, tmp_path: Path, change: dict[str, Any]) -> None:
        run(tmp_path / "r")
        header = msgspec.structs.replace(toy.header(), **change)
        assert run(tmp_path / "r", header=header).ran == ("rollouts", "climb", "paint")

    def test_recorded_config_and_seeds_decide_nothing(self, tmp_path: Path) -> None:
        run(tmp_path / "r")
        header = msgspec.structs.replace(toy.header(), config={"quiet": True}, seeds={"fit": [1]})
        assert run(tmp_path / "r", header=header).ran == ()

    def test_force_starts_over(self, tmp_path: Path) -> None:
        run(tmp_path / "r")
        before = toy.tree(tmp_path / "r")
        assert len(run(tmp_path / "r", force=True).ran) == 3
        assert toy.tree(tmp_path / "r") == before
        assert len(json.loads((tmp_path / "r/run-log.json").read_text())["sessions"]) == 1

    @pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"x")])
    def test_a_damaged_or_missing_file_is_made_again(self, tmp_path: Path, harm: Callable[[Path], Any]) -> None:
        run(tmp_path / "r")
        before = toy.tree(tmp_path / "r")
        harm(tmp_path / "r/value.txt")
        assert run(tmp_path / "r").ran == ("climb",)
        assert toy.tree(tmp_path / "r") == before

    @pytest.mark.parametrize("text", ["", "{", '{"format": "moorelens.manifest/1"', "[]"])
    def test_a_damaged_manifest_of_this_run_is_made_again(self, tmp_path: Path, text: str) -> None:
        run(tmp_path / "r")
        before = toy.tree(tmp_path / "r")
        (tmp_path / "r/manifest.json").write_text(text)
        assert len(run(tmp_path / "r").ran) == 3
        assert toy.tree(tmp_path / "r") == before

    def test_files_that_a_changed_stage_no_longer_writes_go(self, tmp_path: Path) -> None:
        def plan(count: int) -> list[Stage]:
            files = {f"saliency/{i}.png": b"" for i in range(count)}
            return [Stage(name="draw", run=lambda c: files, config=count, outputs=("saliency/",))]

        run(tmp_path / "r", plan(3))
        run(tmp_path / "r", plan(1))
        assert sorted(toy.tree(tmp_path / "r")) == ["manifest.json", "saliency", "saliency/0.png"]
        run(tmp_path / "r", plan(0))
        assert sorted(toy.tree(tmp_path / "r")) == ["manifest.json"]

    def test_files_of_a_stage_that_the_run_no_longer_has_go(self, tmp_path: Path) -> None:
        run(tmp_path / "r")
        run(tmp_path / "r", toy.stages()[:2])
        assert sorted(toy.tree(tmp_path / "r")) == ["manifest.json", "rolls.npz", "value.txt"]

    def test_a_users_own_file_stays(self, tmp_path: Path) -> None:
        run(tmp_path / "r")
        (tmp_path / "r/notes.txt").write_text("mine")
        run(tmp_path / "r", force=True)
        assert (tmp_path / "r/notes.txt").read_text() == "mine"


class TestWhatIsRefused:
    def refused(self, folder: Path, **options: Any) -> str:
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} if folder.is_dir() else {}
        with pytest.raises(RunFolderError) as caught:
            run(folder, **options)
        if folder.is_dir():
            assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
        return str(caught.value)

    def test_another_runs_folder(self, tmp_path: Path) -> None:
        run(tmp_path)
        assert "policy" in self.refused(tmp_path, header=toy.header("p2"))
        assert "made by `toy`" in self.refused(tmp_path, header=toy.header(verb="explain"))

    def test_another_runs_folder_with_a_damaged_manifest(self, tmp_path: Path) -> None:
        run(tmp_path)
        (tmp_path / "manifest.json").write_text("{")
        assert "damaged" in self.refused(tmp_path, header=toy.header("p2"))

    def test_another_runs_folder_may_be_taken_over_by_force(self, tmp_path: Path) -> None:
        other = Stage(name="x", run=lambda c: {"old/x": b"x"}, outputs=("old/",))
        run(tmp_path / "r", [other], header=toy.header("p2"))
        run(tmp_path / "r", force=True)
        run(tmp_path / "undisturbed")
        assert toy.tree(tmp_path / "r") == toy.tree(tmp_path / "undisturbed")

    @pytest.mark.parametrize("force", [False, True])
    def test_a_folder_of_something_else(self, tmp_path: Path, force: bool) -> None:
        (tmp_path / "thesis.tex").write_text("text")
        assert "files that are not a run's" in self.refused(tmp_path, force=force)

    @pytest.mark.parametrize("force", [False, True])
    def test_another_programs_manifest(self, tmp_path: Path, force: bool) -> None:
        (tmp_path / "manifest.json").write_text('{"name": "web app"}')
        assert "files that are not a run's" in self.refused(tmp_path, force=force)

    def test_a_file_in_the_place_of_the_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        assert "is a file" in self.refused(tmp_path / "file")

    def test_a_folder_below_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        assert "cannot be written" in self.refused(tmp_path / "file/run")

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # Root may write everywhere, so the refusal comes from a stand-in for the system call.
        def refuse(path: Any, *args: Any, **kwargs: Any) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

        monkeypatch.setattr(os, "mkdir", refuse)
        assert "Permission denied" in self.refused(tmp_path / "r")

    def test_a_folder_in_which_another_process_works(self, tmp_path: Path) -> None:
        program = (
            "import sys; from pathlib import Path; from tests.runs import toy; from moorelens.runs.opening import "
            "open_folder\n"
            "with open_folder(Path(sys.argv[1]), toy.header(), order=[]): print('in', flush=True); sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "r")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"in\n"
            assert "another one is at work" in self.refused(tmp_path / "r")
            other.kill()
        assert len(run(tmp_path / "r").ran) == 3


class TestAFullDisk:
    def test_names_the_disk_and_loses_nothing(self, tmp_path: Path) -> None:
        """A file-size limit of the system stands for the disk: the kernel refuses the write in the same way."""
        pytest.importorskip("resource")
        program = (
            "import resource, signal, sys; from pathlib import Path; from tests.runs import toy\n"
            "from moorelens.runs.stages import Stage, run_stages\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, "
            "50_000))\n"
            "big = Stage(name='big', run=lambda c: {'small': b'x', 'big': bytes(100_000)}, outputs=('small', 'big'))\n"
            "run_stages(Path(sys.argv[1]), [*toy.stages(), big], header=toy.header())"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "r")],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "StorageError" in done.stderr
        assert "is full" in done.stderr
        assert {"rolls.npz", "value.txt", "report.html"} <= set(toy.tree(tmp_path / "r"))
        assert not {"small", "big"} & set(toy.tree(tmp_path / "r"))
        assert run(tmp_path / "r").ran == ()

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
    def test_every_write_that_fails_is_told_in_one_sentence(
        self, tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(tmp_path / "undisturbed")
        for change in range(1, 12):
            folder = tmp_path / str(change)
            with monkeypatch.context() as patch:
                _fail_at(patch, change, code)
                with pytest.raises((StorageError, RunFolderError)) as caught:
                    run(folder)
            assert "\n" not in str(caught.value)
            assert len(run(folder).ran) <= 3
            assert toy.tree(folder) == toy.tree(tmp_path / "undisturbed")


def _fail_at(patch: pytest.MonkeyPatch, change: int, code: int) -> None:
    left = change
    function = os.fsync

    def failing(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError(code, os.strerror(code))
        function(descriptor)

    patch.setattr(os, "fsync", failing)


class TestATimeLimit:
    def test_stops_between_stages(self, tmp_path: Path) -> None:
        outcome = run(tmp_path / "r", max_minutes=0)
        assert outcome == RunOutcome(ran=(), held=(), left_out=("rollouts", "climb", "paint"))
        assert run(tmp_path / "r").ran == ("rollouts", "climb", "paint")

    def test_stops_at_a_checkpoint_and_goes_on_there(self, tmp_path: Path) -> None:
        steps: list[int] = []

        def climb(context: StageContext) -> Mapping[str, bytes]:
            saved = context.checkpoint.load()
            for step in range(int(saved["step"]) if saved else 0, 3):
                steps.append(step)
                time.sleep(0.03)
                context.checkpoint.save({"step": str(step + 1).encode()})
            return {"value.txt": b"done"}

        plan = [Stage(name="climb", run=climb, outputs=("value.txt",)), Stage(name="end", run=lambda c: {})]
        assert run(tmp_path / "r", plan, max_minutes=0.01 / 60).left_out == ("climb", "end")
        assert "stopped by the time limit" in (tmp_path / "r/run-log.json").read_text()
        assert run(tmp_path / "r", plan).left_out == ()
        assert steps == [0, 1, 2]

    def test_a_stage_that_time_cut_off_is_not_said_to_be_done(self, tmp_path: Path) -> None:
        def slow(context: StageContext) -> Mapping[str, bytes]:
            context.checkpoint.save({"round": b"1"})
            time.sleep(0.02)
            context.checkpoint.stop_if_late()  # in the middle of a round, which is then played again
            return {"value.txt": b"done"}

        said = io.StringIO()
        plan = [Stage(name="slow", run=slow, outputs=("value.txt",))]
        limit = {"max_minutes": 0.01 / 60, "progress": PlainProgress(said, quiet_s=0.0)}
        assert run(tmp_path / "r", plan, **limit).left_out == ("slow",)
        assert "done" not in said.getvalue()
        assert run(tmp_path / "r", plan, progress=PlainProgress(said, quiet_s=0.0)).ran == ("slow",)
        assert "slow: done" in said.getvalue()

    def test_a_part_that_was_left_out_is_told_and_made_up_for(self, tmp_path: Path) -> None:
        def search(context: StageContext) -> Mapping[str, bytes]:
            left = context.seconds_left()
            if left is None:
                return {"best": b"2"}
            context.leave_out("code sizes above 64")
            return {"best": b"1"}

        plan = [Stage(name="search", run=search, outputs=("best",))]
        assert run(tmp_path / "r", plan, max_minutes=5).left_out == ("code sizes above 64",)
        assert run(tmp_path / "r", plan).ran == ("search",)
        assert toy.tree(tmp_path / "r")["best"] == b"2"


class TestInterruptionAndFailure:
    @pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no")])
    def test_keeps_what_was_done(self, tmp_path: Path, error: BaseException) -> None:
        def fail(context: StageContext) -> Mapping[str, bytes]:
            raise error

        broken = dataclasses.replace(toy.stages()[2], run=fail)
        with pytest.raises(type(error)):
            run(tmp_path / "r", [*toy.stages()[:2], broken])
        assert "stage failed" in (tmp_path / "r/run-log.json").read_text()
        assert run(tmp_path / "r").ran == ("paint",)


class TestTheManifest:
    def test_holds_no_date_no_host_and_no_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run(tmp_path / "a" / "r")
        (tmp_path / "b").mkdir()
        monkeypatch.chdir(tmp_path / "b")
        run(Path("r"))
        assert toy.tree(tmp_path / "a/r") == toy.tree(tmp_path / "b/r")
        assert str(tmp_path) not in (tmp_path / "a/r/manifest.json").read_text()

    def test_versions_are_read_without_importing(self) -> None:
        program = (
            "import sys; from moorelens.runs.manifest import installed_versions; v = installed_versions()\n"
            "assert {'python', 'torch', 'numpy', 'moorelens'} <= set(v); assert 'torch' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
        assert installed_versions(["surely-not-installed"]).keys() == {"python"}

    def test_checks_itself_when_read(self) -> None:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"verb": "x"}, type=Header)


class TestAPlan:
    @pytest.mark.parametrize(
        "stages",
        [
            [Stage(name="a", run=lambda c: {}), Stage(name="a", run=lambda c: {})],
            [Stage(name="a", run=lambda c: {}, needs=("x",))],
            [Stage(name="a", run=lambda c: {}, outputs=("x",)), Stage(name="b", run=lambda c: {}, outputs=("x",))],
            [Stage(name="a", run=lambda c: {}, outputs=("x",))],
            [Stage(name="a", run=lambda c: {"x": b""})],
            [Stage(name="a", run=lambda c: {"../x": b""}, outputs=("../",))],
            [Stage(name="a", run=lambda c: {"manifest.json": b""}, outputs=("manifest.json",))],
            [Stage(name="a", run=lambda c: {"x": c.read("y")}, outputs=("x",))],
        ],
        ids=[
            "two of a name",
            "unknown need",
            "two writers",
            "missing",
            "undeclared",
            "outside",
            "manifest",
            "unlisted need",
        ],
    )
    def test_that_contradicts_itself_is_refused(self, tmp_path: Path, stages: list[Stage]) -> None:
        with pytest.raises(InvariantError):
            run(tmp_path / "r", stages)
        assert not (tmp_path / "x").exists()
