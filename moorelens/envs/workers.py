"""Atari games side by side: in this process, or in worker processes that write into shared memory."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.shared_memory import SharedMemory

import numpy as np
import numpy.typing as npt

from moorelens.envs.atari import AtariEpisode, Emulators
from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.episodes import Requests, Step, per_seed
from moorelens.envs.pool import Workers, shared_size, shared_views

Rows = npt.NDArray[np.intp]


class AtariBatch:
    """N games in this process."""

    def __init__(
        self, request: Requests, seeds: Sequence[int], *, frames: bool = True, emulators: Emulators | None = None
    ) -> None:
        """Load one emulator per seed; without `frames`, observations are black (for players that read the memory).

        `emulators`: where loaded ones are kept from batch to batch.
        """
        self._requests, self._frames = per_seed(request, seeds), frames
        self._emulators = emulators or Emulators()
        self._episodes = [self._episode(of, int(seed)) for of, seed in zip(self._requests, seeds, strict=True)]

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
        self._episodes[row].close()
        self._episodes[row] = self._episode(request or self._requests[row], seed)
        return self._episodes[row].reset()

    def screens(self, rows: Rows) -> npt.NDArray[np.uint8]:
        """Return the screens that people see, (b, 210, 160, 3)."""
        return np.stack([self._episodes[row].screen() for row in rows.tolist()])

    def rams(self, rows: Rows) -> npt.NDArray[np.uint8]:
        """Return the emulators' memories, (b, 128)."""
        return np.stack([self._episodes[row].ram() for row in rows.tolist()])

    def close(self) -> None:
        """Let later batches have the emulators."""
        while self._episodes:
            self._episodes.pop().close()

    def _episode(self, request: EnvironmentRequest, seed: int) -> AtariEpisode:
        return AtariEpisode(request, seed, frames=self._frames, emulators=self._emulators)


class WorkerBatch:
    """N games dealt round-robin to worker processes; same outcomes as `AtariBatch`, row by row."""

    def __init__(self, request: Requests, seeds: Sequence[int], workers: int | Workers) -> None:
        """Open the games; a number of workers starts that many for this batch, a pool is used and left running."""
        self._pool = workers if isinstance(workers, Workers) else Workers(min(workers, len(seeds)))
        self._owned = self._pool is not workers
        self._count = min(self._pool.count, len(seeds))
        self._asked: set[int] = set()
        self._pool.take()
        self._memory = SharedMemory(create=True, size=shared_size(len(seeds)))
        self._arrays = shared_views(self._memory, len(seeds))
        self._everyone: Rows = np.arange(len(seeds), dtype=np.intp)
        try:
            for worker in range(self._count):
                requests, numbers = list(per_seed(request, seeds)), [int(seed) for seed in seeds]
                self._send(worker, ("open", self._memory.name, requests, numbers))
            self._receive(range(self._count))
        except BaseException:
            self.close()
            raise

    def reset(self) -> npt.NDArray[np.uint8]:
        """Start all games over and return the first observations (N, 1, 80, 80)."""
        self._ask("reset", self._everyone)
        return np.array(self._arrays["observations"])

    def step(self, rows: Rows, actions: Rows) -> Step:
        """Take `actions (b,)` in the games of `rows (b,)`."""
        self.begin(rows, actions)
        return self.finish(rows)

    def groups(self) -> list[Rows]:
        """Return rows that can be stepped while others are thought about: the games of every second worker."""
        owner = self._everyone % self._count
        return [found for half in (0, 1) if len(found := self._everyone[owner % 2 == half])]

    def begin(self, rows: Rows, actions: Rows) -> None:
        """Let the workers step the games of `rows (b,)`, of workers with nothing else to do, and return at once."""
        self._begin("step", rows, actions)

    def finish(self, rows: Rows) -> Step:
        """Wait for what `begin` began with the same `rows`."""
        self._receive(self._owners(rows))
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
        """Close the games and free the shared memory; workers that were started for this batch end."""
        if not self._arrays:
            return
        # After a failure some may still be stepping, or are gone: such workers are ended and not asked again.
        usable = not self._asked
        if usable and not self._owned:
            for worker in range(self._count):
                self._send(worker, ("close",))
            self._receive(range(self._count))
        self._pool.give_back(usable=usable and not self._owned)
        self._arrays = {}
        self._memory.close()
        self._memory.unlink()

    def _ask(self, verb: str, rows: Rows) -> None:
        self._begin(verb, rows, rows)
        self._receive(self._owners(rows))

    def _begin(self, verb: str, rows: Rows, actions: Rows) -> None:
        owners = rows % self._count
        for worker in self._owners(rows):
            mine = owners == worker
            self._send(worker, (verb, rows[mine].tolist(), actions[mine].tolist()))

    def _owners(self, rows: Rows) -> list[int]:
        return sorted(set((rows % self._count).tolist()))

    def _send(self, worker: int, message: tuple[object, ...]) -> None:
        self._asked.add(worker)
        self._pool.send(worker, message)

    def _receive(self, workers: Sequence[int]) -> None:
        # All answers are read before any failure is raised, so that no stale answer is left in a pipe.
        failures = []
        for worker in workers:
            answer = self._pool.receive(worker)
            self._asked.discard(worker)
            if answer is not None:
                failures.append(answer)
        if failures:
            kind, text = failures[0]
            raise kind(text)
