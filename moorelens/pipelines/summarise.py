"""From counted evaluations to the one summary of a run, with the interval of every number in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from moorelens.fsm.automata.decisions import decision_counts, decision_points
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.pipelines.job import Job
from moorelens.pipelines.stability import stability_of
from moorelens.reports.data import Interval, SeedReturns, StabilityPart
from moorelens.reports.pruning import decode_pruning
from moorelens.reports.summary import (
    Decisions,
    Fidelity,
    FoldedSize,
    Loss,
    MachineScore,
    MachineSize,
    Memory,
    ReducedSize,
    Returns,
    RunSummary,
    Score,
    Seeds,
    Sizes,
    machine_score_of,
    score_of,
)
from moorelens.stats import Estimate, estimate, paired_difference, share_of

Array = npt.NDArray[Any]
Evaluation = Mapping[str, Array]

PRUNING = "pruning.json"  # what `prune` adds to a run
_MACHINES = ("machine", "reduced", "folded")
_NETWORKS = ("policy", "policy_stochastic", "mmn")
_PER_EPISODE = frozenset({"returns", "steps", "decided", "known", "machine_agrees", "policy_agrees", "copy"})


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The summary, the intervals of its plain numbers by dotted path, and the returns seed by seed.

    `copies`: held-out games left out of every number because they only replay a fit game, shifted in time.
    """

    summary: RunSummary
    intervals: dict[str, Interval]
    seed_returns: tuple[SeedReturns, ...]
    copies: int = 0
    stability: StabilityPart | None = None


def summarise(job: Job, *, machine: MooreMachine, sizes: Mapping[str, Any], evaluation: Evaluation) -> Summary:
    """Return the summary of a run that was evaluated; held-out games that replay a fit game count nowhere."""
    new = new_games(evaluation)
    copies, evaluation = int(np.sum(~new)), _only(evaluation, new)
    if not new.any():
        intervals: dict[str, Interval] = {}
        more: dict[str, Interval] = {}
        fidelity = Fidelity(replay=float(evaluation["replay"][0]))
        memory = Memory(reactivity=float(evaluation["reactivity"][0]))
    else:
        fidelity, intervals = _fidelity(evaluation)
        memory, more = _memory(evaluation)
    summary = RunSummary(
        policy=reference_of(job),
        env=job.request.id,
        seeds=Seeds(fit=fit_seeds(job, machine), selection=job.seeds("selection"), held_out=job.seeds("held_out")),
        returns=_returns(evaluation, "held_out"),
        returns_published=_returns(evaluation, "published"),
        returns_assisted=_returns(evaluation, "assisted"),
        loss=_loss(evaluation),
        fidelity=fidelity,
        sizes=sizes_of(machine, sizes),
        decisions=Decisions(**decision_counts(decision_points(machine))),
        memory=memory,
    )
    return Summary(
        summary=summary,
        intervals=intervals | more,
        seed_returns=_seed_returns(job, evaluation, new),
        copies=copies,
    )


def with_stability(found: Summary, repeats: bytes) -> Summary:
    """Return the summary with what repeated extractions found."""
    block, part = stability_of(repeats)
    summary = msgspec.structs.replace(found.summary, stability=block)
    return dataclasses.replace(found, summary=summary, stability=part)


def with_pruning(found: Summary, pruning: bytes) -> Summary:
    """Return the summary with what `prune` found, on the held-out games."""
    part = decode_pruning(pruning)
    own = part.held_out
    seeds = SeedReturns(protocol="held_out", player="pruned", seeds=own.seeds, values=own.returns)
    return dataclasses.replace(
        found, summary=pruned_summary(found.summary, pruning), seed_returns=(*found.seed_returns, seeds)
    )


def pruned_summary(summary: RunSummary, pruning: bytes) -> RunSummary:
    """Return a summary with its `pruned` parts filled in."""
    part = decode_pruning(pruning)
    replace = msgspec.structs.replace
    return replace(
        summary,
        returns=replace(summary.returns, pruned=part.held_out.pruned),
        loss=replace(summary.loss, pruned=part.held_out.loss),
        decisions=replace(summary.decisions, after_pruning=part.decisions[1]),
    )


def new_games(evaluation: Evaluation) -> npt.NDArray[np.bool_]:
    """Say of each held-out game whether it is a new one, not a shifted copy of a fit game."""
    copies = evaluation.get("held_out/policy/copy")
    if copies is None:
        return np.ones(len(evaluation["held_out/policy/returns"]), dtype=np.bool_)
    return ~np.asarray(copies, dtype=np.bool_)


def _only(evaluation: Evaluation, new: npt.NDArray[np.bool_]) -> Evaluation:
    def chosen(name: str, array: Array) -> Array:
        protocol, _, rest = name.partition("/")
        counted = protocol in ("held_out", "assisted") and rest.partition("/")[2] in _PER_EPISODE
        return array[new] if counted else array

    return {name: chosen(name, array) for name, array in evaluation.items()}


def unmeasured(job: Job, *, machine: MooreMachine, sizes: Mapping[str, Any], replay: float) -> RunSummary:
    """Return the summary of a run that only extracted: sizes, decisions and the replay check."""
    return RunSummary(
        policy=reference_of(job),
        env=job.request.id,
        seeds=Seeds(fit=fit_seeds(job, machine), selection=job.seeds("selection")),
        fidelity=Fidelity(replay=replay),
        sizes=sizes_of(machine, sizes),
        decisions=Decisions(**decision_counts(decision_points(machine))),
    )


def fit_seeds(job: Job, machine: MooreMachine) -> tuple[int, ...]:
    """Return the seeds of the episodes that the machine was read off."""
    return tuple(machine.meta.get("seeds", job.seeds("fit")))


def reference_of(job: Job) -> str:
    """Return how the policy was named, files by name only: a summary holds no path."""
    kind, _, _ = job.config.policy.partition(":")
    return f"{kind}:{job.loaded.name}" if kind in ("zoo", "mmn", "sb3", "python") else job.loaded.name


def sizes_of(machine: MooreMachine, sizes: Mapping[str, Any]) -> Sizes:
    """Return the sizes block; `sizes` is what the reduce stage wrote."""
    last = sizes["reductions"][-1]
    return Sizes(
        machine=MachineSize(
            states=machine.n_states,
            symbols=machine.n_symbols,
            transitions=machine.n_transitions,
            conflicts=machine.n_conflicts,
        ),
        reduced=ReducedSize(states=last["states"], symbols=last["symbols"], edges=last["edges"]),
        folded=msgspec.convert(sizes["folded"], FoldedSize),
    )


def _returns(evaluation: Evaluation, protocol: str) -> Returns:
    found: dict[str, Score | MachineScore] = {}
    for player in (*_NETWORKS, *_MACHINES):
        values = evaluation.get(f"{protocol}/{player}/returns")
        if values is None or not len(values):
            continue
        score = estimate(values)
        decided = _share(evaluation, f"{protocol}/{player}", "decided")
        machine = player in _MACHINES
        found[player] = (
            machine_score_of(score, decided=None if decided is None else decided.mean) if machine else score_of(score)
        )
    return Returns(**found)  # type: ignore[arg-type]


def _loss(evaluation: Evaluation) -> Loss:
    own = evaluation["held_out/policy/returns"]
    if not len(own):
        return Loss()
    return Loss(
        **{player: score_of(paired_difference(own, evaluation[f"held_out/{player}/returns"])) for player in _MACHINES}
    )


def _share(evaluation: Evaluation, player: str, name: str) -> Estimate | None:
    counts = evaluation.get(f"{player}/{name}")
    return None if counts is None else share_of(counts, evaluation[f"{player}/steps"])


def _fidelity(evaluation: Evaluation) -> tuple[Fidelity, dict[str, Interval]]:
    steps = evaluation["held_out/machine/steps"]
    known, decided = evaluation["held_out/machine/known"], evaluation["held_out/machine/decided"]
    found = {
        "teacher_forced_mmn": _share(evaluation, "held_out/mmn", "machine_agrees"),
        "teacher_forced_policy": _share(evaluation, "held_out/policy", "machine_agrees"),
        "closed_loop": _share(evaluation, "held_out/machine", "policy_agrees"),
        "symbol_novelty": share_of(steps - known, steps),
        "undefined_rate": share_of(known - decided, steps),
    }
    measured = {name: value for name, value in found.items() if value is not None}
    fidelity = Fidelity(replay=float(evaluation["replay"][0]), **{name: value.mean for name, value in measured.items()})
    return fidelity, {f"fidelity.{name}": interval(value) for name, value in measured.items()}


def _memory(evaluation: Evaluation) -> tuple[Memory, dict[str, Interval]]:
    weights = evaluation["held_out/mmn/block_steps"]
    machine = float(evaluation["held_out/mmn/machine_agrees"].sum() / evaluation["held_out/mmn/steps"].sum())
    tree = evaluation.get("held_out/mmn/tree")
    memory = Memory(
        reactivity=float(evaluation["reactivity"][0]),
        memory_gain=machine - float(np.average(evaluation["held_out/mmn/table"], weights=weights)),
        open_loop_index=float(np.average(evaluation["held_out/mmn/clock"], weights=weights)),
        best_tree=None if tree is None else float(np.average(tree, weights=weights)),
    )
    return memory, {}


def _seed_returns(job: Job, evaluation: Evaluation, new: npt.NDArray[np.bool_]) -> tuple[SeedReturns, ...]:
    held_out = tuple(seed for seed, keep in zip(job.seeds("held_out"), new, strict=True) if keep)
    seeds = {
        "held_out": held_out,
        "assisted": held_out,
        "published": job.seeds("fit")[:1],
    }
    return tuple(
        SeedReturns(protocol=protocol, player=player, seeds=seeds[protocol], values=tuple(values.tolist()))
        for protocol in ("held_out", "published", "assisted")
        for player in (*_NETWORKS, *_MACHINES)
        if (values := evaluation.get(f"{protocol}/{player}/returns")) is not None
    )


def interval(value: Estimate) -> Interval:
    """Return the interval of an estimate as a report holds it."""
    return Interval(low=value.low, high=value.high, n=value.n, bound=value.bound)
