"""How the spaces of an environment look to a policy: one array to see, one numbered action to choose."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np
import numpy.typing as npt

from moorelens.envs.config import EnvironmentRequest, FrameStack
from moorelens.errors import EnvironmentRequestError

Array = npt.NDArray[Any]
MOST_ACTIONS = 512  # a machine has one action per state, and a joint action is one of them


@dataclass(frozen=True, kw_only=True)
class View:
    """One observation as one array: `shape` and `dtype` of a single one, before any stacking.

    `key`: the only entry of a dictionary that is looked at. `choices`: a discrete observation is shown as one-hot.
    """

    shape: tuple[int, ...]
    dtype: Literal["float32", "uint8"]
    key: str | None = None
    choices: int | None = None

    def read(self, observation: Any) -> Array:
        """Return what an environment handed out as an array of its own; its shape is not checked."""
        found = observation[self.key] if self.key is not None else observation
        if self.choices is not None:
            return np.asarray(np.eye(self.choices, dtype=np.float32)[int(found)])
        # Copied: environments may hand out a view of a buffer that they overwrite in the next step.
        return np.array(found, dtype=self.dtype)


def view_of(request: EnvironmentRequest, space: gymnasium.Space[Any]) -> View:
    """Return how observations of `space` are read; raises `EnvironmentRequestError` where they are not one array."""
    if isinstance(space, gymnasium.spaces.Dict) and len(space.spaces) == 1:
        (key, inner), *_ = space.spaces.items()
        view = view_of(request, inner)
        return View(shape=view.shape, dtype=view.dtype, key=str(key), choices=view.choices)
    if isinstance(space, gymnasium.spaces.Discrete) and int(space.start) == 0:
        return View(shape=(int(space.n),), dtype="float32", choices=int(space.n))
    if isinstance(space, (gymnasium.spaces.Box, gymnasium.spaces.MultiBinary)):
        return View(shape=tuple(int(n) for n in space.shape), dtype="uint8" if _bytes(space) else "float32")
    raise EnvironmentRequestError(
        f"Observations must be one array of numbers (a Box, a Discrete, or a Dict that holds one of them) and those of "
        f"{request.id} are {_short(space)}: wrap it in a python: factory, for example with "
        "gymnasium.wrappers.FilterObservation or FlattenObservation."
    )


def _bytes(space: gymnasium.Space[Any]) -> bool:
    return isinstance(space, gymnasium.spaces.Box) and space.dtype == np.uint8


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The numbered actions of an environment; several choices at once are counted through, the last one fastest."""

    sizes: tuple[int, ...]
    joint: bool

    @property
    def count(self) -> int:
        """How many actions there are."""
        return int(np.prod(self.sizes))

    @property
    def names(self) -> tuple[str, ...] | None:
        """What joint actions are called, `(0, 2)`; None where there is one choice."""
        return tuple(str(choice) for choice in itertools.product(*map(range, self.sizes))) if self.joint else None

    def decode(self, action: int) -> Any:
        """Return the action as its environment wants it."""
        return np.array(np.unravel_index(action, self.sizes), dtype=np.int64) if self.joint else action


def choices_of(request: EnvironmentRequest, space: gymnasium.Space[Any]) -> Choices:
    """Return the actions of `space`; raises `EnvironmentRequestError` where they cannot be counted from 0."""
    if isinstance(space, gymnasium.spaces.Discrete) and int(space.start) == 0:
        return Choices(sizes=(int(space.n),), joint=False)
    if isinstance(space, gymnasium.spaces.MultiDiscrete) and space.nvec.ndim == 1 and not np.any(space.start):
        found = Choices(sizes=tuple(int(n) for n in space.nvec), joint=True)
        if found.count <= MOST_ACTIONS:
            return found
        raise EnvironmentRequestError(
            f"A Moore machine has one action per state, and {request.id} offers {found.count} joint actions, more than "
            f"{MOST_ACTIONS}: wrap it so that it offers the ones that matter."
        )
    raise EnvironmentRequestError(
        f"Actions must be a discrete choice counted from 0 and those of {request.id} are {_short(space)}: a Moore "
        "machine has one action per state, so choose an environment with discrete actions or wrap this one."
    )


def _short(space: object) -> str:
    text = " ".join(str(space).split())
    return text if len(text) <= 160 else f"{text[:157]}..."


class Viewed(gymnasium.Wrapper[Any, Any, Any, Any]):  # type: ignore[misc]
    """An environment as a policy sees it: a Box to see and a Discrete choice to make, whatever its own spaces are."""

    def __init__(self, env: gymnasium.Env[Any, Any], request: EnvironmentRequest) -> None:
        """Wrap `env`; raises `EnvironmentRequestError` where it cannot be viewed so."""
        super().__init__(env)
        self._view, self._choices = view_of(request, env.observation_space), choices_of(request, env.action_space)
        if self._view.key is not None or self._view.choices is not None:
            low, high = (0, 255) if self._view.dtype == "uint8" else (-np.inf, np.inf)
            dtype: Any = self._view.dtype
            self.observation_space = gymnasium.spaces.Box(low, high, self._view.shape, dtype)
        if self._choices.joint:
            self.action_space = gymnasium.spaces.Discrete(self._choices.count)

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(**kwargs)
        return self._view.read(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a numbered action."""
        observation, reward, terminated, truncated, info = self.env.step(self._choices.decode(int(action)))
        return self._view.read(observation), reward, terminated, truncated, info


class Stacker:
    """The last `frames` observations of one episode, side by side along an axis, the newest last."""

    def __init__(self, stack: FrameStack, view: View) -> None:
        """Prepare for observations of `view`; nothing is seen before `start`."""
        self._stack = stack
        fill = np.array(stack.fill, dtype=np.float64).astype(view.dtype)
        self._blank = np.empty(view.shape, dtype=view.dtype)
        self._blank[...] = fill if fill.size == 1 else fill.reshape(view.shape)
        self._seen: list[Array] = []

    def start(self, observation: Array) -> Array:
        """Begin an episode: what came before its first observation is the filling."""
        self._seen = [self._blank] * (self._stack.frames - 1)
        return self.add(observation)

    def add(self, observation: Array) -> Array:
        """Return the stack that ends with `observation`."""
        self._seen = [*self._seen[-(self._stack.frames - 1) :], observation]
        return np.concatenate(self._seen, axis=self._stack.axis)


def stacked_shape(stack: FrameStack | None, view: View, request: EnvironmentRequest) -> tuple[int, ...]:
    """Return the shape (of one stack) that a policy sees; raises `EnvironmentRequestError` where it cannot be built."""
    if stack is None:
        return view.shape
    axes = len(view.shape)
    if not -axes <= stack.axis < axes or len(stack.fill) not in (1, int(np.prod(view.shape))):
        raise EnvironmentRequestError(
            f"Frames are stacked along an axis that they have and filled with one number or one per entry, and those "
            f"of {request.id} have the shape {view.shape} where axis {stack.axis} and {len(stack.fill)} filling "
            "numbers were asked for: correct the frame stack."
        )
    shape = list(view.shape)
    shape[stack.axis] *= stack.frames
    return tuple(shape)


def stacked_names(names: Sequence[str], stack: FrameStack | None) -> tuple[str, ...]:
    """Return what the entries of stacked vectors are called: older ones say how long ago they were seen."""
    if stack is None:
        return tuple(names)
    ages = range(stack.frames - 1, -1, -1)
    return tuple(
        f"{name} {age} steps ago" if age > 1 else f"{name} 1 step ago" if age else name
        for age in ages
        for name in names
    )
