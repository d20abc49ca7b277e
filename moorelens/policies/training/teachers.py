"""Teachers that read the emulator's memory, for games where a simple rule plays well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from moorelens.envs.games import game_name
from moorelens.errors import OptionError
from moorelens.policies.training.pong import PongTeacher
from moorelens.policies.training.scripted import (
    BowlingTeacher,
    BreakoutTeacher,
    ChopperCommandTeacher,
    SpaceInvadersTeacher,
)
from moorelens.policies.training.views import VIEWS

Bytes = npt.NDArray[np.uint8]
Actions = npt.NDArray[np.intp]
Probabilities = npt.NDArray[np.float32]


class RamTeacher(Protocol):
    """Judges actions by what a player cannot see: the memory now and in the steps before, and what was done since."""

    def choose(self, rams: Bytes, actions: Actions) -> Probabilities:
        """Return how good each action is, as probabilities (b, A), for `rams (b, 5, 128)` and past `actions (b, 4)`.

        Both are newest first. A teacher that does not care between two actions says so, and its pupil need not guess.

        At the start of a game the past is the first memory repeated and action 0.
        """
        ...


@runtime_checkable
class TellingTeacher(RamTeacher, Protocol):
    """A teacher that can say what it saw, too."""

    def tell(self, rams: Bytes, actions: Actions) -> npt.NDArray[np.float32]:
        """Return the numbers (b, N), about 1 in size, that it judges by."""
        ...


@runtime_checkable
class ShowingTeacher(TellingTeacher, Protocol):
    """A teacher that also says which of its notes a single frame shows: places, not speeds."""

    @property
    def shown(self) -> tuple[int, ...]:
        """The places of those numbers among the N."""
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

    def choose(self, rams: Bytes, actions: Actions) -> Probabilities:
        """Return 1 for the best of no-op, up and down, (b, 3)."""
        rams = rams[:, 0]
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
        chosen = np.where(up <= best, 1, np.where(stay <= best, 0, 2))
        return np.eye(3, dtype=np.float32)[chosen]

    def _hits(self, cars: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        # (b, steps, rows): would the chicken at that height be hit in that step?
        steps = np.arange(self._HORIZON + 1)[None, :, None]
        cars = (cars[:, None, :] + self._SPEEDS * steps) % self._ROAD
        low, high = self._DANGER
        margin = 1.5 * np.abs(self._SPEEDS)
        danger = (cars >= low - margin) & (cars <= high + margin)
        in_lane = np.abs(self._ROWS[:, None] - (14 + 16 * np.arange(10))) < 11
        return np.asarray((danger[:, :, None, :] & in_lane).any(axis=-1))


class NetworkTeacher:
    """A small network that was trained by PPO on what the emulator's memory says of a game."""

    def __init__(self, game: str) -> None:
        """Read the bundled weights (tanh, two hidden layers of 64) of a game of `VIEWS`."""
        tensors = load_file(_weights(game))
        self._view = VIEWS[game]
        self._layers = [(tensors[f"{i}.weight"], tensors[f"{i}.bias"]) for i in range(3)]

    def choose(self, rams: Bytes, actions: Actions) -> Probabilities:
        """Return the probabilities of the game's actions, (b, A)."""
        hidden = self._view.features(rams, actions)
        for i, (weight, bias) in enumerate(self._layers):
            hidden = hidden @ weight.T + bias
            hidden = np.tanh(hidden) if i < 2 else hidden
        weights = np.exp(hidden - hidden.max(axis=1, keepdims=True))
        chosen = np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
        if self._view.turned is None:
            return chosen
        turned = np.zeros_like(chosen)
        np.put_along_axis(turned, self._view.turned(rams), chosen, axis=1)
        return turned

    def tell(self, rams: Bytes, actions: Actions) -> npt.NDArray[np.float32]:
        """Return what the network sees, (b, N)."""
        return self._view.features(rams, actions)


_SCRIPTED: dict[str, Callable[[], RamTeacher]] = {
    "Bowling": BowlingTeacher,
    "Breakout": BreakoutTeacher,
    "ChopperCommand": ChopperCommandTeacher,
    "Freeway": FreewayTeacher,
    "Pong": PongTeacher,
    "SpaceInvaders": SpaceInvadersTeacher,
}


def ram_teacher(env_id: str) -> RamTeacher:
    """Return the teacher of a game; raises `OptionError` where there is none."""
    name = game_name(env_id)
    trained = [game for game in VIEWS if _weights(game).exists()]
    if name in _SCRIPTED:
        return _SCRIPTED[name]()
    if name in trained:
        return NetworkTeacher(name)
    known = ", ".join(sorted([*_SCRIPTED, *trained]))
    raise OptionError(
        f"A teacher that reads the memory exists for {known} and not for {env_id}: train without --teacher."
    )


def _weights(game: str) -> Path:
    return Path(__file__).parent / f"{game.lower()}_teacher.safetensors"
