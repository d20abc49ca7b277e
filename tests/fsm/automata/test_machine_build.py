"""Machines are validated once, count every observed transition, and never forget a conflict."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from moorelens.errors import InvariantError, RequestError
from moorelens.fsm.automata.build import build_machine, from_edges
from moorelens.fsm.automata.machine import BOT, MooreMachine
from moorelens.fsm.automata.traces import previous_states
from tests.fsm.automata.automata_examples import machines, random_machine, worked_example


def record(episodes, *, width=2, actions=None, terminated=True):
    """Extract a machine from episodes of `(symbol, state)` pairs; the action of a state is its number modulo 3."""
    states = [s for e in episodes for _, s in e]
    symbols = [o for e in episodes for o, _ in e]
    n = len(episodes)
    return build_machine(
        start_codes=np.full((n, width), 7),
        state_codes=np.repeat(np.array(states, dtype=float).reshape(-1, 1), width, axis=1),
        symbol_codes=np.array(symbols).reshape(-1, 1),
        actions=[s % 3 for s in states] if actions is None else actions,
        offsets=np.cumsum([0, *map(len, episodes)]),
        terminated=[terminated] * n,
        truncated=[not terminated] * n,
        action_names=["a", "b", "c"],
    )


def test_every_step_is_counted_once():
    rng = np.random.default_rng(0)
    episodes = [[(int(o), int(s)) for o, s in rng.integers(0, 5, (rng.integers(0, 20), 2))] for _ in range(30)]
    machine, traces = record(episodes)
    expected: Counter = Counter()
    names: dict = {}
    for e in episodes:
        at = "start"
        for o, s in e:
            expected[at, o, s] += 1
            names.setdefault(s, len(names) + 1)
            at = s
    names["start"] = 0
    symbols = list(dict.fromkeys(o for e in episodes for o, _ in e))
    found = {
        (int(s), symbols[o], int(t)): int(c)
        for s, o, t, c in zip(machine.sources, machine.symbols, machine.targets, machine.counts, strict=True)
    }
    assert found == {(names[s], o, names[t]): c for (s, o, t), c in expected.items()}
    assert machine.n_conflicts == sum(n > 1 for n in Counter((s, o) for s, o, _ in expected).values())
    assert machine.visits[0] == len(episodes)
    assert machine.terminals.sum() == len(episodes)
    assert np.array_equal(machine.actions[traces.states], traces.actions)
    outgoing = np.bincount(machine.sources, weights=machine.counts, minlength=len(machine.actions))
    assert np.array_equal(outgoing + machine.terminals + machine.truncations, machine.visits)
    assert previous_states(traces, start=0)[traces.offsets[:-1][np.diff(traces.offsets) > 0]].max(initial=0) == 0


def test_the_start_is_silent_and_fresh_even_when_its_code_comes_back():
    machine, traces = record([[(0, 7), (0, 7)]])
    assert machine.n_states == 1
    assert machine.start == 0
    assert machine.actions.tolist() == [BOT, 1]
    assert machine.state_codes.tolist() == [[7, 7], [7, 7]]
    assert traces.states.tolist() == [1, 1]


def test_minus_zero_is_zero():
    codes = np.array([[0.0, 1.0], [-0.0, 1.0]])
    machine, _ = build_machine(
        start_codes=np.zeros((1, 2)), state_codes=codes, symbol_codes=-np.abs(codes), actions=[0, 0], offsets=[0, 2],
        terminated=[True], truncated=[False], action_names=["x"],
    )  # fmt: skip
    assert machine.n_states == 1
    assert machine.n_symbols == 1


def test_time_limits_are_not_terminals():
    machine, _ = record([[(0, 1)]], terminated=False)
    assert machine.terminals.tolist() == [0, 0]
    assert machine.truncations.tolist() == [0, 1]


def test_empty_and_one_step_episodes():
    machine, traces = record([[], [(0, 1)], []])
    assert machine.n_states == 1
    assert machine.terminals.tolist() == [2, 1]
    assert traces.n_episodes == 3
    nothing, _ = record([])
    assert nothing.n_states == nothing.n_transitions == nothing.n_symbols == 0


def test_two_actions_for_one_code_break_the_moore_property():
    with pytest.raises(InvariantError, match="one action"):
        record([[(0, 1), (0, 1)]], actions=[0, 1])


def test_episodes_that_begin_in_two_codes_are_refused():
    with pytest.raises(RequestError, match="same state code"):
        build_machine(
            start_codes=[[0], [1]], state_codes=[[0], [0]], symbol_codes=[[0], [0]], actions=[0, 0], offsets=[0, 1, 2],
            terminated=[True, True], truncated=[False, False], action_names=["x"],
        )  # fmt: skip


def test_half_a_code_is_refused():
    with pytest.raises(RequestError, match="whole numbers"):
        build_machine(
            start_codes=[[0]], state_codes=[[0.5]], symbol_codes=[[0]], actions=[0], offsets=[0, 1],
            terminated=[True], truncated=[False], action_names=["x"],
        )  # fmt: skip


def test_a_reentered_start_is_copied_with_its_row():
    machine = from_edges([(0, 0, 1), (1, 0, 0)], actions=[1, 0])
    assert machine.start == 2
    assert machine.n_states == 2
    assert [(s, t) for s, t in zip(machine.sources, machine.targets, strict=True)] == [(0, 1), (1, 0), (2, 1)]
    assert machine.counts.tolist() == [1, 1, 0]


def test_a_start_that_is_no_state_is_refused():
    with pytest.raises(RequestError, match="one of the 1 states"):
        from_edges([], actions=[0], start=1)


def test_two_machines_share_nothing():
    one, two = worked_example(), worked_example()
    assert one == two
    for name in ("actions", "targets", "counts", "state_codes"):
        assert not np.shares_memory(getattr(one, name), getattr(two, name))
    assert one.meta is not two.meta


def test_arrays_cannot_be_written():
    machine = worked_example()
    with pytest.raises(ValueError, match="read-only"):
        machine.actions[1] = 1


BROKEN = {
    "start out of range": {"start": 9},
    "start with an action": {"start": 1},
    "action without a name": {"actions": [BOT, 0, 0, 1, 1, 0, 3]},
    "too few actions": {"actions": [BOT, 0]},
    "codes in one dimension": {"state_codes": [0] * 7},
    "too few codes": {"state_codes": [[0]] * 6},
    "equal symbol codes": {"symbol_codes": [[0]] * 9},
    "negative visits": {"visits": [-1] * 7},
    "negative counts": {"counts": [-1] * 10},
    "unknown target": {"targets": [1, 2, 3, 3, 6, 4, 5, 5, 2, 7]},
    "transition into the start": {"targets": [1, 2, 3, 3, 6, 4, 5, 5, 2, 0]},
    "unknown origin": {"origins": [2] * 10},
    "counted network transitions": {"origins": [1] * 10},
    "unsorted": {"sources": [6, 5, 4, 4, 3, 2, 2, 2, 1, 0]},
    "halves": {"counts": [0.5] * 10},
    "text": {"counts": ["1"] * 10},
    "too large": {"visits": [2**70] * 7},
    "names that are not text": {"action_names": (1, 2, 3)},
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN.keys())
def test_a_machine_that_contradicts_itself_is_refused(change):
    with pytest.raises(RequestError) as caught:
        replace(worked_example(), **change)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@given(machines(conflicts=True))
def test_conflicts_are_counted_as_pairs(machine: MooreMachine):
    pairs = Counter(zip(machine.sources.tolist(), machine.symbols.tolist(), strict=True))
    assert machine.n_conflicts == sum(n > 1 for n in pairs.values())


def test_random_machines_are_valid():
    rng = np.random.default_rng(0)
    assert all(random_machine(rng, conflicts=True).n_states == 6 for _ in range(20))
