"""Conflicts: one state and symbol with several successors, counted, and resolved by five policies (spec-fsm 4.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from moorelens.errors import OptionError, RequestError
from moorelens.fsm.automata.build import machine_from_traces
from moorelens.fsm.automata.machine import NETWORK, Counts, Flags, Ids, MooreMachine
from moorelens.fsm.automata.traces import Traces, previous_states

ConflictPolicy = Literal["error", "majority", "last", "split", "nfa"]


@dataclass(frozen=True, kw_only=True)
class ConflictReport:
    """How many (state, symbol) pairs have several successors, and how much of the recording contradicts the majority.

    `rate` is the share of all N recorded steps that did not go to the most frequent successor of their pair.
    """

    pairs: int
    minority_steps: int
    rate: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Resolution:
    """A machine after its conflicts were dealt with.

    `origin` (S,) is the state of the given machine behind each state; `traces` are the given ones in ids of the result,
    None if none were given; `dropped_steps` counts the steps on transitions that were dropped.
    """

    machine: MooreMachine
    origin: Ids
    traces: Traces | None
    dropped_steps: int


def conflict_report(machine: MooreMachine) -> ConflictReport:
    """Count the conflicts of `machine`: |K| and the weighted rate of spec-fsm 4.3."""
    minority = int(machine.counts[~_majority(machine)].sum())
    steps = int(machine.counts.sum())
    return ConflictReport(pairs=machine.n_conflicts, minority_steps=minority, rate=minority / steps if steps else 0.0)


def resolve_conflicts(
    machine: MooreMachine, *, policy: ConflictPolicy, traces: Traces | None = None, depth: int = 4
) -> Resolution:
    """Return `machine` with its conflicts dealt with.

    `error` raises RequestError if there is one; `majority` keeps the most frequent successor, ties to the smallest id;
    `last` the one recorded last (the reference's silent overwrite); `split` tells states with a conflict apart by the
    previous symbol and state, again and again until no conflict is left or `depth` times; `nfa` keeps them all: every
    function here accepts that. `last` and `split` need the `traces` the machine was extracted from, and `split`
    rebuilds the machine from them, so complete it only afterwards.
    """
    everyone = np.arange(len(machine.actions), dtype=np.int32)
    if policy == "error" and machine.n_conflicts:
        report = conflict_report(machine)
        raise RequestError(
            f"A deterministic machine has one successor for each state and symbol, but {report.pairs} pairs have "
            f"several ({report.rate:.1%} of steps); the recording mixes policies, or choose another conflict policy."
        )
    if policy in ("error", "nfa"):
        return Resolution(machine=machine, origin=everyone, traces=traces, dropped_steps=0)
    if policy == "majority":
        return _keep(machine, _majority(machine), traces=traces)
    if policy not in ("last", "split"):
        raise OptionError(
            f"A conflict policy is one of error, majority, last, split, nfa, but {policy!r} is none of them."
        )
    if traces is None:
        raise OptionError(
            f"The conflict policy {policy!r} looks at the order of steps: give the traces of the machine."
        )
    return _keep(machine, _last(machine, traces), traces=traces) if policy == "last" else _split(machine, traces, depth)


def _keep(machine: MooreMachine, keep: Flags, *, traces: Traces | None) -> Resolution:
    edges = {name: getattr(machine, name)[keep] for name in ("sources", "symbols", "targets", "counts", "origins")}
    return Resolution(
        machine=replace(machine, **edges),
        origin=np.arange(len(machine.actions), dtype=np.int32),
        traces=traces,
        dropped_steps=int(machine.counts[~keep].sum()),
    )


def _majority(machine: MooreMachine) -> Flags:
    order = np.lexsort((machine.targets, -machine.counts, machine.symbols, machine.sources))
    return _first_of_each_pair(machine, order)


def _last(machine: MooreMachine, traces: Traces) -> Flags:
    latest = {
        (source, symbol): target
        for source, symbol, target in zip(
            previous_states(traces, start=machine.start).tolist(),
            traces.symbols.tolist(),
            traces.states.tolist(),
            strict=True,
        )
    }
    columns = (machine.sources, machine.symbols, machine.targets)
    is_latest = np.array(
        [latest.get((s, o), t) == t for s, o, t in zip(*(c.tolist() for c in columns), strict=True)], dtype=np.bool_
    )
    order = np.lexsort((machine.targets, ~is_latest, machine.symbols, machine.sources))
    return _first_of_each_pair(machine, order)


def _first_of_each_pair(machine: MooreMachine, order: npt.NDArray[np.integer]) -> Flags:
    """Return (E,) flags: True for the first transition of each (source, symbol) in an `order` sorted by these."""
    pairs = np.stack([machine.sources, machine.symbols])[:, order]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = np.any(pairs[:, 1:] != pairs[:, :-1], axis=0)
    keep = np.zeros(len(order), dtype=np.bool_)
    keep[order[first]] = True
    return keep


def _split(machine: MooreMachine, traces: Traces, depth: int) -> Resolution:
    if np.any(machine.origins == NETWORK):
        raise OptionError(
            "A machine that was completed by the network cannot be split: split it first, then complete it."
        )
    labels = traces.states.astype(np.int64)
    fresh = len(machine.actions)
    for _ in range(depth):
        before = _before(labels, traces, start=machine.start)
        torn = _conflicting_labels(before, traces.symbols, labels)
        there = np.isin(labels, torn)
        if not there.any():
            break
        histories = np.stack([labels, before, traces.symbols])[:, there]
        _, inverse = np.unique(histories, axis=1, return_inverse=True)
        labels[there] = fresh + inverse.reshape(-1)
        fresh += int(inverse.max()) + 1
    return _relabelled(machine, traces, labels)


def _before(labels: Counts, traces: Traces, *, start: int) -> Counts:
    before = np.empty_like(labels)
    before[1:] = labels[:-1]
    before[traces.offsets[:-1][np.diff(traces.offsets) > 0]] = start
    return before


def _conflicting_labels(before: Counts, symbols: Ids, labels: Counts) -> Counts:
    """Return the labels from which one symbol led to two labels."""
    steps = np.unique(np.stack([before, symbols, labels]), axis=1)
    pairs, counts = np.unique(steps[:2], axis=1, return_counts=True)
    return np.unique(pairs[0, counts > 1])


def _relabelled(machine: MooreMachine, traces: Traces, labels: Counts) -> Resolution:
    values, firsts, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.lexsort((firsts, traces.states[firsts]))
    number = np.empty(len(values), dtype=np.int32)
    number[order] = np.arange(1, len(values) + 1)
    origin = np.concatenate([[machine.start], traces.states[firsts[order]]]).astype(np.int32)
    renamed = replace(traces, states=number[inverse.reshape(-1)])
    rebuilt = machine_from_traces(
        renamed,
        state_codes=machine.state_codes[origin],
        symbol_codes=machine.symbol_codes,
        action_names=machine.action_names,
        meta=machine.meta,
    )
    return Resolution(machine=rebuilt, origin=origin, traces=renamed, dropped_steps=0)
