"""Traces are checked once, and what is read off them is what stands in them; refusals elsewhere say what is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from moorelens.errors import InvariantError, OptionError, RequestError
from moorelens.fsm.automata.build import from_edges
from moorelens.fsm.automata.codes import as_codes, nearest
from moorelens.fsm.automata.decisions import decision_points, dwell_lengths
from moorelens.fsm.automata.equivalence import distinguishing_word, equivalent, replay
from moorelens.fsm.automata.machine import BOT
from moorelens.fsm.automata.partition import quotient
from moorelens.fsm.automata.run import compile_machine
from moorelens.fsm.automata.symbol_classes import compatible_symbol_classes
from moorelens.fsm.automata.traces import Traces, last_states, previous_states, stays
from tests.fsm.automata.automata_examples import worked_example

THREE = Traces(
    symbols=[0, 0, 1, 0], states=[1, 1, 2, 1], actions=[0, 0, 1, 0], offsets=[0, 3, 3, 4],
    terminated=[True, False, False], truncated=[False, True, True],
)  # fmt: skip


def test_steps_begin_where_the_last_one_ended_or_at_the_start():
    assert previous_states(THREE, start=0).tolist() == [0, 1, 1, 0]
    assert last_states(THREE, start=0).tolist() == [2, 0, 1]


def test_stays_do_not_cross_episodes():
    assert stays(THREE, THREE.states) == {1: {1: 1, 2: 1}, 2: {1: 1}}
    assert stays(replace(THREE, symbols=[], states=[], actions=[], offsets=[0, 0, 0, 0]), np.zeros(0, dtype=int)) == {}


def test_dwell_decisions_have_their_lengths():
    machine = from_edges([(0, 0, 1), (1, 0, 1), (1, 1, 2)], actions=[BOT, 0, 1])
    assert dwell_lengths(decision_points(machine), THREE) == {1: {1: 1, 2: 1}}


def test_traces_are_equal_by_content():
    assert replace(THREE) == THREE
    assert replace(THREE, actions=[0, 0, 1, 1]) != THREE
    assert THREE != "traces"


@pytest.mark.parametrize(
    "change",
    [
        {"offsets": [0, 3, 3, 5]}, {"offsets": [1, 3, 3, 4]}, {"offsets": [0, 3, 2, 4]}, {"offsets": []},
        {"states": [1, 1, 2]}, {"terminated": [True]}, {"symbols": [0.5, 0, 1, 0]},
    ],
)  # fmt: skip
def test_traces_that_contradict_themselves_are_refused(change):
    with pytest.raises(RequestError):
        replace(THREE, **change)


def test_traces_of_another_machine_cannot_be_replayed():
    with pytest.raises(RequestError, match="another one"):
        replay(from_edges([(0, 0, 1)], actions=[BOT, 0]), THREE)


def test_machines_with_codes_of_another_width_share_no_word():
    machine = worked_example()
    wide = replace(machine, symbol_codes=np.repeat(machine.symbol_codes, 2, axis=1))
    assert distinguishing_word(machine, wide).symbols == (0,)
    assert not equivalent(wide, machine)


def test_a_state_without_an_action_cannot_be_run():
    with pytest.raises(OptionError, match="position 1 has none"):
        compile_machine(from_edges([(0, 0, 1)], actions=[BOT, BOT], action_names=["x"]))


def test_a_quotient_that_is_none_is_a_bug():
    machine = worked_example()
    with pytest.raises(InvariantError, match="silent start"):
        quotient(machine, blocks=np.zeros(7, dtype=np.int32))
    with pytest.raises(InvariantError, match="two actions"):
        quotient(machine, blocks=np.array([0, 1, 1, 1, 1, 1, 1], dtype=np.int32))


def test_codes_that_are_no_table_and_a_search_among_nothing_are_refused():
    with pytest.raises(RequestError, match="shape"):
        as_codes([1, 2, 3])
    with pytest.raises(RequestError, match="no known code"):
        nearest(np.zeros((1, 2), dtype=np.int8), among=np.zeros((0, 2), dtype=np.int8), weights=np.zeros(0, dtype=int))


def test_too_many_symbol_classes_are_refused(monkeypatch):
    monkeypatch.setattr("moorelens.fsm.automata.symbol_classes.MAX_CLASSES", 3)
    with pytest.raises(OptionError, match="there are 8"):
        compatible_symbol_classes(worked_example())
