"""The moves of functional pruning: one decision, or one symbol, of a machine made to matter less."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np

from moorelens.fsm.automata.codes import nearest
from moorelens.fsm.automata.machine import OBSERVED, MooreMachine
from moorelens.fsm.automata.structure import conflict_flags, merge_transitions, reachable

Mode = Literal["branch", "state", "symbol"]


@dataclass(frozen=True, kw_only=True)
class Move:
    """One candidate, in ids of the original machine.

    `branch`: at `state`, every symbol that leads to `source` leads to `target`. `state`: at `state`, every symbol
    leads to `target`. `symbol`: symbol `source` is read as symbol `target` in every state that knows both. What does
    not apply is -1.
    """

    mode: Mode
    state: int = -1
    source: int = -1
    target: int = -1


def moves(machine: MooreMachine, mode: Mode) -> list[Move]:
    """Return the candidates, those that change the fewest recorded steps first (spec-fsm 6.5), in a fixed order."""
    if mode == "symbol":
        return _symbol_moves(machine)
    ranked: list[tuple[int, int, int, int, Move]] = []
    for state, counts in branches(machine).items():
        by_count = sorted(counts, key=lambda target: (-counts[target], target))
        total = sum(counts.values())
        for place, target in enumerate(by_count):
            if mode == "state":
                ranked.append((total - counts[target], state, place, 0, Move(mode=mode, state=state, target=target)))
                continue
            for source in counts:
                if source != target:
                    move = Move(mode=mode, state=state, source=source, target=target)
                    ranked.append((counts[source], state, source, place, move))
    return [move for *_, move in sorted(ranked, key=lambda entry: entry[:4])]


def branches(machine: MooreMachine) -> dict[int, dict[int, int]]:
    """Return for every reachable decision (the silent start is none) how often each successor was taken."""
    used = ~conflict_flags(machine) & (machine.origins == OBSERVED) & reachable(machine)[machine.sources]
    found: dict[int, dict[int, int]] = {}
    columns = (machine.sources[used], machine.targets[used], machine.counts[used])
    for source, target, count in zip(*(column.tolist() for column in columns), strict=True):
        if source != machine.start:
            own = found.setdefault(source, {})
            own[target] = own.get(target, 0) + count
    return {state: own for state, own in sorted(found.items()) if len(own) > 1}


def apply(machine: MooreMachine, move: Move) -> MooreMachine:
    """Return the machine after a move; counts stay with their symbols, and ids are the same."""
    targets = machine.targets.copy()
    free = ~conflict_flags(machine)
    if move.mode == "symbol":
        there = {
            state: target
            for state, symbol, target, single in zip(
                machine.sources.tolist(), machine.symbols.tolist(), machine.targets.tolist(), free.tolist(), strict=True
            )
            if symbol == move.target and single
        }
        for edge in np.flatnonzero((machine.symbols == move.source) & free).tolist():
            targets[edge] = there.get(int(machine.sources[edge]), int(targets[edge]))
    else:
        chosen = (machine.sources == move.state) & free
        if move.mode == "branch":
            chosen &= machine.targets == move.source
        targets[chosen] = move.target
    merged = merge_transitions(machine.sources, machine.symbols, targets, machine.counts, machine.origins)
    return dataclasses.replace(machine, **merged)


def opened(original: MooreMachine, machine: MooreMachine) -> frozenset[int]:
    """Return the states that decided in the original and have one successor left: whatever is seen, they go there."""
    left = branches(machine)
    return frozenset(state for state in branches(original) if state not in left and reachable(machine)[state])


def _symbol_moves(machine: MooreMachine) -> list[Move]:
    """For each symbol the nearest other one that some state tells apart from it; else it says nothing of its own."""
    used = ~conflict_flags(machine) & reachable(machine)[machine.sources] & (machine.sources != machine.start)
    rows: dict[int, list[tuple[int, int]]] = {}
    columns = (machine.sources[used], machine.symbols[used], machine.targets[used])
    for source, symbol, target in zip(*(column.tolist() for column in columns), strict=True):
        rows.setdefault(source, []).append((symbol, target))
    rivals: dict[int, set[int]] = {}
    for row in rows.values():
        for symbol, target in row:
            rivals.setdefault(symbol, set()).update(other for other, reached in row if reached != target)
    reads = np.bincount(machine.symbols, weights=machine.counts, minlength=machine.n_symbols).astype(np.int64)
    found = []
    for symbol in sorted((one for one in rivals if rivals[one]), key=lambda one: (int(reads[one]), one)):
        others = np.array(sorted(rivals[symbol]))
        code = machine.symbol_codes[symbol : symbol + 1]
        other = int(others[nearest(code, among=machine.symbol_codes[others], weights=reads[others])[0]])
        found.append(Move(mode="symbol", source=symbol, target=other))
    return found
