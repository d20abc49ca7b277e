"""Seeded episodes played side by side: one row per seed, stepped in any grouping with the same outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from moorelens.envs.config import EnvironmentRequest
from moorelens.errors import EnvironmentRequestError

Array = npt.NDArray[Any]


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


class SerialBatch:
    """Episodes of a control task, stepped one after another in this process."""

    def __init__(self, request: EnvironmentRequest, seeds: Sequence[int]) -> None:
        """Build one environment per seed."""
        from moorelens.envs.control import ControlEpisode

        self._episodes = [ControlEpisode(request, int(seed)) for seed in seeds]

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


def open_episodes(request: EnvironmentRequest, seeds: Sequence[int], *, workers: int = 1) -> EpisodeBatch:
    """Return one episode per seed; `workers` processes step Atari games, control tasks are quicker in this one."""
    if len(seeds) == 0:
        raise EnvironmentRequestError(
            "At least one episode must be played and no seed was given: ask for 1 episode or more."
        )
    if workers < 1:
        raise EnvironmentRequestError(f"At least one worker must step the episodes, not {workers}: pass 1 or more.")
    if request.is_atari:
        from moorelens.envs.workers import AtariBatch, WorkerBatch

        return AtariBatch(request, seeds) if workers == 1 else WorkerBatch(request, seeds, workers)
    return SerialBatch(request, seeds)
