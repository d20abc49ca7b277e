"""Machines run step by step: recorded transitions decide, and where there is none the documented fallback does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from moorelens.errors import OptionError
from moorelens.fsm.automata.build import build_machine, from_edges
from moorelens.fsm.automata.machine import BOT, MooreMachine
from moorelens.fsm.automata.reductions import ALL_STEPS, DEFAULT_STEPS, reduce
from moorelens.fsm.automata.run import compile_machine, compile_reduced
from tests.fsm.automata.automata_examples import machines, worked_example


def coded_machine() -> MooreMachine:
    """Symbols 00, 01, 11 (ids 0, 1, 2); state 1 loops on 00 and goes to 2 on 11, which it does more often."""
    machine, _ = build_machine(
        start_codes=[[0]], state_codes=[[1], [1], [2], [1], [2]], symbol_codes=[[0, 0], [0, 1], [1, 1], [0, 0], [1, 1]],
        actions=[0, 0, 1, 0, 1], offsets=[0, 5], terminated=[True], truncated=[False], action_names=["stay", "go"],
    )  # fmt: skip
    return machine


def test_the_action_is_that_of_the_state_after_the_symbol():
    stepper = compile_machine(worked_example())
    positions = stepper.start(2)
    spoken = []
    for symbol in (0, 1, 4, 8):
        positions, actions, decided = stepper.step(positions, np.array([symbol, symbol]))
        spoken.append(actions.tolist())
        assert decided.all()
    assert spoken == [[0, 0], [0, 0], [2, 2], [0, 0]]


def test_an_unknown_symbol_is_read_as_the_nearest_and_ties_as_the_more_frequent():
    stepper = compile_machine(coded_machine())
    symbols, known = stepper.recognise([[0, 0], [0, 1], [1, 1], [1, 0], [2, 2]])
    assert known.tolist() == [True, True, True, False, False]
    # 10 is one digit from 00 and from 11, both read twice: the smaller id. 22 is two digits from all: 00 again.
    assert symbols.tolist() == [0, 1, 2, 0, 0]


def test_an_undefined_transition_is_read_as_the_nearest_defined_one():
    machine = coded_machine()
    stepper = compile_machine(machine)
    at = int(np.flatnonzero(machine.actions == 1)[0])
    # At "go" only 00 is defined: whatever is read leads where 00 leads, and nothing recorded decided it.
    reached, actions, decided = stepper.step(np.array([at, at]), np.array([1, 0]))
    assert reached.tolist() == [1, 1]
    assert actions.tolist() == [0, 0]
    assert decided.tolist() == [False, True]


def test_a_run_stays_where_nothing_is_defined():
    stepper = compile_machine(from_edges([(0, 0, 1)], actions=[BOT, 0]))
    reached, _, decided = stepper.step(np.array([1]), np.array([0]))
    assert (reached.tolist(), decided.tolist()) == ([1], [False])


def test_a_conflict_is_run_by_its_most_frequent_successor():
    stepper = compile_machine(from_edges([(0, 0, 1, 1), (0, 0, 2, 5), (0, 0, 3, 5)], actions=[BOT, 0, 1, 2]))
    assert stepper.step(stepper.start(1), np.array([0]))[0].tolist() == [2]


def test_what_was_never_recorded_cannot_be_run():
    with pytest.raises(OptionError, match="no steps"):
        compile_machine(from_edges([], actions=[BOT], n_symbols=1))


def test_codes_of_another_quantiser_are_refused():
    with pytest.raises(OptionError, match="another observation quantiser"):
        compile_machine(coded_machine()).recognise([[0, 0, 0]])


@given(machines(), st.sampled_from([DEFAULT_STEPS, ALL_STEPS]), st.integers(0, 2**32))
def test_a_reduced_machine_runs_as_its_machine_does(machine: MooreMachine, steps, seed):
    assume(np.any(machine.sources == machine.start))
    micro, macro = compile_machine(machine), compile_reduced(reduce(machine, steps=steps).reduced)
    rng = np.random.default_rng(seed)
    p, q = micro.start(8), macro.start(8)
    for _ in range(6):
        symbols = rng.integers(0, machine.n_symbols, 8)
        p, spoken, decided = micro.step(p, symbols)
        q, spoken_too, decided_too = macro.step(q, symbols)
        assert np.array_equal(spoken, spoken_too)
        assert np.array_equal(decided, decided_too)
