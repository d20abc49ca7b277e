"""Memory tasks that people who train recurrent policies know: T-maze, repeat-previous, CartPole without velocities."""

from __future__ import annotations

from collections import deque
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.envs.classic_control import CartPoleEnv

from moorelens.errors import EnvironmentRequestError

Observation = npt.NDArray[np.float32]


class TMazeEnv(gymnasium.Env[Observation, np.int64]):  # type: ignore[misc]
    """A corridor that ends in a fork; a sign at its beginning says which way is right (bakker2002maze).

    Observations (3,): the sign (-1 turn left, 1 turn right, 0 anywhere but at the beginning), whether here is the fork,
    whether here is the corridor. Actions: forward, left, right. Forward in the corridor costs nothing, turning there
    or going on at the fork costs 0.1; the right turn gives 1, the wrong one -0.1, and either ends the episode.
    `length`: steps from sign to fork. After four times as many steps the episode is cut off.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, length: int = 10) -> None:
        """Build a maze of `length` steps."""
        if length < 1:
            raise EnvironmentRequestError(f"The corridor of a T-maze has 1 step or more, not {length}.")
        self._length = length
        self.observation_space = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(3)
        self._goal = self._at = self._clock = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Put the player before the sign."""
        super().reset(seed=seed)
        self._goal = int(self.np_random.integers(0, 2))
        self._at = self._clock = 0
        return self._seen(), self._info()

    def step(self, action: np.int64) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]:
        """Go forward or turn."""
        self._clock += 1
        cut = self._clock >= 4 * self._length
        fork = self._at == self._length
        if fork and action != 0:
            right = int(action) == 1 + self._goal
            return self._seen(), 1.0 if right else -0.1, True, False, self._info()
        if not fork and action == 0:
            self._at += 1
            return self._seen(), 0.0, False, cut, self._info()
        return self._seen(), -0.1, False, cut, self._info()

    def _seen(self) -> Observation:
        sign = (2.0 * self._goal - 1.0) if self._at == 0 else 0.0
        return np.array([sign, self._at == self._length, self._at < self._length], dtype=np.float32)

    def _info(self) -> dict[str, Any]:
        return {"desired_action": 1 + self._goal if self._at == self._length else 0}


class RepeatPreviousEnv(gymnasium.Env[Observation, np.int64]):  # type: ignore[misc]
    """Cards are shown one-hot; the action should name the card of `lag` steps ago (morad2023popgym).

    One point for each right action, none before there is a card to repeat; `steps` cards an episode.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, lag: int = 2, cards: int = 4, steps: int = 50) -> None:
        """Build a game of `steps` cards of `cards` kinds."""
        if lag < 1 or cards < 2 or steps <= lag:
            raise EnvironmentRequestError(
                f"Repeat-previous needs a lag of 1 or more, 2 cards or more, and more steps than the lag; {lag}, "
                f"{cards} and {steps} are not such."
            )
        self._lag, self._cards, self._steps = lag, cards, steps
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (cards,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(cards)
        self._shown: deque[int] = deque(maxlen=lag + 1)
        self._clock = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Show the first card."""
        super().reset(seed=seed)
        self._shown.clear()
        self._clock = 0
        self._shown.append(self._card())
        return self._seen(), self._info()

    def step(self, action: np.int64) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]:
        """Name a card; the next one is shown."""
        due = len(self._shown) > self._lag
        reward = float(due and int(action) == self._shown[0])
        self._clock += 1
        self._shown.append(self._card())
        return self._seen(), reward, False, self._clock >= self._steps, self._info()

    def _card(self) -> int:
        return int(self.np_random.integers(0, self._cards))

    def _seen(self) -> Observation:
        return np.asarray(np.eye(self._cards, dtype=np.float32)[self._shown[-1]])

    def _info(self) -> dict[str, Any]:
        return {"desired_action": self._shown[0]} if len(self._shown) > self._lag else {}


class CartPoleNoVelocityEnv(CartPoleEnv):  # type: ignore[misc]
    """CartPole that shows where cart and pole are, (2,), and not how fast they move."""

    def __init__(self, **kwargs: Any) -> None:
        """Build CartPole; arguments as Gymnasium's."""
        super().__init__(**kwargs)
        space: Any = self.observation_space
        self.observation_space: Any = gymnasium.spaces.Box(space.low[[0, 2]], space.high[[0, 2]], dtype=np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; see CartPole."""
        observation, info = super().reset(seed=seed, options=options)
        return observation[[0, 2]], info

    def step(self, action: np.int64) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]:
        """Push; see CartPole."""
        observation, reward, terminated, truncated, info = super().step(action)
        return observation[[0, 2]], reward, terminated, truncated, info
