"""Atari games side by side: in this process, or in worker processes that write into shared memory."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.envs.atari import AtariEpisode
from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.episodes import Step
from moorelens.envs.frames import SIZE
from moorelens.errors import EnvironmentFailure, MooreLensError

Rows = npt.NDArray[np.intp]
_SHAPES: dict[str, tuple[tuple[int, ...], str]] = {
    "observations": ((1, SIZE, SIZE), "u1"),
    "screens": ((210, 160, 3), "u1"),
    "rams": ((128,), "u1"),
    "rewards": ((), "f8"),
    "ended": ((2,), "u1"),
}


class AtariBatch:
    """N games in this process."""

    def __init__(self, request: EnvironmentRequest, seeds: Sequence[int], *, frames: bool = True) -> None:
        """Load one emulator per seed; without `frames`, observations are black (for players that read the memory)."""
        self._request, self._frames = request, frames
        self._episodes = [AtariEpisode(request, int(seed), frames=frames) for seed in seeds]

    def reset(self) -> npt.NDArray[np.uint8]:
        """Start all games over and return the first observations (N, 1, 80, 80)."""
        return np.stack([episode.reset() for episode in self._episodes])

    def step(self, rows: Rows, actions: Rows) -> Step:
        """Take `actions (b,)` in the games of `rows (b,)`."""
        outcomes = [
            self._episodes[row].step(action) for row, action in zip(rows.tolist(), actions.tolist(), strict=True)
        ]
        observations, rewards, terminated, truncated = zip(*outcomes, strict=True)
        return Step(np.stack(observations), np.array(rewards), np.array(terminated), np.array(truncated))

    def restart(self, row: int, seed: int, *, request: EnvironmentRequest | None = None) -> npt.NDArray[np.uint8]:
        """Replace the game of `row` by that of another seed, or request; return its first observation (1, 80, 80)."""
        self._episodes[row] = AtariEpisode(request or self._request, seed, frames=self._frames)
        return self._episodes[row].reset()

    def screens(self, rows: Rows) -> npt.NDArray[np.uint8]:
        """Return the screens that people see, (b, 210, 160, 3)."""
        return np.stack([self._episodes[row].screen() for row in rows.tolist()])

    def rams(self, rows: Rows) -> npt.NDArray[np.uint8]:
        """Return the emulators' memories, (b, 128)."""
        return np.stack([self._episodes[row].ram() for row in rows.tolist()])

    def close(self) -> None:
        """Nothing to let go of."""


class WorkerBatch:
    """N games dealt round-robin to worker processes; same outcomes as `AtariBatch`, row by row."""

    def __init__(self, request: EnvironmentRequest, seeds: Sequence[int], workers: int) -> None:
        """Start the workers (spawned, so that no thread or lock of this process is copied)."""
        context = multiprocessing.get_context("spawn")
        self._workers = min(workers, len(seeds))
        self._memory = SharedMemory(create=True, size=_size(len(seeds)))
        self._arrays = _views(self._memory, len(seeds))
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        for index in range(self._workers):
            here, there = context.Pipe()
            arguments = (there, self._memory.name, request, list(map(int, seeds)), index, self._workers)
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)
        self._everyone: Rows = np.arange(len(seeds), dtype=np.intp)

    def reset(self) -> npt.NDArray[np.uint8]:
        """Start all games over and return the first observations (N, 1, 80, 80)."""
        self._ask("reset", self._everyone)
        return np.array(self._arrays["observations"])

    def step(self, rows: Rows, actions: Rows) -> Step:
        """Take `actions (b,)` in the games of `rows (b,)`."""
        self._ask("step", rows, actions)
        ended = self._arrays["ended"][rows].astype(bool)
        return Step(self._arrays["observations"][rows], self._arrays["rewards"][rows], ended[:, 0], ended[:, 1])

    def screens(self, rows: Rows) -> npt.NDArray[np.uint8]:
        """Return the screens that people see, (b, 210, 160, 3)."""
        self._ask("screens", rows)
        return np.asarray(self._arrays["screens"][rows])

    def rams(self, rows: Rows) -> npt.NDArray[np.uint8]:
        """Return the emulators' memories, (b, 128)."""
        self._ask("rams", rows)
        return np.asarray(self._arrays["rams"][rows])

    def close(self) -> None:
        """End the workers and free the shared memory."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(timeout=5.0)
            if process.is_alive():
                process.kill()
                process.join()
        self._pipes, self._arrays = [], {}
        self._memory.close()
        self._memory.unlink()

    def _ask(self, verb: str, rows: Rows, actions: Rows | None = None) -> None:
        asked = []
        for index, pipe in enumerate(self._pipes):
            mine = np.flatnonzero(rows % self._workers == index)
            if len(mine):
                chosen = [] if actions is None else actions[mine].tolist()
                self._guarded(pipe.send, (verb, rows[mine].tolist(), chosen))
                asked.append(pipe)
        # All answers are read before any failure is raised, so that no stale answer is left in a pipe.
        failures = [answer for answer in [self._guarded(pipe.recv) for pipe in asked] if answer is not None]
        if failures:
            kind, text = failures[0]
            raise kind(text)

    def _guarded(self, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (EOFError, OSError) as error:
            raise EnvironmentFailure(
                "A worker process must live as long as its games and one ended early: it was killed, probably for "
                "memory, "
                "so use fewer workers or episodes."
            ) from error


def _size(episodes: int) -> int:
    return sum(episodes * int(np.prod(shape, dtype=int)) * np.dtype(kind).itemsize for shape, kind in _SHAPES.values())


def _views(memory: SharedMemory, episodes: int) -> dict[str, npt.NDArray[Any]]:
    views, offset = {}, 0
    # Largest items first, so that every array starts at a multiple of its item size.
    for name, (shape, kind) in sorted(_SHAPES.items(), key=lambda item: -np.dtype(item[1][1]).itemsize):
        view: npt.NDArray[Any] = np.ndarray((episodes, *shape), dtype=kind, buffer=memory.buf, offset=offset)
        views[name] = view
        offset += view.nbytes
    return views


def _serve(
    pipe: Connection, memory_name: str, request: EnvironmentRequest, seeds: list[int], index: int, of: int
) -> None:
    """Run in a worker: play the games of rows index, index + of, ... until the pipe closes."""
    memory = SharedMemory(name=memory_name)
    arrays = _views(memory, len(seeds))
    episodes: dict[int, Any] = {}
    while True:
        try:
            verb, rows, actions = pipe.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            break
        answer: tuple[type[MooreLensError], str] | None = None
        try:
            for i, row in enumerate(rows):
                if row not in episodes:
                    episodes[row] = AtariEpisode(request, seeds[row])
                _do(verb, episodes[row], arrays, row, actions[i] if actions else 0)
        except MooreLensError as error:
            answer = (type(error), str(error))
        pipe.send(answer)
    arrays = {}
    memory.close()


def _do(verb: str, episode: Any, arrays: dict[str, npt.NDArray[Any]], row: int, action: int) -> None:
    if verb == "reset":
        arrays["observations"][row] = episode.reset()
    elif verb == "step":
        observation, reward, terminated, truncated = episode.step(action)
        arrays["observations"][row] = observation
        arrays["rewards"][row] = reward
        arrays["ended"][row] = (terminated, truncated)
    elif verb == "screens":
        arrays["screens"][row] = episode.screen()
    else:
        arrays["rams"][row] = episode.ram()
