"""Episodes of Gymnasium environments and of factories given by import path, stepped one after another."""

from __future__ import annotations

import warnings
from typing import Any, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from moorelens.envs import names
from moorelens.envs.config import EnvironmentRequest, EnvironmentSpec
from moorelens.envs.factories import factory_of
from moorelens.envs.views import Stacker, choices_of, stacked_names, stacked_shape, view_of
from moorelens.errors import EnvironmentFailure, EnvironmentRequestError

Observation = npt.NDArray[Any]


def build(request: EnvironmentRequest) -> gymnasium.Env[Any, Any]:
    """Return a fresh environment; raises `EnvironmentRequestError` with the reason where it cannot be built."""
    with warnings.catch_warnings():
        # Gymnasium and Box2D warn at import and for old ids; what matters of it comes back as an error below.
        warnings.simplefilter("ignore")
        if request.id.startswith("python:"):
            return _from_factory(request)
        if request.id.startswith("moorelens/"):
            from moorelens.envs.memory.registration import register_memory_tasks

            register_memory_tasks()
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
    """Describe a built environment; raises `EnvironmentRequestError` unless it is one array in, one choice out."""
    choices, view = choices_of(request, env.action_space), view_of(request, env.observation_space)
    shape = stacked_shape(request.stack, view, request)
    return EnvironmentSpec(
        id=request.id,
        kind="custom" if request.id.startswith("python:") else "control",
        observation_shape=shape,
        observation_dtype=view.dtype,
        action_names=names.action_names(request.id, choices.count, given=request.action_names or choices.names),
        feature_names=_feature_names(request, view.shape) if len(shape) == 1 else None,
        max_steps=None if env.spec is None else env.spec.max_episode_steps,
        reward_threshold=None if env.spec is None else env.spec.reward_threshold,
    )


def _feature_names(request: EnvironmentRequest, shape: tuple[int, ...]) -> tuple[str, ...]:
    frames = 1 if request.stack is None else request.stack.frames
    if request.feature_names is not None and len(request.feature_names) == frames * shape[0]:
        return names.feature_names(request.id, frames * shape[0], given=request.feature_names)
    single = names.feature_names(request.id, shape[0], given=request.feature_names)
    return stacked_names(single, request.stack)


class ControlEpisode:
    """One seeded episode of a Gymnasium environment, without the wrappers that only cost time."""

    def __init__(self, request: EnvironmentRequest, seed: int) -> None:
        """Build the environment; nothing is drawn before `reset`."""
        self._id, self._seed = request.id, seed
        self._env, self._limit = _strip(build(request))
        self._view = view_of(request, self._env.observation_space)
        self._choices = choices_of(request, self._env.action_space)
        self._stacker = None if request.stack is None else Stacker(request.stack, self._view)
        self._steps = 0

    def reset(self) -> Observation:
        """Start the episode over from its seed and return its first observation."""
        self._steps = 0
        try:
            observation, _ = self._env.reset(seed=self._seed)
        except Exception as error:
            raise self._failure(f"raised {_brief(error)}") from error
        seen = self._checked(observation)
        return seen if self._stacker is None else self._stacker.start(seen)

    def step(self, action: int) -> tuple[Observation, float, bool, bool]:
        """Take one action and return observation, reward, terminated, truncated."""
        self._steps += 1
        try:
            observation, reward, terminated, truncated, _ = self._env.step(self._choices.decode(action))
        except Exception as error:
            raise self._failure(f"raised {_brief(error)}") from error
        reward = float(reward)
        if not np.isfinite(reward):
            raise self._failure(f"returned the reward {reward}")
        seen = self._checked(observation)
        if self._stacker is not None:
            seen = self._stacker.add(seen)
        return seen, reward, bool(terminated), bool(truncated) or self._steps >= self._limit

    def close(self) -> None:
        """Let go of the environment."""
        self._env.close()

    def _checked(self, observation: Any) -> Observation:
        try:
            array = self._view.read(observation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise self._failure(f"returned an observation that is not in its own space ({_brief(error)})") from error
        if array.shape != self._view.shape:
            raise self._failure(f"returned an observation of shape {array.shape} instead of {self._view.shape}")
        if self._view.dtype == "float32" and not np.isfinite(array).all():
            raise self._failure("returned an observation that is not finite (NaN or infinity)")
        return array

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
    factory = factory_of(request.id)
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


def _brief(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
