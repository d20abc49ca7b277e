"""One decision point explained: the map of what tells two of its branches apart, and the proof of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moorelens.envs.rollouts import Rollouts
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.traces import Traces, previous_states
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.reading import FeatureReader, codes_of
from moorelens.fsm.sequences import sequences_of
from moorelens.fsm.tables import NetworkTable
from moorelens.policies.base import RecurrentPolicy, to_input
from moorelens.policies.batching import evaluate_in_chunks
from moorelens.saliency.differential.branches import BranchPairs, pairs_of
from moorelens.saliency.differential.config import DifferentialConfig
from moorelens.saliency.differential.digits import Digits, differing, joint_digits, observation_digits
from moorelens.saliency.differential.intervention import Flips, flips
from moorelens.saliency.differential.maps import differential_map

Array = npt.NDArray[Any]
DEFAULTS = DifferentialConfig()
_CHUNK = 32
_AREAS = {True: 0.05, False: 0.25}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a machine was read off: `observations (T, *obs)` as recorded, its traces, and the network that ran it.

    `hidden (T, H)`: the policy's own memory before each step, needed for `level="hidden"` only.
    """

    network: MooreMachineNetwork
    machine: MooreMachine
    traces: Traces
    observations: Array
    hidden: Tensor | None = None

    @property
    def before(self) -> Array:
        """The state (T,) in which each step began."""
        return previous_states(self.traces, start=self.machine.start)


@dataclass(frozen=True, kw_only=True, eq=False)
class BranchSaliency:
    """What tells two branches of a decision point apart.

    `pairs`: the compared steps, P of them, each explained in both directions (2P rows). `maps (2P, *obs)`: what each
    row has that its counterpart has not, larger = more of the difference in the code; 0 where the codes are equal
    (`skipped (2P,)`). `memory (2P, H)`: the share of the memory, for `level="hidden"`. `digits (K,)`: how often each
    digit differed. `flips`: the intervention on the rows that were not skipped; None where all were.
    `completeness`: the largest deviation of a map's sum from its gap, relative to the gap.
    """

    pairs: BranchPairs
    maps: Tensor
    memory: Tensor | None
    skipped: npt.NDArray[np.bool_]
    digits: npt.NDArray[np.int64]
    flips: Flips | None
    completeness: float
    config: DifferentialConfig
    costs: Mapping[str, int]

    @property
    def mean(self) -> Tensor:
        """The mean map (*obs) over the rows with a difference, zero where there is none."""
        kept = torch.from_numpy(~self.skipped)
        return self.maps[kept].mean(dim=0) if bool(kept.any()) else torch.zeros_like(self.maps[0])

    @property
    def spread(self) -> Tensor:
        """The standard deviation (*obs) of the maps over the rows with a difference."""
        kept = torch.from_numpy(~self.skipped)
        return self.maps[kept].std(dim=0, correction=0) if bool(kept.any()) else torch.zeros_like(self.maps[0])


def memory_before(policy: RecurrentPolicy, played: Rollouts) -> Tensor:
    """Return the memory (T, H) that `policy` itself has before each recorded step, watching the recorded frames."""
    watched = sequences_of(policy, played, reader=FeatureReader(policy))
    after = watched.states.transpose(0, 1)[watched.mask.T]
    before = torch.empty_like(after)
    before[1:] = after[:-1]
    before[torch.from_numpy(played.offsets[:-1][np.diff(played.offsets) > 0])] = policy.initial_state(1).detach()
    return before


def branch_saliency(
    scene: Scene, *, state: int, targets: tuple[int, int], config: DifferentialConfig = DEFAULTS
) -> BranchSaliency:
    """Compare what was seen where the run went from `state` to one target and where it went to the other.

    Raises OptionError where a branch was never taken, PolicyError where the codes have no graded form.
    """
    pairs = compared_pairs(scene, state=state, targets=targets, config=config)
    rows, opposite, _ = pairs.both_ways()
    digits, x, baseline = _inputs(scene, rows, opposite, config)
    chosen = differing(digits, x, baseline)
    found = differential_map(
        digits.graded, x, baseline, chosen, target=config.target, steps=config.steps, rule=config.rule, max_batch=16
    )
    skipped = found.empty.numpy()
    maps, memory = _parted(found.values, scene, config)
    oriented = -maps if config.target == "squared" else maps
    gap = found.gap.abs().clamp_min(1e-12)
    return BranchSaliency(
        pairs=pairs,
        maps=oriented,
        memory=memory,
        skipped=skipped,
        digits=chosen.sum(dim=0).numpy(),
        flips=proof_of(scene, pairs, oriented, skipped, config),
        completeness=float((found.completeness.abs() / gap)[~found.empty].max()) if not skipped.all() else 0.0,
        config=config,
        costs={name: getattr(found, name) for name in ("n_forward", "n_backward", "largest_batch")},
    )


def compared_pairs(scene: Scene, *, state: int, targets: tuple[int, int], config: DifferentialConfig) -> BranchPairs:
    """Return the steps that are compared; raises OptionError where a branch was never taken."""
    return pairs_of(
        scene.before,
        scene.traces.states,
        scene.observations,
        scene.machine.symbol_codes[scene.traces.symbols],
        state=state,
        targets=targets,
        count=config.pairs,
        pairing=config.pairing,
        seed=config.seed,
    )


def proof_of(
    scene: Scene, pairs: BranchPairs, maps: Tensor, skipped: npt.NDArray[np.bool_], config: DifferentialConfig
) -> Flips | None:
    """Try the maps (2P, *obs) out by intervention on the rows that were not skipped; None where all were."""
    if skipped.all():
        return None
    rows, opposite, first = pairs.both_ways()
    kept = ~skipped
    own, other = (np.where(first, pairs.targets[i], pairs.targets[1 - i]).astype(np.int64) for i in (0, 1))
    return flips(
        to_input(scene.observations[rows[kept]]),
        to_input(scene.observations[opposite[kept]]),
        maps[torch.from_numpy(kept)],
        _Successors(scene, pairs.state),
        own=own[kept],
        opposite=other[kept],
        area=salient_area(config, images=scene.observations.ndim > 2),
        generator=torch.Generator().manual_seed(config.seed),
    )


def salient_area(config: DifferentialConfig, *, images: bool) -> float:
    """Return the share of parts that counts as salient."""
    return config.area if config.area is not None else _AREAS[images]


def _inputs(scene: Scene, rows: Array, opposite: Array, config: DifferentialConfig) -> tuple[Digits, Tensor, Tensor]:
    x, baseline = (to_input(scene.observations[part]) for part in (rows, opposite))
    if config.level == "observation":
        return observation_digits(scene.network), x, baseline
    assert scene.hidden is not None, "level hidden needs the memories"
    joint = [
        torch.cat([part.flatten(1), scene.hidden[torch.from_numpy(at)]], dim=1)
        for part, at in ((x, rows), (baseline, opposite))
    ]
    return joint_digits(scene.network), joint[0], joint[1]


def _parted(values: Tensor, scene: Scene, config: DifferentialConfig) -> tuple[Tensor, Tensor | None]:
    """Split joint maps (N, F + H) into maps of the observation (N, *obs) and of the memory (N, H)."""
    if config.level == "observation":
        return values, None
    shape = scene.observations.shape[1:]
    size = int(np.prod(shape))
    return values[:, :size].reshape(-1, *shape), values[:, size:]


class _Successors:
    """Where the quantised network goes from one state on changed observations; a state it never met is -1."""

    def __init__(self, scene: Scene, state: int) -> None:
        self._network, self._state = scene.network, state
        self._codes = scene.machine.state_codes
        self._silent = scene.machine.start

    def __call__(self, observations: Tensor) -> npt.NDArray[np.int64]:
        features = evaluate_in_chunks(self._network.policy.features, observations, chunk=_CHUNK)[0]
        symbols = codes_of(self._network, features)
        table = NetworkTable(self._network)
        at = table.start if self._state == self._silent else int(table.states(self._codes[self._state][None])[0])
        reached = table.codes(table.step(np.full(len(symbols), at, dtype=np.int64), table.symbols(symbols)))
        # The silent start is no state that a step can reach, though it may share its code with one.
        known = {code.tobytes(): n for n, code in enumerate(self._codes) if n != self._silent}
        return np.array([known.get(code.tobytes(), -1) for code in reached], dtype=np.int64)
