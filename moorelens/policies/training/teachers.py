"""Teachers that read the emulator's memory, for games where a simple rule plays well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from moorelens.envs.games import game_name
from moorelens.errors import OptionError
from moorelens.policies.training.scripted import (
    BowlingTeacher,
    BreakoutTeacher,
    ChopperCommandTeacher,
    SpaceInvadersTeacher,
)

Bytes = npt.NDArray[np.uint8]
Actions = npt.NDArray[np.intp]
Probabilities = npt.NDArray[np.float32]


PAST = 5  # memories that a teacher is shown, the present one included


class RamTeacher(Protocol):
    """Judges actions by what a player cannot see: the memory now and in the steps before, and what was done since."""

    def choose(self, rams: Bytes, actions: Actions) -> Probabilities:
        """Return how good each action is, as probabilities (b, A), for `rams (b, 5, 128)` and past `actions (b, 4)`.

        Both are newest first. A teacher that does not care between two actions says so, and its pupil need not guess.

        At the start of a game the past is the first memory repeated and action 0.
        """
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
        """Read the bundled weights (tanh, two hidden layers of 64) of `Pong` or another game of `FEATURES`."""
        tensors = load_file(_weights(game))
        self._features = FEATURES[game]
        self._layers = [(tensors[f"{i}.weight"], tensors[f"{i}.bias"]) for i in range(3)]

    def choose(self, rams: Bytes, actions: Actions) -> Probabilities:
        """Return the probabilities of the game's actions, (b, A)."""
        hidden = self._features(rams, actions)
        for i, (weight, bias) in enumerate(self._layers):
            hidden = hidden @ weight.T + bias
            hidden = np.tanh(hidden) if i < 2 else hidden
        weights = np.exp(hidden - hidden.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def pong_features(rams: Bytes, actions: Actions) -> npt.NDArray[np.float32]:
    """Return what the Pong teacher sees, (b, 27): places and speeds of ball and paddles, and the past actions.

    A hand-written controller returns the ball for ever but seldom scores: which edge of the paddle meets the ball
    decides the angle, the paddle moves in leaps of 23 pixels with a lag, and sticky actions blur them. Hence a network.
    Bytes 49 and 54 are the ball, 51 the right paddle, 50 the left one. The ball's way to the right paddle is prolonged
    with reflections at the walls.
    """
    low, high, paddle_x = 44.0, 206.0, 188.0
    x, y, paddle, other = (rams[:, 0, i].astype(np.float64) for i in (49, 54, 51, 50))
    live = (y > 0) & (rams[:, 1, 54] > 0)
    vx = np.where(live, x - rams[:, 1, 49], 0.0)
    vy = np.where(live, y - rams[:, 1, 54], 0.0)
    jump = (np.abs(vx) > 30) | (np.abs(vy) > 40)
    vx, vy = np.where(jump, 0.0, vx), np.where(jump, 0.0, vy)
    coming = vx > 0.5
    steps = np.where(coming, (paddle_x - x) / np.where(coming, vx, 1.0), 30.0)
    folded = (y + vy * steps - low) % (2 * (high - low))
    meets = np.where(coming, low + np.minimum(folded, 2 * (high - low) - folded), np.where(live, y, 125.0))
    steps = np.where(coming, np.clip(steps, -2, 30), 30.0)
    moves = -np.diff(rams[:, :PAST, 51].astype(np.float64), axis=1)
    columns = [steps / 10, np.minimum(steps, 4) / 2, (meets - paddle) / 30, (y - paddle) / 60, (x - 128) / 60]
    columns += [(y - 125) / 60, (paddle - 125) / 60, (other - y) / 40, vx / 8, vy / 8, live.astype(np.float64)]
    done = np.eye(3)[actions[:, :4]].reshape(len(rams), 12)
    return np.column_stack([*columns, moves / 15, done]).astype(np.float32)


def boxing_features(rams: Bytes, actions: Actions) -> npt.NDArray[np.float32]:
    """Return what the Boxing teacher sees, (b, 98): places, distances, how both moved, and the past actions.

    Bytes 32 and 34 are the white boxer (the player), 33 and 35 the black one, across and down. A punch counts where a
    fist meets the head, which depends on both distances to a few pixels and on how far the arm has come: hence the
    past actions, and a network rather than rules (the best of some fifty rules led by 8 points after 500 steps).
    """
    places = rams[:, :PAST, [32, 34, 33, 35]].astype(np.float64)
    now = places[:, 0]
    across, down = now[:, 2] - now[:, 0], now[:, 3] - now[:, 1]
    near = [across / 30, down / 30, np.abs(across) / 30 - 1, np.abs(down) / 16 - 1, np.sign(across), np.sign(down)]
    moves = np.clip(-np.diff(places, axis=1), -20, 20).reshape(len(rams), -1) / 6
    done = np.eye(18)[actions[:, : PAST - 1]].reshape(len(rams), -1)
    return np.column_stack([*near, (now - 60) / 30, moves, done]).astype(np.float32)


FEATURES: dict[str, Callable[[Bytes, Actions], npt.NDArray[np.float32]]] = {
    "Boxing": boxing_features,
    "Pong": pong_features,
}


_SCRIPTED: dict[str, Callable[[], RamTeacher]] = {
    "Bowling": BowlingTeacher,
    "Breakout": BreakoutTeacher,
    "ChopperCommand": ChopperCommandTeacher,
    "Freeway": FreewayTeacher,
    "SpaceInvaders": SpaceInvadersTeacher,
}


def ram_teacher(env_id: str) -> RamTeacher:
    """Return the teacher of a game; raises `OptionError` where there is none."""
    name = game_name(env_id)
    trained = [game for game in FEATURES if _weights(game).exists()]
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
