"""The whole job, killed at random moments of every stage, ends in the folder of an undisturbed run, byte for byte."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moorelens.runs.stages import Limit
from tests.end_to_end import small_job
from tests.runs.toy import tree

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")

# Where SIGKILL strikes: the stage, how many checkpoints of it come before, and at what kind of moment. Every stage
# while it computes or while it writes, those that keep checkpoints again and again.
DEATHS: list[tuple[str, int, small_job.Kind]] = [
    ("rollouts", 0, "call"),
    ("quantise", 0, "call"),
    ("quantise", 2, "call"),
    ("quantise", 2, "file"),
    ("extract", 0, "call"),
    ("extract", 0, "file"),
    ("reduce", 0, "disk"),
    ("draw", 0, "call"),
    ("draw", 0, "file"),
    ("saliency", 0, "call"),
    ("saliency", 1, "disk"),
    ("evaluate", 0, "call"),
    ("evaluate", 2, "disk"),
    ("repeats", 0, "call"),
    ("repeats", 2, "file"),
    ("repeats", 1, "call"),
    ("report", 0, "call"),
    ("report", 0, "file"),
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert in_another_process(small_job.run_and_count, folder / "run", folder / "counts.json") == 0
    return folder


def test_kills_change_nothing(undisturbed: Path, tmp_path: Path) -> None:
    killed, notes = tmp_path / "killed", tmp_path / "notes"
    counts = json.loads((undisturbed / "counts.json").read_text())
    assert list(counts) == list(dict.fromkeys(stage for stage, _, _ in DEATHS))
    moments = random.Random(7)
    again = {stage for stage, saves, _ in DEATHS if saves}  # early, so that there is something left to continue
    for stage, saves, kind in DEATHS:
        moment = moments.randint(1, max(1, counts[stage][kind] // (5 if stage in again else 1)))
        died = in_another_process(small_job.run_and_die, killed, notes, stage, saves, kind, moment)
        assert died == -signal.SIGKILL
        assert last_event(killed) == {"event": "stage began", "stage": stage}
    assert in_another_process(small_job.run, killed) == 0
    said = notes.read_text().splitlines()
    deaths = [line for line in said if line.startswith("died")]
    assert [line.split()[-1] for line in deaths] == [stage for stage, _, _ in DEATHS]
    assert sum(kind in line for line, (_, _, kind) in zip(deaths, DEATHS, strict=True)) >= len(DEATHS) - 2
    assert {line for line in deaths if "file" in line} >= {f"died at a file of {stage}" for stage in ("draw", "report")}
    assert said.count("continued quantise") >= 2
    assert said.count("continued evaluate") >= 1
    assert said.count("continued repeats") >= 2
    expected, found = tree(undisturbed / "run"), tree(killed)
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []


def test_a_time_limit_stops_in_order_and_the_same_command_goes_on(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "limited"
    none = small_job.run(folder, max_minutes=1e-9)
    assert (none.summary, none.left_out) == (None, small_job.STAGES)
    with monkeypatch.context() as patch:
        asked = itertools.count()
        patch.setattr(Limit, "passed", lambda self: next(asked) >= 3)  # time is up when it is asked for the fourth time
        some = small_job.run(folder, max_minutes=60.0)
    assert 0 < len(some.left_out) < len(small_job.STAGES)
    assert some.left_out == small_job.STAGES[-len(some.left_out) :]
    assert small_job.run(folder).left_out == ()
    assert tree(folder) == tree(undisturbed / "run")


def in_another_process(function: Callable[..., Any], *arguments: Any) -> int | None:
    """Run a function in a process forked from one that has only imported what it needs; return its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["moorelens.pipelines.explain", "sklearn.tree", "gymnasium"])
    process = context.Process(target=function, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def last_event(folder: Path) -> dict[str, str]:
    """Return the last event of a killed run's log, which is written when a stage begins and when it has ended."""
    event = json.loads((folder / "run-log.json").read_text())["sessions"][-1]["events"][-1]
    return {name: event[name] for name in ("event", "stage")}
