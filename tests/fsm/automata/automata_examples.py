"""Machines that the tests of the automata core share: the fixtures of the specification, and random machines."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from moorelens.fsm.automata.build import from_edges
from moorelens.fsm.automata.machine import BOT, MooreMachine

WORKED_EDGES = [
    (0, 1, 1), (1, 2, 2), (2, 3, 3), (2, 4, 3), (2, 5, 6), (3, 6, 4), (4, 6, 5), (4, 7, 5), (5, 8, 2), (6, 9, 5),
]  # fmt: skip


def worked_example() -> MooreMachine:
    """Spec-fsm 6.4b: a lasso with one decision at state 2; symbols o1..o9 keep their numbers, o0 does not occur."""
    return from_edges(
        [(s, o - 1, t) for s, o, t in WORKED_EDGES], actions=[BOT, 0, 0, 1, 1, 0, 2], action_names=("a", "b", "c")
    )


def reference_fixture_a() -> MooreMachine:
    """Spec-fsm 4.9 (a): two states are needed, the published minimiser returns one."""
    return from_edges([(0, 0, 0), (0, 1, 2), (2, 0, 0), (2, 1, 1)], actions=[1, 0, 0])


def reference_fixture_b() -> MooreMachine:
    """Spec-fsm 4.9 (b): outputs 1, 1, 0, 1 along a line; three states are enough."""
    return from_edges([(0, 0, 1), (1, 0, 4), (4, 0, 3), (3, 0, 2)], actions=[0, 1, 1, 0, 1])


def chain(n: int) -> MooreMachine:
    """A line of n states behind the start, one symbol, actions 0, ..., 0, 1: nothing can be merged."""
    return from_edges([(i, 0, i + 1) for i in range(n)], actions=[BOT, *[0] * (n - 1), 1])


def random_machine(
    rng: np.random.Generator,
    *,
    states: int = 6,
    symbols: int = 3,
    actions: int = 2,
    density: float = 0.5,
    conflicts: bool = False,
) -> MooreMachine:
    """A random partial machine over `states` states and a silent start, all of it reachable or not."""
    edges = []
    for source in range(states + 1):
        for symbol in range(symbols):
            for _ in range(2 if conflicts and rng.random() < 0.2 else 1):
                if rng.random() < density:
                    edges.append((source, symbol, int(rng.integers(1, states + 1)), int(rng.integers(1, 9))))
    emitted = [BOT, *rng.integers(0, actions, states).tolist()]
    ends = {int(s): 1 for s in np.flatnonzero(rng.random(states + 1) < 0.2)}
    return from_edges(
        edges, actions=emitted, n_symbols=symbols, action_names=[f"a{i}" for i in range(actions)], terminals=ends
    )


def busy_machines(*, states: int = 6, symbols: int = 2, conflicts: bool = False) -> st.SearchStrategy[MooreMachine]:
    """Hypothesis strategy: random machines of `states` states with much to merge; does not shrink."""
    return st.builds(
        lambda seed, density, n, width: random_machine(
            np.random.default_rng(seed), states=n, symbols=width, density=density, conflicts=conflicts
        ),
        st.integers(0, 2**32),
        st.floats(0.15, 0.7),
        st.integers(2, states),
        st.integers(1, symbols),
    )


@st.composite
def machines(
    draw: st.DrawFn, *, states: int = 6, symbols: int = 3, actions: int = 3, conflicts: bool = False
) -> MooreMachine:
    """Hypothesis strategy: partial machines of up to `states` states, shrinking towards few states and edges."""
    n = draw(st.integers(0, states))
    width = draw(st.integers(1, symbols))
    pairs = [(s, o) for s in range(n + 1) for o in range(width)] if n else []
    targets = st.lists(st.integers(1, max(n, 1)), max_size=2 if conflicts else 1, unique=True)
    edges = [(s, o, t, draw(st.integers(0, 4))) for s, o in pairs for t in draw(targets)]
    emitted = [BOT, *draw(st.lists(st.integers(0, actions - 1), min_size=n, max_size=n))]
    ends = dict.fromkeys(draw(st.sets(st.integers(0, n), max_size=2)), 1)
    names = [f"a{i}" for i in range(actions)]
    return from_edges(edges, actions=emitted, n_symbols=width, action_names=names, terminals=ends)


def rows_of(machine: MooreMachine) -> dict[int, dict[int, list[int]]]:
    """The transitions as nested dictionaries: state -> symbol -> successors."""
    rows: dict[int, dict[int, list[int]]] = {s: {} for s in range(len(machine.actions))}
    for s, o, t in zip(machine.sources.tolist(), machine.symbols.tolist(), machine.targets.tolist(), strict=True):
        rows[s].setdefault(o, []).append(t)
    return rows


def words_of(machine: MooreMachine, length: int) -> set[tuple[tuple[int, int], ...]]:
    """All words of (symbol, action) pairs up to `length` that the machine can run through, straight from 4.1."""
    rows, actions = rows_of(machine), machine.actions.tolist()
    runs = {((), machine.start)}
    words = {()}
    for _ in range(length):
        runs = {((*w, (o, actions[t])), t) for w, s in runs for o, ends in rows[s].items() for t in ends}
        words |= {w for w, _ in runs}
    return words


def successors_of(machine: MooreMachine, state: int) -> set[int]:
    """succ(s) of spec-fsm 6.2, symbols with a conflict left out."""
    return {ends[0] for ends in rows_of(machine)[state].values() if len(ends) == 1}


def brute_force_incompatible(machine: MooreMachine) -> set[tuple[int, int]]:
    """The incompatibility relation as the least fixpoint of its definition in spec-fsm 4.6, pair by pair."""
    rows, actions = rows_of(machine), machine.actions.tolist()
    n = len(actions)
    apart = {
        (p, q) for p in range(n) for q in range(n) if BOT not in (actions[p], actions[q]) and actions[p] != actions[q]
    }
    while True:
        more = {
            (p, q)
            for p in range(n)
            for q in range(n)
            for o in rows[p].keys() & rows[q].keys()
            if len(rows[p][o]) == len(rows[q][o]) == 1 and (rows[p][o][0], rows[q][o][0]) in apart
        }
        if more <= apart:
            return apart
        apart |= more


def smallest_machine(machine: MooreMachine) -> int:
    """How many states a machine needs to emit the same actions on all words of `machine`: exhaustive search.

    Tries k = 0, 1, 2, ... and decides one successor at a time, straight from the definition in spec-fsm 4.6; the silent
    start has a row of its own and is not counted. For machines without conflicts and of up to six or seven states.
    """
    rows = {s: {o: ends[0] for o, ends in row.items()} for s, row in rows_of(machine).items()}
    actions = machine.actions.tolist()

    def fits(k: int, moves: dict, spoken: dict, agenda: list, seen: frozenset) -> bool:
        if not agenda:
            return True
        (state, here), rest = agenda[0], agenda[1:]
        before = seen
        for symbol, target in rows[state].items():
            if (here, symbol) not in moves:
                known = max([*moves.values(), -1]) + 1
                return any(
                    fits(k, {**moves, (here, symbol): c}, spoken, agenda, before) for c in range(min(k, known + 1))
                )
            there = moves[here, symbol]
            if actions[target] != BOT:
                if spoken.get(there, actions[target]) != actions[target]:
                    return False
                spoken = {**spoken, there: actions[target]}
            if (target, there) not in seen:
                seen = seen | {(target, there)}
                rest = [*rest, (target, there)]
        return fits(k, moves, spoken, rest, seen)

    root = (machine.start, "start")
    return next(k for k in range(len(actions) + 1) if fits(k, {}, {}, [root], frozenset([root])))
