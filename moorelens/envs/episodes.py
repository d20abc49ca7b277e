"""Seeded episodes played side by side: one row per seed, stepped in any grouping with the same outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from moorelens.envs.config import EnvironmentRequest
from moorelens.errors import EnvironmentRequestError

if TYPE_CHECKING:
    from moorelens.envs.pool import Workers

Array = npt.NDArray[Any]
Requests = EnvironmentRequest | Sequence[EnvironmentRequest]


class Step(NamedTuple):
    """What b rows gave back: observations (b, *obs), rewards (b,) float64, terminated (b,) and truncated (b,) bool."""

    observations: Array
    rewards: npt.NDArray[np.float64]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]


class EpisodeBatch(Protocol):
    """N episodes, one per seed; a row's episode depends on its seed and its own actions only."""

    def reset(self) -> Array:
        """Start all episodes over and return the first observations (N, *obs)."""
        ...

    def step(self, rows: npt.NDArray[np.intp], actions: npt.NDArray[np.intp]) -> Step:
        """Take `actions (b,)` in the episodes of `rows (b,)`; a row that ended must not be stepped again."""
        ...

    def close(self) -> None:
        """Let go of the environments and of any worker processes."""
        ...


@runtime_checkable
class OverlappingBatch(EpisodeBatch, Protocol):
    """Episodes of which some can be stepped while a player thinks about others."""

    def groups(self) -> list[npt.NDArray[np.intp]]:
        """Return the rows of all episodes in groups that are stepped independently of each other."""
        ...

    def begin(self, rows: npt.NDArray[np.intp], actions: npt.NDArray[np.intp]) -> None:
        """Begin to take `actions (b,)` in episodes of one group and return at once."""
        ...

    def finish(self, rows: npt.NDArray[np.intp]) -> Step:
        """Wait for what was begun with the same `rows (b,)`."""
        ...


class SerialBatch:
    """Episodes of a control task, stepped one after another in this process."""

    def __init__(self, request: Requests, seeds: Sequence[int]) -> None:
        """Build one environment per seed."""
        from moorelens.envs.control import ControlEpisode

        self._episodes = [
            ControlEpisode(of, int(seed)) for of, seed in zip(per_seed(request, seeds), seeds, strict=True)
        ]

    def reset(self) -> Array:
        """Start all episodes over and return the first observations (N, *obs)."""
        return np.stack([episode.reset() for episode in self._episodes])

    def step(self, rows: npt.NDArray[np.intp], actions: npt.NDArray[np.intp]) -> Step:
        """Take `actions (b,)` in the episodes of `rows (b,)`."""
        outcomes = [
            self._episodes[row].step(action) for row, action in zip(rows.tolist(), actions.tolist(), strict=True)
        ]
        observations, rewards, terminated, truncated = zip(*outcomes, strict=True)
        return Step(np.stack(observations), np.array(rewards), np.array(terminated), np.array(truncated))

    def close(self) -> None:
        """Close every environment."""
        for episode in self._episodes:
            episode.close()


def open_episodes(request: Requests, seeds: Sequence[int], *, workers: int | Workers = 1) -> EpisodeBatch:
    """Return one episode per seed.

    `request`: one for all seeds, or one each, all of one kind. `workers`: how many processes step Atari games (control
    tasks are quicker in this one), or a pool of them that is used and left running.
    Raises `EnvironmentRequestError` where there is no seed, no worker, or another number of requests than of seeds.
    """
    if len(seeds) == 0:
        raise EnvironmentRequestError(
            "At least one episode must be played and no seed was given: ask for 1 episode or more."
        )
    if isinstance(workers, int) and workers < 1:
        raise EnvironmentRequestError(f"At least one worker must step the episodes, not {workers}: pass 1 or more.")
    if per_seed(request, seeds)[0].is_atari:
        from moorelens.envs.workers import AtariBatch, WorkerBatch

        if workers == 1:
            return AtariBatch(request, seeds)
        if not isinstance(workers, int) and workers.count == 1:
            return AtariBatch(request, seeds, emulators=workers.emulators)
        return WorkerBatch(request, seeds, workers)
    return SerialBatch(request, seeds)


def per_seed(request: Requests, seeds: Sequence[int]) -> Sequence[EnvironmentRequest]:
    """Return one request per seed; raises `EnvironmentRequestError` where there are fewer or more."""
    requests = [request] * len(seeds) if isinstance(request, EnvironmentRequest) else list(request)
    if len(requests) != len(seeds):
        raise EnvironmentRequestError(
            f"There is one request for all episodes or one each, and there are {len(requests)} for {len(seeds)} seeds: "
            "pass as many."
        )
    return requests
