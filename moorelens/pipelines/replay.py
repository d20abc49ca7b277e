"""A recorded game played again by its actions: what was on the screen and in the memory when a step was decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.envs.episodes import open_episodes
from moorelens.envs.rollouts import Rollouts
from moorelens.pipelines.job import Job

Bytes = npt.NDArray[np.uint8]


def screens_and_memories(job: Job, played: Rollouts, steps: Iterable[int]) -> Mapping[int, tuple[Bytes, Bytes]]:
    """Return screen (210, 160, 3) and memory (128,) before each of `steps` (rows of all steps) of Atari fit games.

    A step whose game does not go the same way again is left out.
    """
    wanted = sorted(set(steps))
    found: dict[int, tuple[Bytes, Bytes]] = {}
    for number, (first, end) in enumerate(zip(played.offsets[:-1].tolist(), played.offsets[1:].tolist(), strict=True)):
        here = {row for row in wanted if first <= row < end}
        if here:
            found |= _game(job, played, number, here)
    return found


def _game(job: Job, played: Rollouts, number: int, wanted: set[int]) -> dict[int, tuple[Bytes, Bytes]]:
    batch: Any = open_episodes(job.request if number == 0 else job.fitting, [int(played.seeds[number])])
    only = np.zeros(1, dtype=np.intp)
    found: dict[int, tuple[Bytes, Bytes]] = {}
    try:
        seen = batch.reset()[0]
        for row in range(int(played.offsets[number]), max(wanted) + 1):
            if not np.array_equal(seen, played.frames[played.frame_index[row]]):
                return found
            if row in wanted:
                found[row] = (batch.screens(only)[0].copy(), batch.rams(only)[0].copy())
            seen = batch.step(only, played.actions[row : row + 1].astype(np.intp)).observations[0]
        return found
    finally:
        batch.close()
