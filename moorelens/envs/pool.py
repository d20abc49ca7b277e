"""Processes that step Atari games: kept for as long as their owner wants, one batch of games after another."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.shared_memory import SharedMemory
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.frames import SIZE
from moorelens.errors import EnvironmentFailure, EnvironmentRequestError, InvariantError, MooreLensError

if TYPE_CHECKING:
    from moorelens.envs.atari import AtariEpisode, Emulators

Array = npt.NDArray[Any]
Message = tuple[Any, ...]
_SHAPES: dict[str, tuple[tuple[int, ...], str]] = {
    "observations": ((1, SIZE, SIZE), "u1"),
    "screens": ((210, 160, 3), "u1"),
    "rams": ((128,), "u1"),
    "rewards": ((), "f8"),
    "ended": ((2,), "u1"),
}


class Workers:
    """`count` processes, started when they are first needed; a context manager, or `close` it.

    A single worker is the calling process itself, and `emulators` is what it keeps from batch to batch.
    They are spawned, so that no thread or lock of this process is copied, and end with it, however it ends. They serve
    one batch of games at a time; a failure in one ends them, and the next batch begins with new ones.
    """

    def __init__(self, count: int) -> None:
        """Start nothing yet. Raises `EnvironmentRequestError` for less than one."""
        if count < 1:
            raise EnvironmentRequestError(f"At least one worker must step the episodes, not {count}: pass 1 or more.")
        self.count = count
        self._emulators: Emulators | None = None
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        self._busy = False

    def __enter__(self) -> Workers:
        """Return the pool."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the processes."""
        self.close()

    @property
    def emulators(self) -> Emulators:
        """What this process keeps of one batch for the next, where it is the only worker."""
        if self._emulators is None:
            from moorelens.envs.atari import Emulators

            self._emulators = Emulators()
        return self._emulators

    def start(self) -> None:
        """Start the processes that do not run yet; they are ready when their first batch is."""
        context = multiprocessing.get_context("spawn")
        while len(self._processes) < self.count:
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there,), daemon=True)
            process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)

    def close(self) -> None:
        """End the processes and forget the emulators; a later batch begins with new ones."""
        self._emulators = None
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(timeout=5.0)
            if process.is_alive():
                process.kill()
                process.join()
        self._pipes, self._processes, self._busy = [], [], False

    def take(self) -> None:
        """Start what does not run and reserve it for one batch of games."""
        if self._busy:
            raise InvariantError("Workers serve one batch of games at a time and one is open: close it first.")
        self.start()
        self._busy = True

    def give_back(self, *, usable: bool) -> None:
        """End the reservation; processes that may still be at work, or are dead, are ended."""
        self._busy = False
        if not usable:
            self.close()

    def send(self, worker: int, message: Message) -> None:
        """Ask one process for something; its answer must be received before it is asked again."""
        _guarded(lambda: self._pipes[worker].send(message))

    def receive(self, worker: int) -> Any:
        """Wait for the answer of one process: None, or the error that it met, unless it was asked for something."""
        return _guarded(self._pipes[worker].recv)

    def ready(self, workers: Sequence[int]) -> list[int]:
        """Return which of some processes have something to say, as soon as one has."""
        speaking = wait([self._pipes[worker] for worker in workers])
        return [worker for worker in workers if self._pipes[worker] in speaking]


def shared_size(episodes: int) -> int:
    """Return the bytes of memory that so many episodes write their outcomes to."""
    return sum(episodes * int(np.prod(shape, dtype=int)) * np.dtype(kind).itemsize for shape, kind in _SHAPES.values())


def shared_views(memory: SharedMemory, episodes: int) -> dict[str, Array]:
    """Return that memory as arrays by name, each with a row per episode."""
    views, offset = {}, 0
    # Largest items first, so that every array starts at a multiple of its item size.
    for name, (shape, kind) in sorted(_SHAPES.items(), key=lambda item: -np.dtype(item[1][1]).itemsize):
        view: Array = np.ndarray((episodes, *shape), dtype=kind, buffer=memory.buf, offset=offset)
        views[name] = view
        offset += view.nbytes
    return views


def _guarded(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except (EOFError, OSError) as error:
        raise EnvironmentFailure(
            "A worker process must live as long as its games and one ended early: it was killed, probably for "
            "memory, so use fewer workers or episodes."
        ) from error


def _serve(pipe: Connection) -> None:
    """Run in a worker: do what is asked, batch after batch, until the pipe closes."""
    from moorelens.envs.atari import Emulators
    from moorelens.envs.shards import play_dealt

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's affair, which then closes the pipe
    games = None
    emulators = Emulators()
    kept: dict[str, Any] = {}
    while True:
        try:
            verb, *details = pipe.recv()
        except (EOFError, OSError):
            break
        except Exception:  # a user's own class that this process cannot import
            verb, details = "decline", []
        answer: tuple[Any, ...] | None = None
        try:
            if verb == "decline":
                answer = ("declined",)
            elif verb == "play":
                answer = play_dealt(pipe, *details, kept=kept, emulators=emulators)
            elif verb == "open":
                name, requests, seeds = details
                games = _Games(name, requests, seeds, emulators)
            elif verb == "close" and games is not None:
                games.close()
                games = None
            elif games is not None:
                games.do(verb, *details)
        except MooreLensError as error:
            answer = (type(error), str(error))
        try:
            pipe.send(answer)
        except OSError:  # the parent is gone
            break


class _Games:
    """The games of one batch that one worker plays."""

    def __init__(
        self,
        memory_name: str,
        requests: list[EnvironmentRequest],
        seeds: list[int],
        emulators: Emulators,
    ) -> None:
        self._memory = SharedMemory(name=memory_name)
        self._arrays = shared_views(self._memory, len(seeds))
        self._requests, self._seeds, self._emulators = requests, seeds, emulators
        self._episodes: dict[int, AtariEpisode] = {}

    def do(self, verb: str, rows: list[int], actions: list[int]) -> None:
        from moorelens.envs.atari import AtariEpisode

        arrays = self._arrays
        for i, row in enumerate(rows):
            if row not in self._episodes:
                self._episodes[row] = AtariEpisode(self._requests[row], self._seeds[row], emulators=self._emulators)
            episode = self._episodes[row]
            if verb == "step":
                arrays["observations"][row], arrays["rewards"][row], *ended = episode.step(actions[i])
                arrays["ended"][row] = ended
            elif verb == "reset":
                arrays["observations"][row] = episode.reset()
            elif verb == "screens":
                arrays["screens"][row] = episode.screen()
            else:
                arrays["rams"][row] = episode.ram()

    def close(self) -> None:
        for episode in self._episodes.values():
            episode.close()
        self._arrays.clear()
        self._memory.close()
