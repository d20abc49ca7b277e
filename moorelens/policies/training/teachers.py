"""Scripted teachers that read the emulator's memory, for games where a simple rule plays well."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from moorelens.envs.games import game_name
from moorelens.errors import OptionError

Bytes = npt.NDArray[np.uint8]
Actions = npt.NDArray[np.intp]


class RamTeacher(Protocol):
    """Chooses from what a player cannot see: the memory now and one step before, and its own last action."""

    def choose(self, rams: Bytes, before: Bytes, last: Actions) -> Actions:
        """Return actions (b,) for memories `rams (b, 128)`, `before (b, 128)` and the actions `last (b,)`."""
        ...


class FreewayTeacher:
    """Crosses the road by the quickest way that no car will be on, found by dynamic programming over 50 steps.

    Cars keep their lanes and speeds, so where they will be follows from where they are. Byte 14 is the chicken's
    height, bytes 108-117 are the cars' positions. Measured with sticky actions: 32 crossings a game, against 21 of
    walking on blindly.
    """

    _SPEEDS = np.array([0.82, 1.0, 1.36, 2.0, 4.0, -4.0, -2.0, -1.36, -1.0, -0.82])  # pixels a step, by lane
    _ROAD = 160.0
    _DANGER = (40.0, 52.0)  # car positions that touch the chicken, widened by 1.5 steps of the car
    _HORIZON = 50
    _ROWS = 4 * np.arange(46) + 2  # heights in steps of the chicken
    _TOP = 43

    def choose(self, rams: Bytes, before: Bytes, last: Actions) -> Actions:
        """Return no-op (0), up (1) or down (2)."""
        hit = self._hits(rams[:, 108:118].astype(np.float64))
        here = np.clip(np.rint((rams[:, 14].astype(np.float64) - 2) / 4).astype(int), 0, len(self._ROWS) - 1)
        rows = len(self._ROWS)
        cost = np.tile(rows - 1.0 - np.arange(rows), (len(rams), 1))
        cost[:, self._TOP :] = -5.0
        options = np.zeros((3, *cost.shape))
        for step in range(self._HORIZON, 0, -1):
            ahead = cost + 100.0 * hit[:, step]
            options[0] = ahead
            options[1] = np.concatenate([ahead[:, 1:], ahead[:, -1:]], axis=1)
            options[2] = np.concatenate([ahead[:, :1], ahead[:, :-1]], axis=1)
            cost = 1.0 + options.min(axis=0)
            cost[:, self._TOP :] = 0.0
        stay, up, down = options[:, np.arange(len(rams)), here]
        best = np.minimum(np.minimum(stay, up), down)
        return np.where(up <= best, 1, np.where(stay <= best, 0, 2)).astype(np.intp)

    def _hits(self, cars: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        # (b, steps, rows): would the chicken at that height be hit in that step?
        steps = np.arange(self._HORIZON + 1)[None, :, None]
        cars = (cars[:, None, :] + self._SPEEDS * steps) % self._ROAD
        low, high = self._DANGER
        margin = 1.5 * np.abs(self._SPEEDS)
        danger = (cars >= low - margin) & (cars <= high + margin)
        in_lane = np.abs(self._ROWS[:, None] - (14 + 16 * np.arange(10))) < 11
        return np.asarray((danger[:, :, None, :] & in_lane).any(axis=-1))


_TEACHERS: dict[str, Any] = {"Freeway": FreewayTeacher}


def ram_teacher(env_id: str) -> RamTeacher:
    """Return the scripted teacher of a game; raises `OptionError` where there is none."""
    name = game_name(env_id)
    if name not in _TEACHERS:
        raise OptionError(
            f"A scripted teacher exists for {', '.join(sorted(_TEACHERS))} and not for {env_id}: train without "
            f"--teacher."
        )
    teacher: RamTeacher = _TEACHERS[name]()
    return teacher
