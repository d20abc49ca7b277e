"""A run killed at any moment goes on where it was, and its folder ends byte-equal to that of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moorelens.runs.stages import Stage, StageContext, run_stages
from tests.runs import toy

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL"),
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),  # Python 3.12 on forks beside threads
]


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process wrote is with the system: flushing is for power cuts, and takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def undisturbed(tmp_path: Path) -> dict[str, bytes | None]:
    run_stages(tmp_path / "undisturbed", toy.stages(), header=toy.header())
    return toy.tree(tmp_path / "undisturbed")


def test_a_run_killed_at_every_single_change_to_the_disk(tmp_path: Path, undisturbed: dict[str, bytes | None]) -> None:
    deaths = 0
    for change in range(1, 1000):
        folder = tmp_path / f"killed-{change}"
        if not _forked_death(folder, change):
            break
        deaths += 1
        run_stages(folder, toy.stages(), header=toy.header())
        assert toy.tree(folder) == undisturbed, f"killed at change {change}"
    assert deaths > 80


def test_a_run_killed_again_and_again_still_ends(tmp_path: Path, undisturbed: dict[str, bytes | None]) -> None:
    folder, change, deaths = tmp_path / "killed", 31, 0
    while _forked_death(folder, change):
        deaths += 1
        change += 1
    assert deaths >= 3
    assert toy.tree(folder) == undisturbed


def test_kills_at_random_times_from_outside(tmp_path: Path, undisturbed: dict[str, bytes | None]) -> None:
    folder, random_times = tmp_path / "killed", random.Random(5)
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, toy.__file__, "run", str(folder)],
            env=os.environ | {"TOY_SLEEP": "0.1", "PYTHONPATH": _source()},
            stdout=subprocess.PIPE,
        )
        with process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(random_times.uniform(0.0, 0.35))
            process.kill()
    run_stages(folder, toy.stages(), header=toy.header())
    assert toy.tree(folder) == undisturbed


def test_a_checkpoint_saves_work(tmp_path: Path) -> None:
    """A stage that was killed in its third step does not take the first two again."""
    steps: list[int] = []

    class Killed(BaseException):
        pass

    def climb(context: StageContext) -> dict[str, bytes]:
        saved = context.checkpoint.load()
        for step in range(int(saved["step"]) if saved else 0, 4):
            steps.append(step)
            if steps == [0, 1, 2]:
                raise Killed
            context.checkpoint.save({"step": str(step + 1).encode()})
        return {"value.txt": b"done"}

    stage = Stage(name="climb", run=climb, outputs=("value.txt",))
    with pytest.raises(Killed):
        run_stages(tmp_path / "run", [stage], header=toy.header())
    run_stages(tmp_path / "run", [stage], header=toy.header())
    assert steps == [0, 1, 2, 2, 3]
    assert sorted(toy.tree(tmp_path / "run")) == ["manifest.json", "value.txt"]


def _forked_death(folder: Path, change: int) -> bool:
    """Run the toy in a fork that kills itself at the given change; say whether it came to that."""
    process = os.fork()
    if process == 0:
        try:
            toy.die_at(change)
            run_stages(folder, toy.stages(), header=toy.header())
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(process, 0)
    died = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert died or status == 0, f"the run failed after a kill before change {change}"
    return died


def _source() -> str:
    return str(Path(__file__).parents[2])
