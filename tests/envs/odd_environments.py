"""Environments whose spaces are not a plain Box and a Discrete, for tests; found as `python:...:name`."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Odd(gymnasium.Env[Any, Any]):
    """Counts its steps into whatever space it was given, ends after `length` steps, and records what was done."""

    def __init__(self, seen: spaces.Space[Any], done: spaces.Space[Any], length: int = 6) -> None:
        self.observation_space, self.action_space = seen, done
        self._length, self._steps = length, 0
        self.taken: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return self._show(self.observation_space), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self.taken.append(action)
        self._steps += 1
        reward = float(np.sum(action))
        return self._show(self.observation_space), reward, self._steps >= self._length, False, {}

    def _show(self, space: spaces.Space[Any]) -> Any:
        if isinstance(space, spaces.Dict):
            return {key: self._show(inner) for key, inner in space.spaces.items()}
        if isinstance(space, spaces.Discrete):
            return self._steps % int(space.n)
        return np.full(space.shape, self._steps + 1, dtype=space.dtype)


CHOICE = spaces.Discrete(2)


def vector() -> Odd:
    return Odd(spaces.Box(-10, 10, (2,)), CHOICE)


def image() -> Odd:
    return Odd(spaces.Box(0, 255, (4, 5, 1), np.uint8), CHOICE)


def dictionary() -> Odd:
    return Odd(spaces.Dict({"image": spaces.Box(0, 255, (4, 5, 3), np.uint8)}), CHOICE)


def numbered() -> Odd:
    return Odd(spaces.Discrete(4), CHOICE)


def several() -> Odd:
    return Odd(spaces.Box(-10, 10, (2,)), spaces.MultiDiscrete([3, 2]))


def too_many() -> Odd:
    return Odd(spaces.Box(-10, 10, (2,)), spaces.MultiDiscrete([30, 30]))


def two_entries() -> Odd:
    return Odd(spaces.Dict({"a": spaces.Box(0, 1, (2,)), "b": spaces.Discrete(3)}), CHOICE)
