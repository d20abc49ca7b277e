"""Mode counter environments: the right action is the mode, which stays for a while and then changes (spec-fsm 3.1)."""

from __future__ import annotations

from typing import Any, Literal, SupportsFloat, get_args

import gymnasium
import msgspec
import numpy as np
import numpy.typing as npt

from moorelens.envs.memory.languages import Language
from moorelens.errors import EnvironmentRequestError

Observation = npt.NDArray[np.float32]
Kind = Literal["amnesia", "blind", "tracker"]

MODES, STEPS = 4, 300
FARTHEST = 10.0  # normal numbers are cut off here, so that the space of observations has bounds


class ModeTask(msgspec.Struct, frozen=True, kw_only=True):
    """How long each mode lasts, how wide the band of each observation is (None: a normal number that says nothing)."""

    durations: tuple[int, ...]
    band: float | None


TASKS: dict[str, ModeTask] = {
    "amnesia": ModeTask(durations=(1, 1, 1, 1), band=0.10),
    "blind": ModeTask(durations=(2, 3, 2, 3), band=None),
    "tracker": ModeTask(durations=(2, 3, 2, 3), band=0.05),
}


class ModeCounterEnv(gymnasium.Env[Observation, np.int64]):  # type: ignore[misc]
    """Four modes that are the four actions; 300 steps, one point for each in which the action is the mode.

    `amnesia`: the observation tells the mode. `blind`: it tells nothing, the modes take turns and last 2, 3, 2 and 3
    steps. `tracker`: they last as long, and the observation of the step that ends one tells the next. Wrong actions do
    not end the episode; `info["desired_action"]` is the mode.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, kind: Kind = "amnesia") -> None:
        """Build the task `kind`."""
        if kind not in get_args(Kind):
            raise EnvironmentRequestError(f"The mode counters are {', '.join(get_args(Kind))}, not {kind!r}.")
        self.kind, self._task = kind, TASKS[kind]
        low, high = (-FARTHEST, FARTHEST) if self._task.band is None else (0.0, 1.0)
        self.observation_space = gymnasium.spaces.Box(low, high, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(MODES)
        self._mode = self._count = self._clock = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draw the first observation, which sets the mode; `blind` begins in mode 0."""
        super().reset(seed=seed)
        self._count = self._clock = 0
        seen, index = self._draw()
        self._mode = 0 if self.kind == "blind" else index
        return seen, {"desired_action": self._mode}

    def step(self, action: np.int64) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]:
        """Score the action against the mode, then let the clock run and the mode change if its time is up."""
        reward = float(int(action) == self._mode)
        self._count += 1
        self._clock += 1
        seen, index = self._draw()
        if self._count >= self._task.durations[self._mode]:
            self._count = 0
            self._mode = (self._mode + 1) % MODES if self.kind == "blind" else index
        return seen, reward, False, self._clock >= STEPS, {"desired_action": self._mode}

    def _draw(self) -> tuple[Observation, int]:
        indices = self.np_random.integers(0, MODES, size=1)
        return mode_seen(self.kind, indices, self.np_random), int(indices[0])


def mode_seen(
    kind: str, indices: npt.NDArray[Any], rng: np.random.Generator, *, spread: float = 1.0
) -> npt.NDArray[np.float32]:
    """Return observations (...) for the drawn `indices (...)`: a point in the band of each, or a normal number.

    `spread` widens the normal numbers of `blind`; what they say is nothing at any width.
    """
    band = TASKS[kind].band
    if band is None:
        drawn = spread * rng.standard_normal(indices.shape)
        return drawn.clip(-FARTHEST, FARTHEST).astype(np.float32)
    return (indices / MODES + band * rng.random(indices.shape)).astype(np.float32)


def mode_language(kind: str) -> Language:
    """Return the task as a machine over the classes of its observations (four, one for `blind`): 4, 10, 10 states.

    A state is a mode and how often it was scored; the start is the last state of a mode, from which all rows are equal.
    """
    durations = TASKS[kind].durations
    states = [(mode, count) for mode in range(MODES) for count in range(durations[mode])]
    symbols = range(1 if kind == "blind" else MODES)

    def successor(mode: int, count: int, symbol: int) -> int:
        if count + 1 < durations[mode]:
            return states.index((mode, count + 1))
        return states.index(((mode + 1) % MODES if kind == "blind" else symbol, 0))

    return Language(
        name=kind,
        transitions=tuple(tuple(successor(*state, symbol) for symbol in symbols) for state in states),
        outputs=tuple(mode for mode, _ in states),
        start=len(states) - 1,
    )
