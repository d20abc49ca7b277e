"""The whole job made small, with two code sizes to search and two blocks to evaluate, and a way for it to die."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn, Self, get_args

from moorelens.fsm.config import QuantiseConfig
from moorelens.pipelines.config import ExplainConfig
from moorelens.pipelines.explain import explain_stages, run_job
from moorelens.pipelines.job import Job, open_job
from moorelens.pipelines.outcome import RunResult
from moorelens.runs.checkpoints import Checkpoint

# Of moment: a call of a Python function, a change to the disk, or the middle of writing a file.
Kind = Literal["call", "disk", "file"]

STAGES = ("rollouts", "quantise", "extract", "reduce", "draw", "saliency", "evaluate", "repeats", "report")

QUANTISE = QuantiseConfig(
    sizes=((3, 3), (8, 8)),
    rounds=4,
    episodes=4,
    restarts=0,
    search_all=True,
    stop_early=False,
    pretrain_updates=150,
    selection_episodes=4,
)


def job(folder: Path, **options: Any) -> Job:
    """The bundled CartPole policy in games of 60 steps."""
    config = ExplainConfig(
        policy="zoo:cartpole",
        out=str(folder),
        env="CartPole-v1",
        env_kwargs={"max_episode_steps": 60},
        preset="quick",
        episodes=4,
        held_out=30,
        repeats=2,
        **options,
    )
    return dataclasses.replace(open_job(config), quantise=QUANTISE)


def run(folder: Path, **options: Any) -> RunResult:
    """Run the job to its end."""
    small = job(folder, **options)
    return run_job(small, "explain", explain_stages(small), progress=None)


def run_and_count(folder: Path, counts: Path) -> None:
    """Run the job to its end, and write to `counts` how many moments of each kind every stage has."""
    small, watch = job(folder), _Count()
    run_job(small, "explain", explain_stages(small), progress=watch)
    counts.write_text(json.dumps(watch.counts))


def run_and_die(folder: Path, notes: Path, stage: str, saves: int, kind: Kind, moment: int) -> None:
    """Run the job with a checkpoint at every occasion, until SIGKILL comes in `stage`.

    It comes at the stage's `moment`-th call, change to the disk or half-written file after `saves` checkpoints, or at
    the stage's end where there is none. No clock is asked, so that a busy machine meets the same moments. `notes`
    collects what was continued, and how the run died.
    """
    death = _Death(stage, saves, kind, moment, notes)
    _save_often(death)
    small = job(folder)
    run_job(small, "explain", explain_stages(small), progress=death)


def _save_often(death: _Death) -> None:
    load, save = Checkpoint.load, Checkpoint.save

    def noted(self: Checkpoint) -> Mapping[str, bytes] | None:
        found = load(self)
        if found is not None:
            death.note("continued")
        return found

    def counted(self: Checkpoint, files: Mapping[str, bytes]) -> None:
        save(self, files)
        death.saved()

    Checkpoint.load = noted  # type: ignore[method-assign]
    Checkpoint.save = counted  # type: ignore[method-assign]
    Checkpoint.due = lambda self, every_s=20.0: True  # type: ignore[method-assign]


def _watch_disk(changing: Callable[[], None], written: Callable[[int], None]) -> None:
    """Call `changing` before and after all that changes the disk, and `written` with a file that will be flushed."""

    def watched(name: str) -> None:
        function = getattr(os, name)

        def wrapper(*arguments: Any, **options: Any) -> Any:
            changing()
            if name == "fsync" and stat.S_ISREG(os.fstat(arguments[0]).st_mode):
                written(arguments[0])
            result = function(*arguments, **options)
            changing()
            return result

        setattr(os, name, wrapper)

    for name in ("open", "replace", "unlink", "mkdir", "rmdir", "fsync"):
        watched(name)


class _Watch:
    """A progress that sees every moment of every stage go by, and stands in for the one that a person watches."""

    def __init__(self) -> None:
        self.stage = ""
        _watch_disk(lambda: self.moment("disk"), lambda file: self.moment("file", file))

    def task(self, name: str, total: int | None = None) -> _Task:
        inner = bool(self.stage)  # a stage's own tasks, one of which bears the name of its stage
        return _Task(self, None if inner else name)

    def begin(self) -> None:
        """A stage has begun; `stage` is its name."""

    def moment(self, kind: Kind, file: int | None = None) -> None:
        """Something has happened, inside `stage` or outside of all (empty); `file` is one that was just written."""

    def end(self) -> None:
        """A stage has done all that it does, its files are in place, and `stage` is still its name."""

    def watch_calls(self) -> None:
        """Have each call of a Python function in this thread be a moment."""
        sys.setprofile(lambda frame, event, argument: self.moment("call") if event == "call" else None)


class _Count(_Watch):
    def __init__(self) -> None:
        self.counts: dict[str, dict[Kind, int]] = {stage: dict.fromkeys(get_args(Kind), 0) for stage in STAGES}
        super().__init__()

    def begin(self) -> None:
        self.watch_calls()

    def moment(self, kind: Kind, file: int | None = None) -> None:
        if self.stage:
            self.counts[self.stage][kind] += 1


class _Death(_Watch):
    """A progress that kills its own process at one moment of one stage, without a chance to clean up."""

    def __init__(self, stage: str, saves: int, kind: Kind, moment: int, notes: Path) -> None:
        self._where, self._saves, self._kind, self._left, self._notes = stage, saves, kind, moment, notes
        super().__init__()

    def begin(self) -> None:
        if self.stage == self._where and self._kind == "call":
            self.watch_calls()

    def saved(self) -> None:
        if self.stage == self._where:
            self._saves -= 1

    def moment(self, kind: Kind, file: int | None = None) -> None:
        if self.stage == self._where and kind == self._kind and self._saves <= 0:
            self._left -= 1
            if self._left <= 0:
                if file is not None:
                    os.ftruncate(file, os.fstat(file).st_size // 2)
                self._die(f"at a {kind} of")

    def end(self) -> None:
        if self.stage == self._where:
            self._die("at the end of")

    def note(self, text: str) -> None:
        with self._notes.open("a") as file:
            file.write(f"{text} {self.stage}\n")

    def _die(self, where: str) -> NoReturn:
        sys.setprofile(None)
        self.note(f"died {where}")
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("SIGKILL does not return")


class _Task:
    def __init__(self, watch: _Watch, stage: str | None) -> None:
        self._watch, self._stage = watch, stage

    def advance(self, n: int = 1) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def __enter__(self) -> Self:
        if self._stage is not None:
            self._watch.stage = self._stage
            self._watch.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stage is not None and error is None:
            self._watch.end()
            self._watch.stage = ""
