"""Results come in order, errors come through, and no worker outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moorelens.errors import OptionError, StageError
from moorelens.runs.executor import open_executor

ROOT = Path(__file__).parents[2]


def square(x: int) -> int:
    return x * x


def fail(x: int) -> int:
    raise OptionError(f"no {x}")


def die(x: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return x


def threads(x: int) -> str:
    return os.environ["OMP_NUM_THREADS"]


def sleep(x: int) -> int:
    time.sleep(600)
    return x


def say_and_sleep(file: Path) -> None:
    file.touch()
    time.sleep(600)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    with open_executor(workers) as executor:
        assert list(executor.map(square, range(5))) == [0, 1, 4, 9, 16]


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_come_through(workers: int) -> None:
    with open_executor(workers) as executor, pytest.raises(OptionError, match="no 3"):
        list(executor.map(fail, [3]))


def test_a_worker_that_dies_is_told_in_one_sentence() -> None:
    with open_executor(2) as executor, pytest.raises(StageError, match="want of memory"):
        list(executor.map(die, [1, 2]))


def test_workers_compute_with_one_thread() -> None:
    with open_executor(2) as executor:
        assert list(executor.map(threads, [0])) == ["1"]


def test_an_error_in_the_caller_ends_the_workers_at_once(tmp_path: Path) -> None:
    said = [tmp_path / "first", tmp_path / "second"]
    with pytest.raises(KeyboardInterrupt), open_executor(2) as executor:
        _begin(executor.map(say_and_sleep, said))
        assert until(lambda: all(file.exists() for file in said))
        began = time.monotonic()
        raise KeyboardInterrupt
    assert time.monotonic() - began < 120


def _begin(results: Iterator[None]) -> None:
    # The generator submits its items when it is first asked; a thread asks, so that the caller can go on.
    import threading

    def ask() -> None:
        try:
            next(results)
        except StageError:
            return

    threading.Thread(target=ask, daemon=True).start()


def until(holds: Callable[[], bool]) -> bool:
    """Wait until something holds, on a machine that may be busy with other things; say whether it came to that."""
    deadline = time.monotonic() + 120
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_no_worker_outlives_a_killed_parent() -> None:
    program = (
        "from tests.runs.test_executor import *\n"
        "if __name__ == '__main__':\n"
        "    with open_executor(2) as executor:\n"
        "        print(*executor.map(pid, [0, 1]), flush=True)\n"
        "        list(executor.map(sleep, [0, 1]))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        workers = {int(number) for number in parent.stdout.readline().split()}
        parent.kill()
    assert until(lambda: not any(_alive(worker) for worker in workers))


def pid(x: int) -> int:
    time.sleep(0.2)
    return os.getpid()


def _alive(number: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False
