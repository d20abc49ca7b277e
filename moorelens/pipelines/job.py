"""What a job works on: the opened policy, its environment under each protocol, seeds, budgets and settings."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from moorelens.envs.config import EnvironmentRequest, EnvironmentSpec
from moorelens.envs.description import describe
from moorelens.envs.playing import Player, play
from moorelens.envs.pool import Workers
from moorelens.envs.rollouts import Rollouts
from moorelens.errors import OptionError
from moorelens.fsm.config import QuantiseConfig
from moorelens.fsm.quantisers.qbn import TernaryQBN
from moorelens.fsm.seeds import Role, episode_seeds
from moorelens.pipelines.config import Budget, DemoConfig, ExplainConfig, budget, recorded
from moorelens.pipelines.presets import quantise_config
from moorelens.pipelines.published import published_quantisers
from moorelens.pipelines.trial import try_policy
from moorelens.policies.base import identity
from moorelens.policies.load import LoadedPolicy, open_policy
from moorelens.runs.manifest import Header, make_header
from moorelens.runs.progress import Progress

Config = ExplainConfig | DemoConfig
HELD_OUT_STICKY, HELD_OUT_NOOPS = 0.25, 30


@dataclass(frozen=True, kw_only=True)
class Job:
    """A request that was understood: everything the stages are made from.

    `request`: the plain environment (for Atari the published one: no sticky actions, no no-op starts). `fitting`:
    where practice, selection and fit games after the first are played. `held_out`: the held-out protocol.
    `published`: the quantisers that the policy's file brings, else empty, and then `quantise` says how to find some.
    `workers`: step Atari games, and end with the call of `run_job`.
    """

    config: Config
    loaded: LoadedPolicy
    env: EnvironmentSpec
    budget: Budget
    quantise: QuantiseConfig
    published: Mapping[str, TernaryQBN]
    request: EnvironmentRequest
    fitting: EnvironmentRequest
    held_out: EnvironmentRequest
    workers: Workers
    threads: int

    @property
    def atari(self) -> bool:
        """Whether the environment is an Atari game."""
        return self.request.is_atari

    @property
    def action_names(self) -> tuple[str, ...]:
        """What the actions are called: as `--names` or the policy's file says, else as the policy was made."""
        return self.request.action_names or self.loaded.policy.spec.action_names

    @property
    def deterministic(self) -> bool:
        """Whether the published protocol means something: one greedy game that no seed changes."""
        return self.atari

    def seeds(self, role: Role) -> tuple[int, ...]:
        """Return the episode seeds of a role."""
        count = {
            "fit": self.budget.episodes,
            "selection": self.quantise.selection_episodes + self.quantise.confirmation_episodes,
            "held_out": self.budget.held_out,
        }
        return episode_seeds(role, count[role], seed=self.config.seed)

    def play_fit(self, player: Player, *, progress: Progress | None = None) -> Rollouts:
        """Play the fit episodes; of an Atari game the first is the plain one (design, "Two protocols")."""
        seeds = self.seeds("fit")
        if self.fitting == self.request:
            return play(self.request, seeds, player, workers=self.workers, progress=progress)
        requests = [self.request, *[self.fitting] * (len(seeds) - 1)]
        return play(requests, seeds, player, workers=self.workers, progress=progress)

    def header(self, verb: str) -> Header:
        """Return what the manifest says of this job."""
        environment = json.dumps(msgspec.to_builtins(self.request), sort_keys=True)
        return make_header(
            verb,
            identity={"policy": identity(self.loaded.policy), "environment": environment},
            config=recorded(self.config),
            threads=self.threads,
            seeds={role: list(self.seeds(role)) for role in ("fit", "selection", "held_out")},
        )


def open_job(config: Config, *, request: EnvironmentRequest | None = None) -> Job:
    """Understand a request; raises `RequestError` for what is wrong in it, before anything is written.

    `request`: the environment as a run's manifest holds it, names included, where the job is that of a finished run.
    """
    if config.device == "cuda":
        # A GPU rounds otherwise and would read other codes off the same frames, within one run and between two.
        raise OptionError(
            "Policies are explained on the CPU, where a run gives the same bytes every time, and "
            "--device cuda asks for a GPU: pass --device cpu or auto."
        )
    given = request if request is not None and config.env is not None else _environment(config)
    loaded = open_policy(config.policy, env=given, trust=config.trust)
    loaded = loaded if request is None else dataclasses.replace(loaded, request=request)
    try_policy(loaded)
    plain = loaded.request
    atari = plain.is_atari
    if not atari and (config.sticky is not None or config.noops is not None):
        raise OptionError(f"--sticky and --noops belong to Atari games and {plain.id} is none: leave them out.")
    noops = HELD_OUT_NOOPS if config.noops is None else config.noops
    fitting, held_out = plain, plain
    if atari:
        plain = msgspec.structs.replace(plain, sticky=0.0, noops=0)
        fitting = msgspec.structs.replace(plain, noops=noops, sticky=config.sticky or 0.0)
        sticky = HELD_OUT_STICKY if config.sticky is None else config.sticky
        held_out = msgspec.structs.replace(plain, noops=noops, sticky=sticky)
    env = describe(plain)
    if plain.feature_names is not None and env.feature_names is None:
        raise OptionError(f"--names has names of features and {env.id} shows images: leave 'features' out.")
    return Job(
        config=config,
        loaded=loaded,
        env=env,
        budget=budget(config, atari=atari),
        quantise=quantise_config(config, atari=atari),
        published=published_quantisers(loaded),
        request=plain,
        fitting=fitting,
        held_out=held_out,
        workers=Workers(2 if atari else 1),
        threads=1,  # two threads wait for each other on networks this small
    )


def _environment(config: Config) -> EnvironmentRequest | None:
    names = _names(config.names)
    if config.env is None:
        if config.env_kwargs or names:
            raise OptionError("--env-kwargs and --names describe an environment and none was given: add --env.")
        return None
    return EnvironmentRequest(
        id=config.env,
        kwargs=config.env_kwargs,
        action_names=names.get("actions"),
        feature_names=names.get("features"),
    )


def _names(file: str | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        found = msgspec.json.decode(Path(file).read_bytes(), type=dict[str, tuple[str, ...]])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise OptionError(
            f'--names is a JSON file such as {{"actions": ["left", "right"], "features": [...]}} and {file!r} '
            f"cannot be read as one ({error}): mend the file."
        ) from error
    unknown: Sequence[str] = sorted(found.keys() - {"actions", "features"})
    if unknown:
        raise OptionError(f"--names holds 'actions' and 'features' and {file!r} has {unknown[0]!r}: take it out.")
    return dict(found)
