"""Where independent pieces of work run: here, or in processes of one thread each that never outlive their parent."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Protocol, TypeVar

from moorelens.errors import StageError

T = TypeVar("T")
R = TypeVar("R")

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Executor(Protocol):
    """Runs a function over items; results come in the order of the items, whoever is first to finish."""

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield `function(item)` for each item."""
        ...


class InlineExecutor:
    """Runs everything in this process."""

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield `function(item)` for each item, computed when it is asked for."""
        return map(function, items)


class ProcessExecutor:
    """Runs items in spawned processes; function and items must be picklable (module-level functions)."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield `function(item)` for each item, all of them begun at once.

        Raises: StageError where a process died, and what `function` raises.
        """
        try:
            yield from self._pool.map(function, items)
        except BrokenProcessPool as error:
            raise StageError(
                "Work is shared among processes, and one of them died, most likely for want of memory (or the calling "
                "script "
                'lacks `if __name__ == "__main__":`): run again with fewer workers.'
            ) from error


@contextlib.contextmanager
def open_executor(workers: int = 1) -> Iterator[Executor]:
    """Open an executor of `workers` processes (1: this process); leaving ends them, after an error at once."""
    if workers <= 1:
        yield InlineExecutor()
        return
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare_worker, initargs=(reader,))
    try:
        yield ProcessExecutor(pool)
    except BaseException:
        writer.close()  # the workers see it and leave, whatever they are doing
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        writer.close()
        reader.close()


def use_one_thread() -> None:
    """Make this process compute with one thread, whether or not torch has been imported yet."""
    for name in _THREAD_VARIABLES:
        os.environ[name] = "1"
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def _prepare_worker(lifeline: Connection) -> None:
    use_one_thread()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interruption means
    threading.Thread(target=_leave_with_parent, args=(lifeline,), daemon=True).start()


def _leave_with_parent(lifeline: Connection) -> None:
    # The pipe ends when its only writer, the parent, closes it or dies; a killed parent would otherwise leave workers
    # behind.
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)
