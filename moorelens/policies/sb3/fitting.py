"""How the array that an environment shows became the array that a policy was trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from moorelens.envs.config import EnvironmentRequest, EnvironmentSpec, FrameStack
from moorelens.errors import PolicyError
from moorelens.policies.config import PolicySpec
from moorelens.policies.sb3.statistics import Statistics

_MOST_FRAMES = 1024  # no wrapper stacks more, and a damaged file may ask for any number


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The environment with the frame stack of the training, whether its channels come last and the policy's first,
    and the statistics in the layout of that environment."""

    request: EnvironmentRequest
    transpose: bool
    statistics: Statistics | None


def fit(
    wanted: tuple[int, ...],
    env: EnvironmentSpec,
    request: EnvironmentRequest,
    statistics: Statistics | None,
    *,
    where: str,
) -> Fit:
    """Return how observations of `env` become those of shape `wanted`: as they are, stacked, channels first, or both.

    Raises `PolicyError` where they cannot.
    """
    shape = env.observation_shape
    for transpose in (False, True):
        if transpose and len(wanted) != 3:
            continue
        target = (*wanted[1:], wanted[0]) if transpose else wanted
        if target == shape:
            return Fit(
                request=request,
                transpose=transpose,
                statistics=_as_shown(statistics, shape, wanted, stack=None, where=where),
            )
        stack = None if request.stack is not None else _stack(shape, target, channels_last=transpose)
        if stack is not None:
            return _stacked(request, stack, target, env, wanted, statistics, transpose=transpose, where=where)
    raise PolicyError(
        f"A policy must fit its environment, and {where} reads observations of the shape {wanted} where {env.id} shows "
        f"{shape}, which stacking frames does not mend: pass the environment that it was trained in with --env, built "
        "with its wrappers."
    )


def _stack(shape: tuple[int, ...], target: tuple[int, ...], *, channels_last: bool) -> FrameStack | None:
    # Images with channels first are stacked along these, everything else along the last axis, as SB3 does.
    axes = (-1,) if channels_last or len(shape) != 3 else (0, -1)
    for axis in axes:
        one, many = list(shape), list(target)
        if len(one) != len(many) or not one:
            return None
        size, total = one.pop(axis), many.pop(axis)
        if one == many and total % size == 0 and size < total <= _MOST_FRAMES * size:
            return FrameStack(frames=total // size, axis=axis)
    return None


def _stacked(
    request: EnvironmentRequest,
    stack: FrameStack,
    target: tuple[int, ...],
    env: EnvironmentSpec,
    wanted: tuple[int, ...],
    statistics: Statistics | None,
    *,
    transpose: bool,
    where: str,
) -> Fit:
    shape = env.observation_shape
    if statistics is not None and statistics.mean.shape == shape:
        if env.observation_dtype == "uint8":
            raise PolicyError(
                f"Frames that were normalised before they were stacked begin with zeros that bytes cannot show, and "
                f"{where} was trained so: build the environment with both wrappers in a python: factory."
            )
        # Normalised first, stacked then: what was not seen yet is 0 after normalising, which is the mean before.
        stack = msgspec.structs.replace(stack, fill=tuple(statistics.mean.ravel().tolist()))
    found = _as_shown(statistics, target, wanted, stack=stack, where=where)
    return Fit(request=msgspec.structs.replace(request, stack=stack), transpose=transpose, statistics=found)


def _as_shown(
    statistics: Statistics | None,
    shape: tuple[int, ...],
    wanted: tuple[int, ...],
    *,
    stack: FrameStack | None,
    where: str,
) -> Statistics | None:
    """Return the statistics in the layout `shape` of the environment, stack and all."""
    if statistics is None or statistics.mean.shape == shape:
        return statistics
    found = [statistics.mean, statistics.var]
    if stack is not None and found[0].ndim == len(shape):
        found = [np.concatenate([array] * stack.frames, axis=stack.axis) for array in found]
    elif found[0].shape == wanted and len(wanted) == 3:
        found = [np.moveaxis(array, 0, -1) for array in found]
    if found[0].shape != shape:
        raise PolicyError(
            f"VecNormalize statistics must be those of the policy's observations, and those beside {where} have the "
            f"shape {statistics.mean.shape} where it reads {wanted}: they are of another training, so move them away."
        )
    mean, var = found
    return replace(statistics, mean=mean, var=var)


def bare_spec(env: EnvironmentSpec, *, sizes: tuple[int, ...], where: str) -> PolicySpec:
    """Return the spec of a policy for `env` without its network's sizes; raises `PolicyError` for other actions."""
    count = math.prod(sizes)
    if count != len(env.action_names):
        raise PolicyError(
            f"A policy must fit its environment, and {where} chooses among {count} actions where {env.id} has "
            f"{len(env.action_names)}: pass the environment that it was trained in with --env."
        )
    return PolicySpec(
        env_id=env.id,
        observation_shape=env.observation_shape,
        observation_dtype=env.observation_dtype,
        action_names=env.action_names,
        feature_size=0,
        state_size=0,
    )
