"""Episodes of Gymnasium environments and of factories given by import path, stepped one after another."""

from __future__ import annotations

import importlib
import warnings
from typing import Any, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from moorelens.envs import names
from moorelens.envs.config import EnvironmentRequest, EnvironmentSpec
from moorelens.errors import EnvironmentFailure, EnvironmentRequestError

Observation = npt.NDArray[Any]


def build(request: EnvironmentRequest) -> gymnasium.Env[Any, Any]:
    """Return a fresh environment; raises `EnvironmentRequestError` with the reason where it cannot be built."""
    with warnings.catch_warnings():
        # Gymnasium and Box2D warn at import and for old ids; what matters of it comes back as an error below.
        warnings.simplefilter("ignore")
        if request.id.startswith("python:"):
            return _from_factory(request)
        try:
            return cast(
                "gymnasium.Env[Any, Any]", gymnasium.make(request.id, disable_env_checker=True, **request.kwargs)
            )
        except Exception as error:
            raise EnvironmentRequestError(
                f"An environment must be one that Gymnasium can build and {request.id!r} is not ({_brief(error)}): "
                "check the id and its keyword arguments, or pass python:package.module:factory."
            ) from error


def specify(request: EnvironmentRequest, env: gymnasium.Env[Any, Any]) -> EnvironmentSpec:
    """Describe a built environment; raises `EnvironmentRequestError` unless it is Box in and Discrete out."""
    seen, done = env.observation_space, env.action_space
    if not isinstance(done, gymnasium.spaces.Discrete) or int(done.start) != 0:
        raise EnvironmentRequestError(
            f"Actions must be a discrete choice counted from 0 and those of {request.id} are {done}: a Moore machine "
            "has one action per state, so choose an environment with discrete actions or wrap this one."
        )
    if not isinstance(seen, gymnasium.spaces.Box):
        raise EnvironmentRequestError(
            f"Observations must be a Box of numbers and those of {request.id} are {seen}: wrap it with "
            "gymnasium.wrappers.FlattenObservation in a python: factory."
        )
    shape = tuple(int(n) for n in seen.shape)
    vector = len(shape) == 1
    return EnvironmentSpec(
        id=request.id,
        kind="custom" if request.id.startswith("python:") else "control",
        observation_shape=shape,
        observation_dtype="uint8" if seen.dtype == np.uint8 else "float32",
        action_names=names.action_names(request.id, int(done.n), given=request.action_names),
        feature_names=names.feature_names(request.id, shape[0], given=request.feature_names) if vector else None,
        max_steps=None if env.spec is None else env.spec.max_episode_steps,
        reward_threshold=None if env.spec is None else env.spec.reward_threshold,
    )


class ControlEpisode:
    """One seeded episode of a Gymnasium environment, without the wrappers that only cost time."""

    def __init__(self, request: EnvironmentRequest, seed: int) -> None:
        """Build the environment; nothing is drawn before `reset`."""
        self._id, self._seed = request.id, seed
        self._env, self._limit = _strip(build(request))
        space = self._env.observation_space
        self._shape = tuple(space.shape or ())
        self._dtype = np.dtype(np.uint8 if space.dtype == np.uint8 else np.float32)
        self._steps = 0

    def reset(self) -> Observation:
        """Start the episode over from its seed and return its first observation."""
        self._steps = 0
        try:
            observation, _ = self._env.reset(seed=self._seed)
        except Exception as error:
            raise self._failure(f"raised {_brief(error)}") from error
        return self._checked(observation)

    def step(self, action: int) -> tuple[Observation, float, bool, bool]:
        """Take one action and return observation, reward, terminated, truncated."""
        self._steps += 1
        try:
            observation, reward, terminated, truncated, _ = self._env.step(action)
        except Exception as error:
            raise self._failure(f"raised {_brief(error)}") from error
        reward = float(reward)
        if not np.isfinite(reward):
            raise self._failure(f"returned the reward {reward}")
        return self._checked(observation), reward, bool(terminated), bool(truncated) or self._steps >= self._limit

    def close(self) -> None:
        """Let go of the environment."""
        self._env.close()

    def _checked(self, observation: Any) -> Observation:
        array = np.asarray(observation, dtype=self._dtype)
        if array.shape != self._shape:
            raise self._failure(f"returned an observation of shape {array.shape} instead of {self._shape}")
        if self._dtype == np.float32 and not np.isfinite(array).all():
            raise self._failure("returned an observation that is not finite (NaN or infinity)")
        # Environments may hand out a view of a buffer that they overwrite in the next step.
        return array.copy() if array is observation else array

    def _failure(self, what: str) -> EnvironmentFailure:
        return EnvironmentFailure(
            f"An environment must stay playable and {self._id} {what} in the episode of seed {self._seed} at step "
            f"{self._steps}: mend the environment, or choose other seeds."
        )


def _strip(env: gymnasium.Env[Any, Any]) -> tuple[gymnasium.Env[Any, Any], float]:
    # Order enforcement and checking cost half of a CartPole step; the time limit is counted here instead, with the same
    # rule (truncated once `max_episode_steps` steps are taken). Any other wrapper changes the task and stays.
    limit = float("inf")
    while isinstance(env, (TimeLimit, OrderEnforcing, PassiveEnvChecker)):
        if isinstance(env, TimeLimit):
            limit = min(limit, float(env._max_episode_steps))
        env = env.env
    return env, limit


def _from_factory(request: EnvironmentRequest) -> gymnasium.Env[Any, Any]:
    factory = import_factory(request.id)
    try:
        env = factory(**request.kwargs)
    except Exception as error:
        raise EnvironmentRequestError(
            f"An environment factory must build its environment and {request.id} raised {_brief(error)}: mend the "
            "factory or its keyword arguments (--env-kwargs)."
        ) from error
    if not isinstance(env, gymnasium.Env):
        raise EnvironmentRequestError(
            f"An environment factory must return a gymnasium.Env and {request.id} returned a {type(env).__name__}: "
            "return the environment itself."
        )
    return env


def import_factory(reference: str) -> Any:
    """Return the callable that `python:package.module:name` names, or raise `EnvironmentRequestError`."""
    module, _, name = reference.removeprefix("python:").partition(":")
    try:
        factory = getattr(importlib.import_module(module), name)
    except Exception as error:
        raise EnvironmentRequestError(
            f"An environment factory is written python:package.module:factory and {reference!r} cannot be imported "
            f"({_brief(error)}): check the spelling and that the module is on the Python path."
        ) from error
    if not callable(factory):
        raise EnvironmentRequestError(
            f"An environment factory must be callable and {reference!r} is not: name a function."
        )
    return factory


def _brief(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
