"""The whole job, killed at random moments of every stage, ends in the folder of an undisturbed run, byte for byte."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end import small_job
from tests.runs.toy import tree

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")

# Where SIGKILL strikes: the stage, and how many checkpoints of it come before. Every stage once, those that keep
# checkpoints again and again.
DEATHS = [
    ("rollouts", 0),
    ("quantise", 0),
    ("quantise", 2),
    ("quantise", 3),
    ("extract", 0),
    ("reduce", 0),
    ("draw", 0),
    ("saliency", 0),
    ("saliency", 1),
    ("evaluate", 0),
    ("evaluate", 4),
    ("repeats", 0),
    ("repeats", 2),
    ("repeats", 9),
    ("report", 0),
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert in_another_process(small_job.run, folder) == 0
    return folder


def test_kills_change_nothing(undisturbed: Path, tmp_path: Path) -> None:
    killed, notes = tmp_path / "killed", tmp_path / "notes"
    seconds = durations(undisturbed)
    assert sorted(seconds) == sorted({stage for stage, _ in DEATHS})
    moments = random.Random(7)
    for stage, saves in DEATHS:
        moment = moments.uniform(0.0, 0.2 if saves else 0.7) * seconds[stage]
        died = in_another_process(small_job.run_and_die, killed, notes, stage, saves, moment)
        assert died == -signal.SIGKILL
    assert in_another_process(small_job.run, killed) == 0
    said = notes.read_text().splitlines()
    assert [line.split()[-1] for line in said if line.startswith("died")] == [stage for stage, _ in DEATHS]
    assert said.count("continued quantise") >= 1
    assert said.count("continued evaluate") >= 1
    assert said.count("continued repeats") >= 2
    expected, found = tree(undisturbed), tree(killed)
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []


def test_a_time_limit_stops_in_order_and_the_same_command_goes_on(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "limited"
    none = small_job.run(folder, max_minutes=1e-9)
    assert (none.summary, none.left_out) == (None, small_job.STAGES)
    some = small_job.run(folder, max_minutes=0.02)
    assert some.left_out == small_job.STAGES[-len(some.left_out) :]
    assert small_job.run(folder).left_out == ()
    assert tree(folder) == tree(undisturbed)


def in_another_process(function: Callable[..., Any], *arguments: Any) -> int | None:
    """Run a function in a process forked from one that has only imported what it needs; return its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["moorelens.pipelines.explain", "sklearn.tree", "gymnasium"])
    process = context.Process(target=function, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def durations(folder: Path) -> dict[str, float]:
    """Return how long each stage of a finished run took."""
    (session,) = json.loads((folder / "run-log.json").read_text())["sessions"]
    return {event["stage"]: event["seconds"] for event in session["events"] if event["event"] == "stage ended"}
