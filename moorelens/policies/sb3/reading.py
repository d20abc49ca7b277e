"""Opening `sb3:` references: the file, the environment it fits, and the policy, without running anything from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moorelens.envs.config import EnvironmentRequest, named_by_file
from moorelens.envs.description import describe
from moorelens.errors import PolicyError
from moorelens.policies.base import RecurrentPolicy
from moorelens.policies.inputs import Inputs
from moorelens.policies.sb3.archive import Archive, read_archive
from moorelens.policies.sb3.facts import Facts, facts_of
from moorelens.policies.sb3.fitting import bare_spec, fit
from moorelens.policies.sb3.folders import Source, find_policy
from moorelens.policies.sb3.rebuild import rebuild
from moorelens.policies.sb3.statistics import Statistics, beside, read_statistics


@dataclass(frozen=True, kw_only=True)
class ReadPolicy:
    """A policy of SB3, the environment that shows it what it was trained on, its name and what is known of it."""

    policy: RecurrentPolicy
    request: EnvironmentRequest
    name: str
    card: Mapping[str, Any]


def read_sb3(path: Path, request: EnvironmentRequest | None, *, trust: bool = False) -> ReadPolicy:
    """Read a zip, or an rl-zoo3 folder, with the VecNormalize statistics beside it.

    `request`: the environment; an rl-zoo3 folder says it itself. A policy that saw several frames at once gets a
    request with a frame stack. `trust`: let SB3 load what cannot be rebuilt from plain fields, which runs its code.
    Raises `PolicyError` where the file cannot be read or needs trust, or does not fit the environment.
    """
    source = find_policy(path)
    archive = read_archive(source.file)
    request = request or _environment(source, trust=trust)
    statistics = _statistics(source, trust=trust)
    try:
        facts = facts_of(archive)
        return _rebuilt(archive, facts, request, statistics)
    except PolicyError:
        if not trust:
            raise
    except (ValueError, TypeError, ArithmeticError, RecursionError, MemoryError) as error:
        if not trust:
            raise PolicyError(
                f"A Stable-Baselines3 file holds plain fields that fit its weights, and those of sb3:{source.file} do "
                f"not ({type(error).__name__}): the file is damaged or was made by hand, so save the policy again."
            ) from error
    from moorelens.policies.sb3.live import load_trusted

    policy, fitted, card = load_trusted(archive, request, statistics)
    return ReadPolicy(policy=policy, request=fitted, name=source.file.stem, card=card)


def _rebuilt(archive: Archive, facts: Facts, request: EnvironmentRequest, statistics: Statistics | None) -> ReadPolicy:
    env = describe(request)
    fitted = fit(facts.shape, env, request, statistics, where=archive.where)
    spec = bare_spec(describe(fitted.request), sizes=facts.sizes, where=archive.where)
    inputs = Inputs(
        from_bytes=env.observation_dtype == "uint8",
        image=facts.image,
        transpose=fitted.transpose,
        statistics=fitted.statistics,
    )
    card = {"algorithm": facts.algorithm} | ({"steps": facts.steps} if isinstance(facts.steps, int) else {})
    policy = rebuild(archive, facts, spec, inputs)
    return ReadPolicy(policy=policy, request=fitted.request, name=archive.path.stem, card=card)


def _environment(source: Source, *, trust: bool) -> EnvironmentRequest:
    if source.env is None:
        raise PolicyError(
            f"A Stable-Baselines3 file does not say which environment it plays, and sb3:{source.file} was given "
            "without one: add --env, for example --env CartPole-v1."
        )
    for name in ("env_wrapper", "env_kwargs", "vec_env_wrapper"):
        if source.settings.get(name) is not None:
            raise PolicyError(
                f"A policy plays the environment of its training, and the training of sb3:{source.file} had {name} "
                f"({source.settings[name]}), which is not built from a file: pass --env python:package.module:factory "
                "that builds it."
            )
    return named_by_file(EnvironmentRequest(id=source.env), source=f"sb3:{source.file}", trust=trust)


def _statistics(source: Source, *, trust: bool) -> Statistics | None:
    found = beside(source.file)
    if found is not None:
        return read_statistics(found, trust=trust)
    normalised = source.settings.get("normalize")
    rewards_only = normalised is not None and re.search(r"norm_obs['\"]?\s*[:=]\s*False", normalised)
    if normalised is not None and normalised.lower() != "false" and not rewards_only:
        raise PolicyError(
            f"A policy sees what it was trained on, and the training of sb3:{source.file} normalised observations "
            "while no vecnormalize.pkl lies beside it: put it there."
        )
    return None
