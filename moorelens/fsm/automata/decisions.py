"""Decision points: the states where the next observation decides what the machine does next (spec-fsm 6.2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from moorelens.fsm.automata.compatibility import PairSearch
from moorelens.fsm.automata.machine import BOT, OBSERVED, Flags, MooreMachine
from moorelens.fsm.automata.reduced import ReducedMachine
from moorelens.fsm.automata.structure import conflict_flags, distinct_pairs
from moorelens.fsm.automata.traces import Traces, stays


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One successor of a decision point, the symbols that lead there, and how often they did."""

    target: int
    symbols: tuple[int, ...]
    count: int


@dataclass(frozen=True, kw_only=True)
class DecisionPoint:
    """A state with two or more successors, conflicts left out (structural decision point).

    `action`: successors emit different actions. `semantic`: some word tells two successors apart. `dwell`: the choice
    is to stay or to leave. `stochastic`: besides, some symbol leads to two states. `silent`: it is the silent start,
    where the first observation decides. `bits` is visits times the entropy of the branches; `unobserved` the share of
    known symbols that were never seen here (and of which nothing is assumed).
    """

    state: int
    branches: tuple[Branch, ...]
    visits: int
    bits: float
    action: bool
    semantic: bool
    dwell: bool
    stochastic: bool
    silent: bool
    unobserved: float


@dataclass(frozen=True, kw_only=True)
class StochasticBranch:
    """A symbol that leads from one state to several: noise or lost memory, never a decision."""

    state: int
    symbol: int
    targets: tuple[int, ...]
    counts: tuple[int, ...]


def decision_points(machine: MooreMachine, *, include_network: bool = False) -> tuple[DecisionPoint, ...]:
    """Return the decision points in order of their states; transitions asked of the network count only if included.

    The action flag implies the semantic one, which implies a decision point.
    """
    conflicts = conflict_flags(machine)
    used = ~conflicts if include_network else ~conflicts & (machine.origins == OBSERVED)
    stochastic = set(machine.sources[conflicts].tolist())
    observed = machine.origins == OBSERVED
    seen, _ = distinct_pairs(machine.sources[observed], machine.symbols[observed])
    known = np.bincount(seen, minlength=len(machine.actions)).tolist()
    branches = _branches(machine, used)
    pairs = PairSearch(machine)
    return tuple(
        _point(machine, state, tuple(found), pairs=pairs, seen=known[state], stochastic=state in stochastic)
        for state, found in sorted(branches.items())
        if len(found) > 1
    )


def stochastic_branches(machine: MooreMachine) -> tuple[StochasticBranch, ...]:
    """Return every (state, symbol) with two or more successors, in order."""
    groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
    flags = conflict_flags(machine)
    columns = (machine.sources, machine.symbols, machine.targets, machine.counts)
    for source, symbol, target, count in zip(*(c[flags].tolist() for c in columns), strict=True):
        groups.setdefault((source, symbol), []).append((target, count))
    return tuple(
        StochasticBranch(state=s, symbol=o, targets=tuple(t for t, _ in ends), counts=tuple(c for _, c in ends))
        for (s, o), ends in groups.items()
    )


def decision_counts(points: Iterable[DecisionPoint], *, start: bool = False) -> dict[str, int]:
    """Count decision points by kind; the silent start is no state of the machine and not counted unless `start`."""
    counted = [p for p in points if start or not p.silent]
    kinds = {name: sum(getattr(p, name) for p in counted) for name in ("action", "semantic", "dwell")}
    return {"structural": len(counted), **kinds}


def decision_bits(points: Iterable[DecisionPoint], machine: MooreMachine) -> float:
    """Return the mean bits decided in a step: the sum over decision points of visits / N times branch entropy."""
    steps = int(machine.counts.sum())
    return sum(p.bits for p in points) / steps if steps else 0.0


def dwell_lengths(points: Iterable[DecisionPoint], traces: Traces) -> dict[int, dict[int, int]]:
    """Return for each dwell decision how many of its stays lasted how many visits in a row."""
    found = stays(traces, traces.states)
    return {p.state: found.get(p.state, {}) for p in points if p.dwell}


def structural_macros(reduced: ReducedMachine) -> Flags:
    """Return (M,) flags: True where a macro-state ends in a structural decision point."""
    rows = np.stack([reduced.sources, reduced.symbols])
    same = np.all(rows[:, 1:] == rows[:, :-1], axis=0)
    clear = np.ones(len(reduced.sources), dtype=np.bool_)
    clear[1:] &= ~same
    clear[:-1] &= ~same
    clear &= reduced.origins == OBSERVED
    sources, _ = distinct_pairs(reduced.sources[clear], reduced.targets[clear])
    flags: Flags = np.bincount(sources, minlength=reduced.n_macros) > 1
    return flags


def _branches(machine: MooreMachine, used: Flags) -> dict[int, list[Branch]]:
    symbols: dict[tuple[int, int], list[int]] = {}
    counts: dict[tuple[int, int], int] = {}
    columns = (machine.sources, machine.symbols, machine.targets, machine.counts)
    for source, symbol, target, count in zip(*(c[used].tolist() for c in columns), strict=True):
        symbols.setdefault((source, target), []).append(symbol)
        counts[source, target] = counts.get((source, target), 0) + count
    found: dict[int, list[Branch]] = {}
    for (source, target), labels in sorted(symbols.items()):
        found.setdefault(source, []).append(Branch(target=target, symbols=tuple(labels), count=counts[source, target]))
    return found


def _point(
    machine: MooreMachine, state: int, branches: tuple[Branch, ...], *, pairs: PairSearch, seen: int, stochastic: bool
) -> DecisionPoint:
    targets = [b.target for b in branches]
    action = len(set(machine.actions[targets].tolist()) - {BOT}) > 1
    semantic = action or any(pairs.differ(p, q) for i, p in enumerate(targets) for q in targets[:i])
    return DecisionPoint(
        state=state,
        branches=branches,
        visits=int(machine.visits[state]),
        bits=int(machine.visits[state]) * _entropy([b.count for b in branches]),
        action=action,
        semantic=semantic,
        dwell=state in targets and len(targets) == 2,
        stochastic=stochastic,
        silent=state == machine.start,
        unobserved=1 - seen / machine.n_symbols,
    )


def _entropy(counts: list[int]) -> float:
    weights = np.array([c for c in counts if c], dtype=np.float64)
    shares = weights / weights.sum() if len(weights) else weights
    return float(-(shares * np.log2(shares)).sum()) + 0.0
