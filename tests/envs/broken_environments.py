"""Environments that break in every way that the tests ask for."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np


class Broken(gymnasium.Env[Any, Any]):
    """Counts to three and then shows its fault."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, fault: str) -> None:
        self.fault, self.t = fault, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: int) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.t += 1
        observation, reward = np.full(2, self.t / 10, np.float32), 1.0
        if self.t == 3:
            if self.fault == "dies":
                raise OSError("gone")
            if self.fault == "reward":
                reward = float("nan")
            observation = {"nan": np.full(2, np.nan, np.float32), "shape": np.zeros(3, np.float32)}.get(
                self.fault, observation
            )
        return observation, reward, False, False, {}


def make(fault: str = "dies") -> Broken:
    return Broken(fault)


def raises() -> Broken:
    raise RuntimeError("no licence")


def returns_a_number() -> int:
    return 3
