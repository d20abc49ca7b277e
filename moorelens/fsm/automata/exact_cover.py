"""Exact minimisation: the smallest closed cover of a partial machine, found by a SAT solver (spec-fsm 4.6)."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace
from threading import Timer
from typing import Any

import numpy as np

from moorelens.errors import MissingToolError
from moorelens.fsm.automata.canonical import breadth_first, renumber
from moorelens.fsm.automata.compatibility import deterministic_rows, greedy_clique, incompatibility
from moorelens.fsm.automata.equivalence import require_same_words
from moorelens.fsm.automata.folding import fold, summarise
from moorelens.fsm.automata.machine import BOT, Counts, Flags, Ids, MooreMachine
from moorelens.fsm.automata.minimised import Minimised
from moorelens.fsm.automata.reductions import trim
from moorelens.fsm.automata.structure import conflict_flags, merge_transitions
from moorelens.fsm.automata.symbol_classes import strict_symbol_classes


@dataclass(frozen=True, kw_only=True)
class _Cover:
    """k classes of states that cover all and are closed: class `moves[c, o]` holds all successors of c by o."""

    members: list[list[int]]
    moves: dict[tuple[int, int], int]


def minimise_exact(machine: MooreMachine, *, max_states: int = 400, timeout_s: float = 60.0) -> Minimised:
    """Return a smallest machine that emits the same actions on every word of `machine`, with a proof of its size.

    From a clique of incompatible states upward, a SAT solver is asked for a closed cover of k classes; the answer "no"
    for all k below the size found is the proof (`proven`, `lower_bound`). Above `max_states` states, or after
    `timeout_s` seconds, the folded machine is returned with the bound proven so far, and `gave_up` says why. What is
    found within the time does not depend on it. The silent start is not part of the cover. Where a state stands in
    several classes, its counts are put to the first.

    Raises MissingToolError where python-sat is not installed.
    """
    solver = _solver_class()
    folded = replace(fold(machine), method="exact")
    if folded.proven:
        return folded
    reachable, trimmed = trim(machine)
    order = breadth_first(reachable)
    small = renumber(reachable, states=order)
    apart = incompatibility(small)
    if apart is None or small.n_states > max_states:
        return replace(folded, gave_up=f"the machine has {small.n_states} states, more than the limit of {max_states}")
    clique = greedy_clique(apart, among=np.arange(1, len(small.actions), dtype=np.int32))
    deadline = time.monotonic() + timeout_s
    for k in range(max(len(clique), 1), folded.machine.n_states):
        answer = _ask(solver, small, apart, clique=clique, k=k, seconds=deadline - time.monotonic())
        if answer is None:
            reason = f"no answer for {k} states within {timeout_s:g} s"
            return replace(folded, lower_bound=k, proven=False, gave_up=reason)
        if isinstance(answer, _Cover):
            return _result(
                machine,
                small,
                answer,
                k=k,
                new_ids=np.argsort(order).astype(np.int32)[trimmed],
                trimmed=trimmed,
                apart=apart,
            )
    return replace(folded, lower_bound=folded.machine.n_states, proven=True)


def _solver_class() -> Any:
    try:
        from pysat.solvers import Glucose4
    except ImportError:
        raise MissingToolError(
            "Exact minimisation needs a SAT solver, but python-sat is not installed; run "
            "pip install 'moorelens[sat]', or fold instead."
        ) from None
    return Glucose4


def _ask(
    solver_class: Any, machine: MooreMachine, apart: Flags, *, clique: list[int], k: int, seconds: float
) -> _Cover | bool | None:
    """Return a closed cover of k classes, False where there is none, None where the time was not enough."""
    if seconds <= 0:
        return None
    encoding = _Encoding(machine, k)
    with solver_class(bootstrap_with=encoding.clauses(apart, clique)) as solver:
        timer = Timer(seconds, solver.interrupt)
        timer.daemon = True
        timer.start()
        try:
            answer = solver.solve_limited(expect_interrupt=True)
        finally:
            timer.cancel()
        if answer is not True:
            return answer if answer is None else False
        return encoding.decode(set(solver.get_model()))


class _Encoding:
    """Closed covers of k classes as clauses: `x[s, c]`, state s is in class c; `y[c, o, d]`, c goes to d by o."""

    def __init__(self, machine: MooreMachine, k: int) -> None:
        self._rows = deterministic_rows(machine)
        classes = strict_symbol_classes(machine)
        # Symbols with equal columns pose the same conditions; one of each class is enough.
        firsts = {int(c): o for o, c in reversed(list(enumerate(classes.tolist())))}
        self._stands_for = {o: firsts[c] for o, c in enumerate(classes.tolist())}
        symbols = sorted({o for row in self._rows[1:] for o in row if self._stands_for[o] == o})
        self._place = {o: i for i, o in enumerate(symbols)}
        self._n, self._k = len(self._rows), k

    def _x(self, state: int, c: int) -> int:
        return 1 + state * self._k + c

    def _y(self, c: int, symbol: int, d: int) -> int:
        return 1 + self._n * self._k + (c * len(self._place) + self._place[symbol]) * self._k + d

    def clauses(self, apart: Flags, clique: list[int]) -> list[list[int]]:
        k = self._k
        found = [[self._x(state, c)] for c, state in enumerate(clique)]
        found += [[self._x(s, c) for c in range(k)] for s in range(1, self._n)]
        found += [[-self._x(p, c), -self._x(q, c)] for p, q in np.argwhere(np.triu(apart)).tolist() for c in range(k)]
        for c in range(k):
            for symbol in self._place:
                found.append([self._y(c, symbol, d) for d in range(k)])
        for state in range(1, self._n):
            for symbol, target in self._rows[state].items():
                if symbol in self._place:
                    found += [
                        [-self._x(state, c), -self._y(c, symbol, d), self._x(target, d)]
                        for c in range(k)
                        for d in range(k)
                    ]
        return found

    def decode(self, model: set[int]) -> _Cover:
        k = self._k
        members = [[s for s in range(1, self._n) if self._x(s, c) in model] for c in range(k)]
        chosen = {(c, o): next(d for d in range(k) if self._y(c, o, d) in model) for c in range(k) for o in self._place}
        moves = {(c, o): chosen[c, self._stands_for[o]] for c in range(k) for s in members[c] for o in self._rows[s]}
        return _Cover(members=members, moves=moves)


def _result(
    machine: MooreMachine, small: MooreMachine, cover: _Cover, *, k: int, new_ids: Ids, trimmed: Ids, apart: Flags
) -> Minimised:
    """Turn a cover of `small` (start 0) into a machine: state 0 is the silent start, state c + 1 is class c."""
    home = _homes(small, cover)
    result, kept = trim(_machine(small, cover, home))
    require_same_words(machine, result)
    mapping = np.where(trimmed >= 0, kept[home[new_ids]], -1).astype(np.int32)
    summary = summarise(result, mapping, method="exact", reachable=small, apart=apart)
    return replace(summary, lower_bound=k, proven=True)


def _homes(machine: MooreMachine, cover: _Cover) -> Ids:
    """Return (S,) the state of the result in which a breadth-first run first stands for each state."""
    edges, conflicts = _outgoing(machine), conflict_flags(machine)
    holding = {s: c for c, members in reversed(list(enumerate(cover.members))) for s in members}
    home = {0: 0}
    queue = deque([(0, 0)])
    seen = {(0, 0)}
    while queue:
        state, here = queue.popleft()
        for edge in edges[state]:
            symbol, target = int(machine.symbols[edge]), int(machine.targets[edge])
            free = here == 0 or conflicts[edge]
            there = home.get(target, holding[target] + 1) if free else cover.moves[here - 1, symbol] + 1
            home.setdefault(target, there)
            if (target, there) not in seen:
                seen.add((target, there))
                queue.append((target, there))
    return np.array([home[s] for s in range(len(machine.actions))], dtype=np.int32)


def _outgoing(machine: MooreMachine) -> list[list[int]]:
    edges: list[list[int]] = [[] for _ in machine.actions]
    for edge, source in enumerate(machine.sources.tolist()):
        edges[source].append(edge)
    return edges


def _machine(machine: MooreMachine, cover: _Cover, home: Ids) -> MooreMachine:
    k = len(cover.members)
    conflicts, rows = conflict_flags(machine), []
    edges = _outgoing(machine)
    for here, members in enumerate([[0], *cover.members]):
        for edge in (e for s in members for e in edges[s]):
            symbol, target = int(machine.symbols[edge]), int(machine.targets[edge])
            free = here == 0 or conflicts[edge]
            there = int(home[target]) if free else cover.moves[here - 1, symbol] + 1
            count = int(machine.counts[edge]) if home[machine.sources[edge]] == here else 0
            rows.append((here, symbol, there, count, int(machine.origins[edge])))
    sources, symbols, targets, counts, origins = np.array(rows, dtype=np.int64).reshape(-1, 5).T
    leaders = [
        max(m or [0], key=lambda s: (home[s] == c + 1, machine.visits[s], -s)) for c, m in enumerate(cover.members)
    ]
    actions = [max((int(machine.actions[s]) for s in m), default=BOT) for m in cover.members]
    return replace(
        machine,
        state_codes=machine.state_codes[[0, *leaders]],
        actions=np.array([BOT, *actions]),
        visits=_sums(home, machine.visits, k),
        terminals=_sums(home, machine.terminals, k),
        truncations=_sums(home, machine.truncations, k),
        start=0,
        **merge_transitions(
            sources.astype(np.int32),
            symbols.astype(np.int32),
            targets.astype(np.int32),
            counts,
            origins.astype(np.uint8),
        ),
    )


def _sums(home: Ids, values: Counts, k: int) -> Counts:
    result = np.zeros(k + 1, dtype=np.int64)
    np.add.at(result, home, values)
    return result
