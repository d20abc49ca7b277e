"""A small grid world for memory, in the manner of MiniGrid: a cue at the start says where to turn at the end.

    moorelens explain python:examples.cleanrl_lstm:policy --env python:examples.corridor:make

The observation is a dictionary with one array, an image (5, 5, 3) of small numbers: what a cell holds, its colour, and
in the last plane the action taken before. Whatever a policy should know goes into that array.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

FORWARD, LEFT, RIGHT = range(3)
WALL, CUE, JUNCTION = 1, 2, 3


class Corridor(gymnasium.Env[dict[str, Any], int]):
    """Walk to the junction and turn to the side whose colour the cue had: +1, the other side -1, a step -0.01."""

    def __init__(self, length: int = 4) -> None:
        self.length = length
        self.observation_space = spaces.Dict({"image": spaces.Box(0, 255, (5, 5, 3), np.uint8)})
        self.action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self.side, self.place, self.steps, self.last = int(self.np_random.integers(LEFT, RIGHT + 1)), 0, 0, -1
        return self._seen(), {}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self.last, self.steps = int(action), self.steps + 1
        turned = self.place == self.length and action != FORWARD
        if action == FORWARD and self.place < self.length:
            self.place += 1
        reward = (1.0 if action == self.side else -1.0) if turned else -0.01
        return self._seen(), reward, turned, self.steps >= 4 * self.length, {}

    def _seen(self) -> dict[str, Any]:
        """The view ahead: row 0 is where the agent stands, columns 1 to 3 are the corridor with its walls."""
        image = np.zeros((5, 5, 3), dtype=np.uint8)
        image[:, (1, 3), 0] = WALL
        if self.place == 0:
            image[0:3, 2] = (CUE, 5 * (self.side - LEFT), 0)
        ahead = self.length - self.place
        if ahead < 5:
            image[ahead, :, 0] = JUNCTION
        image[:, :, 2] = self.last + 1
        return {"image": image}


def make(length: int = 4) -> Corridor:
    """Return the environment; `--env-kwargs '{"length": 6}'` makes it longer."""
    return Corridor(length)
