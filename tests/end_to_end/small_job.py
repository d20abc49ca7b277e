"""The whole job made small, with two code sizes to search and two blocks to evaluate, and a way for it to die."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from moorelens.fsm.config import QuantiseConfig
from moorelens.pipelines.config import ExplainConfig
from moorelens.pipelines.explain import explain_stages, run_job
from moorelens.pipelines.job import Job, open_job
from moorelens.pipelines.outcome import RunResult
from moorelens.runs.checkpoints import Checkpoint

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


def run_and_die(folder: Path, notes: Path, stage: str, saves: int, seconds: float) -> None:
    """Run the job with a checkpoint at every occasion, until SIGKILL comes in `stage`.

    It comes `seconds` after the stage has begun and saved `saves` checkpoints, or at the stage's end if that is
    earlier. `notes` collects what was continued, and how the run died.
    """
    death = _Death(stage, saves, seconds, notes)
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


class _Death:
    """A progress that kills its own process some time into one stage, without a chance to clean up."""

    def __init__(self, stage: str, saves: int, seconds: float, notes: Path) -> None:
        self._stage, self._saves, self._seconds, self._notes = stage, saves, seconds, notes
        self._inside = False

    def task(self, name: str, total: int | None = None) -> _Task:
        return _Task(self if name == self._stage else None)

    def begin(self) -> None:
        self._inside = True
        self._arm()

    def saved(self) -> None:
        if self._inside:
            self._saves -= 1
            self._arm()

    def die(self, where: str) -> None:
        self.note(f"died {where}")
        os.kill(os.getpid(), signal.SIGKILL)

    def note(self, text: str) -> None:
        with self._notes.open("a") as file:
            file.write(f"{text} {self._stage}\n")

    def _arm(self) -> None:
        if self._saves == 0:
            threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        time.sleep(self._seconds)
        self.die("inside")


class _Task:
    def __init__(self, death: _Death | None) -> None:
        self._death = death

    def advance(self, n: int = 1) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def __enter__(self) -> Self:
        if self._death is not None:
            self._death.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._death is not None and error is None:
            self._death.die("at the end of")
