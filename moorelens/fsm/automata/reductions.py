"""The interpretable reductions R0 to R6 (spec-fsm 6.3): smaller to read, nothing forgotten, every decision kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.errors import OptionError
from moorelens.fsm.automata.chains import find_chains, fold_loops
from moorelens.fsm.automata.machine import Counts, Ids, MooreMachine
from moorelens.fsm.automata.partition import quotient, refine
from moorelens.fsm.automata.reduced import ENDING, RECURRENT, TRANSIENT, ChainMode, ReducedMachine, Step
from moorelens.fsm.automata.structure import closure, distinct_pairs, on_cycle, reachable, restrict
from moorelens.fsm.automata.symbol_classes import strict_symbol_classes
from moorelens.fsm.automata.traces import Traces, stays

ALL_STEPS: tuple[Step, ...] = ("trim", "bisimulation", "edges", "classes", "chains", "loops", "tags")
DEFAULT_STEPS: tuple[Step, ...] = ("trim", "edges", "classes", "chains", "loops", "tags")


@dataclass(frozen=True, kw_only=True)
class StepSize:
    """What is left to draw after a step: states (the silent start not counted), symbols and edges."""

    step: str
    states: int
    symbols: int
    edges: int


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """A reduced machine and the sizes on the way to it.

    `reduced.state_map` (S,) leads from a state of the given machine to its position, -1 where it was trimmed, and
    `reduced.symbol_classes` (O,) from a symbol to its class.
    """

    reduced: ReducedMachine
    history: tuple[StepSize, ...]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """How the states of `base` are to be grouped; `state_map` leads from the given machine to `base`."""

    base: MooreMachine
    state_map: Ids
    classes: Ids
    chains: list[list[int]]
    loops: list[bool]
    tags: npt.NDArray[np.uint8]
    steps: tuple[Step, ...] = ()
    mode: ChainMode = "same_action"


def reduce(
    machine: MooreMachine,
    *,
    steps: Sequence[Step] = DEFAULT_STEPS,
    mode: ChainMode = "same_action",
    allow_exit: bool = False,
    traces: Traces | None = None,
) -> Reduction:
    """Return `machine` in fewer macro-states and edges, with every decision point and every recorded word kept.

    Steps, always in this order: `trim` drops unreachable states (R0); `bisimulation` merges non-decision states that no
    word tells apart (R6, off by default); `edges` makes parallel transitions one edge (R1); `classes` joins symbols
    with equal columns (R2); `chains` joins states that are always passed in turn (R3; `mode`, `allow_exit`:
    `find_chains`); `loops` joins closed cycles (R4); `tags` marks what comes before the first cycle and what leads to
    an end (R5). With `traces` of the machine the lengths of stays are kept. `expand` is the inverse. Time O(E log E).
    """
    unknown = sorted(set(steps) - set(ALL_STEPS))
    if unknown:
        raise OptionError(
            f"A reduction step must be one of {', '.join(ALL_STEPS)}, but {unknown[0]!r} is none of them."
        )
    plan = _unreduced(machine, mode=mode)
    history = [_size("machine", plan)]
    for step in ALL_STEPS:
        if step in steps:
            plan = _apply(step, plan, allow_exit=allow_exit)
            history.append(_size(step, plan))
    reduced = _assemble(plan, given=machine)
    if traces is not None:
        reduced = replace(reduced, dwells=_dwells(reduced, traces))
    return Reduction(reduced=reduced, history=tuple(history))


def expand(reduced: ReducedMachine) -> MooreMachine:
    """Return the machine that `reduced` stands for: what `reduce` was given, if it trimmed or merged no state.

    Trimmed states are gone, and the others keep their order.
    """
    order = np.argsort(reduced.members, kind="stable")
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order))
    lasts, firsts = rank[reduced.offsets[1:] - 1], rank[reduced.offsets[:-1]]
    edges = (
        np.concatenate([rank[reduced.step_places], lasts[reduced.sources]]),
        np.concatenate([reduced.step_symbols, reduced.symbols]),
        np.concatenate([rank[reduced.step_places + 1], firsts[reduced.targets]]),
    )
    sort = np.lexsort(edges[::-1])
    return MooreMachine(
        state_codes=reduced.state_codes[order],
        symbol_codes=reduced.symbol_codes,
        actions=reduced.actions[order],
        visits=reduced.visits[order],
        terminals=reduced.terminals[order],
        truncations=reduced.truncations[order],
        sources=edges[0][sort],
        symbols=edges[1][sort],
        targets=edges[2][sort],
        counts=np.concatenate([reduced.step_counts, reduced.counts])[sort],
        origins=np.concatenate([reduced.step_origins, reduced.origins])[sort],
        start=int(firsts[reduced.start]),
        action_names=reduced.action_names,
        meta=reduced.meta,
    )


def trim(machine: MooreMachine) -> tuple[MooreMachine, Ids]:
    """Drop what cannot be reached from the start (R0); return the machine and the new id (S,) of each state or -1."""
    return restrict(machine, keep=reachable(machine))


def merge_bisimilar(machine: MooreMachine) -> tuple[MooreMachine, Ids]:
    """Merge states that no word tells apart, decision points and the start excepted (R6); return machine and map (S,).

    The words stay the same. A decision between two merged states was cosmetic and is one no longer.
    """
    n = len(machine.actions)
    sources, _ = distinct_pairs(machine.sources, machine.targets)
    alone = np.bincount(sources, minlength=n) > 1
    alone[machine.start] = True
    initial = np.where(alone, np.arange(n) + len(machine.action_names), machine.actions)
    blocks = refine(machine, initial=initial)
    return quotient(machine, blocks=blocks), blocks


def tag_states(machine: MooreMachine) -> npt.NDArray[np.uint8]:
    """Tag each state (S,): before every cycle `TRANSIENT`, no cycle ahead `ENDING`, else `RECURRENT` (R5)."""
    n = len(machine.actions)
    sources, targets = distinct_pairs(machine.sources, machine.targets)
    cycles = on_cycle(n, sources, targets)
    after = closure(n, sources, targets, seeds=cycles)
    before = closure(n, targets, sources, seeds=cycles)
    tags = np.full(n, RECURRENT, dtype=np.uint8)
    tags[~after] = TRANSIENT
    tags[~before] = ENDING
    return tags


def _unreduced(machine: MooreMachine, *, mode: ChainMode) -> _Plan:
    n = len(machine.actions)
    return _Plan(
        base=machine,
        state_map=np.arange(n, dtype=np.int32),
        classes=np.arange(machine.n_symbols, dtype=np.int32),
        chains=[[s] for s in range(n)],
        loops=[False] * n,
        tags=np.full(n, RECURRENT, dtype=np.uint8),
        mode=mode,
    )


def _apply(step: Step, plan: _Plan, *, allow_exit: bool) -> _Plan:
    plan = replace(plan, steps=(*plan.steps, step))
    if step in ("trim", "bisimulation"):
        base, mapping = trim(plan.base) if step == "trim" else merge_bisimilar(plan.base)
        state_map = np.where(plan.state_map >= 0, mapping[plan.state_map], -1).astype(np.int32)
        return replace(_unreduced(base, mode=plan.mode), state_map=state_map, steps=plan.steps)
    if step == "classes":
        return replace(plan, classes=strict_symbol_classes(plan.base))
    if step == "chains":
        chains = find_chains(plan.base, mode=plan.mode, allow_exit=allow_exit)
        return replace(plan, chains=chains, loops=[False] * len(chains))
    if step == "loops":
        chains, loops = fold_loops(plan.base, plan.chains, allow_exit=allow_exit)
        return replace(plan, chains=chains, loops=loops)
    if step == "tags":
        return replace(plan, tags=tag_states(plan.base))
    return plan


def _assemble(plan: _Plan, *, given: MooreMachine) -> ReducedMachine:
    base, lengths = plan.base, [len(chain) for chain in plan.chains]
    order = np.array([s for chain in plan.chains for s in chain], dtype=np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    position = np.empty(len(order), dtype=np.int32)
    position[order] = np.arange(len(order))
    macro = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    state_map = np.where(plan.state_map >= 0, position[plan.state_map], -1)
    members = np.full(len(order), len(given.actions), dtype=np.int32)
    kept = np.flatnonzero(state_map >= 0)
    np.minimum.at(members, state_map[kept], kept)
    labels = _labels(base, position, offsets=offsets, macro=macro)
    return ReducedMachine(
        members=members,
        offsets=offsets,
        loops=np.array(plan.loops, dtype=np.bool_),
        tags=plan.tags[order[offsets[1:] - 1]],
        state_codes=base.state_codes[order],
        actions=base.actions[order],
        visits=base.visits[order],
        terminals=base.terminals[order],
        truncations=base.truncations[order],
        symbol_codes=base.symbol_codes,
        symbol_classes=plan.classes,
        start=int(macro[position[base.start]]),
        action_names=base.action_names,
        state_map=state_map,
        steps=plan.steps,
        mode=plan.mode,
        meta=base.meta,
        **labels,
    )


def _labels(base: MooreMachine, position: Ids, *, offsets: Counts, macro: Ids) -> dict[str, Any]:
    """Split the transitions of `base` into those that go on inside a macro-state and those between macro-states."""
    places = position[base.sources]
    ends = np.zeros(len(position), dtype=np.bool_)
    ends[offsets[1:] - 1] = True
    inside = np.flatnonzero(~ends[places])
    inside = inside[np.lexsort((base.symbols[inside], places[inside]))]
    outside = np.flatnonzero(ends[places])
    sources, targets = macro[places[outside]], macro[position[base.targets[outside]]]
    order = np.lexsort((targets, base.symbols[outside], sources))
    outside = outside[order]
    return {
        "step_places": places[inside],
        "step_symbols": base.symbols[inside],
        "step_counts": base.counts[inside],
        "step_origins": base.origins[inside],
        "sources": sources[order],
        "symbols": base.symbols[outside],
        "targets": targets[order],
        "counts": base.counts[outside],
        "origins": base.origins[outside],
    }


def _size(step: str, plan: _Plan) -> StepSize:
    """Count what a plan leaves, as `ReducedMachine` does, without building one."""
    base = plan.base
    macro = np.empty(len(base.actions), dtype=np.int32)
    last = np.zeros(len(base.actions), dtype=np.bool_)
    for number, chain in enumerate(plan.chains):
        macro[chain] = number
        last[chain[-1]] = True
    leaving = last[base.sources]
    pairs, _ = distinct_pairs(macro[base.sources[leaving]], macro[base.targets[leaving]])
    silent = len(plan.chains[macro[base.start]]) == 1
    return StepSize(
        step=step,
        states=len(plan.chains) - silent,
        symbols=int(plan.classes.max(initial=-1)) + 1,
        edges=len(pairs) if "edges" in plan.steps else int(leaving.sum()),
    )


def _dwells(reduced: ReducedMachine, traces: Traces) -> dict[int, dict[int, int]]:
    """Return how long the stays were in each macro-state of one position that leads to itself."""
    staying = np.unique(reduced.sources[reduced.sources == reduced.targets])
    single = staying[np.diff(reduced.offsets)[staying] == 1]
    lengths = stays(traces, reduced.state_map[traces.states])
    return {int(m): lengths.get(int(reduced.offsets[m]), {}) for m in single}
