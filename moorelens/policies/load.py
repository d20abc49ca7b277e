"""Opening a policy by its reference: `zoo:`, `sb3:`, `mmn:`, `python:`, or a native `.safetensors` file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from moorelens.envs.config import EnvironmentRequest, named_by_file
from moorelens.envs.description import describe
from moorelens.envs.factories import import_named
from moorelens.errors import PolicyError
from moorelens.policies.base import RecurrentPolicy
from moorelens.policies.config import name_of_file, placed_file
from moorelens.policies.mmn import read_mmn
from moorelens.policies.native import check_finite, read_native
from moorelens.policies.zoo.files import zoo_file

_KINDS = "zoo:NAME, sb3:FILE.zip, mmn:FILE, python:package.module:factory or a native .safetensors file"


@dataclass(frozen=True, kw_only=True)
class LoadedPolicy:
    """A policy, the environment it plays in, and what came with it.

    `quantisers`: `observation` and `state` -> tensors by name as published, where the file holds them; else empty.
    `card`: what its file says about its training; else empty.
    """

    policy: RecurrentPolicy
    request: EnvironmentRequest
    name: str
    quantisers: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)


def open_policy(reference: str, *, env: EnvironmentRequest | str | None = None, trust: bool = False) -> LoadedPolicy:
    """Read the policy that `reference` names and check that it fits its environment.

    `env`: the environment, where the file does not say it (`mmn:`) or to play in another one of the same shape.
    `trust`: let Stable-Baselines3 load an `sb3:` file that cannot be rebuilt from plain fields, which runs its code,
    and build an environment of code (`python:`) that a file names.
    Raises `PolicyError` where the policy cannot be read or does not fit, `EnvironmentRequestError` for the environment.
    """
    request = EnvironmentRequest(id=env) if isinstance(env, str) else env
    kind, _, rest = reference.partition(":")
    opener = partial(_sb3, trust=trust) if kind == "sb3" else _OPENERS.get(kind)
    if opener is None and reference.endswith(".safetensors"):
        opener, rest = partial(_native, trust=trust), reference
    if opener is None or not rest:
        raise PolicyError(f"A policy is named by {_KINDS}, and {reference!r} is none of them: check how it is written.")
    loaded = opener(rest, request)
    _check_fit(loaded)
    return loaded


def _zoo(name: str, request: EnvironmentRequest | None) -> LoadedPolicy:
    policy, header = read_native(zoo_file(name))
    return LoadedPolicy(policy=policy, request=request or header.request, name=name, card=header.card)


def _native(path: str, request: EnvironmentRequest | None, *, trust: bool) -> LoadedPolicy:
    policy, header = read_native(Path(path))
    request = request or named_by_file(header.request, source=path, trust=trust)
    return LoadedPolicy(policy=policy, request=request, name=name_of_file(placed_file(path)), card=header.card)


def _mmn(path: str, request: EnvironmentRequest | None) -> LoadedPolicy:
    if request is None:
        raise PolicyError(
            f"A published checkpoint does not say which environment it plays and mmn:{path} was given without one: add "
            "--env, for example --env CartPole-v1."
        )
    policy, quantisers = read_mmn(Path(path), describe(request))
    return LoadedPolicy(policy=policy, request=request, name=Path(path).stem, quantisers=quantisers)


def _python(reference: str, request: EnvironmentRequest | None) -> LoadedPolicy:
    name = reference.partition(":")[2]
    try:
        policy = import_named(reference)()
    except Exception as error:
        raise PolicyError(
            f"A policy factory is written python:package.module:factory and takes no argument, and python:{reference} "
            f"failed with {type(error).__name__}: {error}; check the spelling, the Python path and the factory."
        ) from error
    if not isinstance(policy, RecurrentPolicy):
        raise PolicyError(
            f"A policy factory must return a RecurrentPolicy and python:{reference} returned a "
            f"{type(policy).__name__}: "
            "implement spec, initial_state, features, core, heads and tensors (moorelens.testing checks them)."
        )
    check_finite(policy.tensors(), f"python:{reference}")
    return LoadedPolicy(policy=policy, request=request or EnvironmentRequest(id=policy.spec.env_id), name=name)


def _sb3(path: str, request: EnvironmentRequest | None, *, trust: bool) -> LoadedPolicy:
    # Imported here: no other kind of policy needs the reader.
    from moorelens.policies.sb3.reading import read_sb3

    found = read_sb3(Path(path), request, trust=trust)
    return LoadedPolicy(policy=found.policy, request=found.request, name=found.name, card=found.card)


_OPENERS: dict[str, Callable[[str, EnvironmentRequest | None], LoadedPolicy]] = {
    "zoo": _zoo,
    "mmn": _mmn,
    "python": _python,
}


def _check_fit(loaded: LoadedPolicy) -> None:
    spec, env = loaded.policy.spec, describe(loaded.request)
    if (spec.observation_shape, len(spec.action_names)) != (env.observation_shape, len(env.action_names)):
        raise PolicyError(
            f"A policy must fit its environment and {loaded.name!r} reads {spec.observation_shape} and has "
            f"{len(spec.action_names)} actions where {env.id} shows {env.observation_shape} and has "
            f"{len(env.action_names)}: pass the environment that it was trained in with --env."
        )
