"""Games that a pupil plays side by side without end, with the teacher looking on."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.workers import AtariBatch
from moorelens.policies.training.teachers import RamTeacher, TellingTeacher
from moorelens.policies.training.views import PAST

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.intp]


class Collector:
    """Games played side by side without end, each new one on the next seed."""

    def __init__(
        self, request: EnvironmentRequest, teacher: RamTeacher, games: int, first_seed: int, *, plain: int
    ) -> None:
        """Start the games, every `plain`-th without sticky actions (0: none)."""
        self._teacher, self.next_seed = teacher, first_seed + games
        self._batch = AtariBatch(request, range(first_seed, first_seed + games))
        self.rows = np.arange(games, dtype=np.intp)
        without = msgspec.structs.replace(request, sticky=0.0)
        self._requests = [without if plain and row % plain == plain - 1 else request for row in range(games)]
        self.observations = self._batch.reset()
        for row in range(plain - 1, games, plain) if plain else ():
            self.observations[row] = self._batch.restart(row, first_seed + row, request=without)
        self.rams = np.repeat(self._batch.rams(self.rows)[:, None], PAST, axis=1)
        self.actions = np.zeros((games, PAST - 1), dtype=np.intp)
        self.starts = np.ones(games, dtype=np.float32)
        self.returns: list[float] = []
        self._sums = np.zeros(games)

    def label(self) -> Array:
        """Return what the teacher thinks of each action now, (games, A)."""
        return self._teacher.choose(self.rams, self.actions)

    def notes(self) -> Array:
        """Return what the teacher notes now, (games, N): nothing, where it is one that only chooses."""
        if isinstance(self._teacher, TellingTeacher):
            return self._teacher.tell(self.rams, self.actions)
        return np.zeros((len(self.rams), 0), dtype=np.float32)

    def step(self, actions: Rows) -> None:
        """Take one action in every game and start a new game where one ended."""
        step = self._batch.step(self.rows, actions)
        self.observations = step.observations
        self.rams = np.concatenate([self._batch.rams(self.rows)[:, None], self.rams[:, :-1]], axis=1)
        self.actions = np.concatenate([actions[:, None], self.actions[:, :-1]], axis=1)
        self._sums += step.rewards
        ended = step.terminated | step.truncated
        for row in self.rows[ended]:
            self.returns.append(float(self._sums[row]))
            self._sums[row] = 0.0
            self.observations[row] = self._batch.restart(int(row), self.next_seed, request=self._requests[row])
            self.next_seed += 1
            self.rams[row] = self._batch.rams(self.rows[row : row + 1])
            self.actions[row] = 0
        self.starts = ended.astype(np.float32)
