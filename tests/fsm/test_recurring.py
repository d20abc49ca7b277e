"""Which decision points are found again: the definition, written out slowly, and machines whose answer is plain."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorelens.fsm.automata.build import from_edges
from moorelens.fsm.automata.run import compile_machine
from moorelens.fsm.fidelity import drive
from moorelens.fsm.recurring import NOWHERE, deciding, decision_places, recurring

Places = list[int]


def slow_share(own: Places, machines: list[Places]) -> float | None:
    """A point is found by a machine that decides in half of its steps; it recurs where 80 % of the machines find it."""
    steps = defaultdict(list)
    for step, point in enumerate(own):
        if point != NOWHERE:
            steps[point].append(step)
    if not steps:
        return None
    found = []
    for visited in steps.values():
        finders = [
            machine
            for machine in machines
            if 2 * len([step for step in visited if machine[step] != NOWHERE]) >= len(visited)
        ]
        found.append(Fraction(len(finders), len(machines)) >= Fraction(4, 5))
    return sum(found) / len(found)


machines_of_one_trace = st.integers(1, 12).flatmap(
    lambda steps: st.lists(st.lists(st.integers(-1, 3), min_size=steps, max_size=steps), min_size=1, max_size=7)
)


@given(machines_of_one_trace)
def test_it_is_the_definition(machines: list[Places]) -> None:
    found = recurring([np.array(machine) for machine in machines])
    assert found == pytest.approx(tuple(slow_share(machine, machines) for machine in machines))


def test_one_machine_finds_its_own_decision_points() -> None:
    assert recurring([np.array([4, -1, 4, 7])]) == (1.0,)


def test_the_names_of_the_states_do_not_matter_but_the_steps_do() -> None:
    first, renamed, elsewhere = np.array([4, -1, 4, -1]), np.array([9, -1, 2, -1]), np.array([-1, 5, -1, 5])
    assert recurring([first, renamed]) == (1.0, 1.0)
    assert recurring([first, elsewhere]) == (0.0, 0.0)


def test_four_of_five_are_enough_and_three_are_not() -> None:
    here, there = np.array([1, -1]), np.array([-1, 1])
    assert recurring([here] * 4 + [there])[0] == 1.0
    assert recurring([here] * 3 + [there] * 2)[0] == 0.0


def test_a_machine_without_decisions_has_no_share() -> None:
    assert recurring([np.array([-1, -1]), np.array([3, -1])]) == (None, 0.0)


def test_places_are_the_decision_points_in_which_the_shared_steps_began() -> None:
    """State 1 decides (symbols 0 and 1 part), 2 and 3 lead back; the start is silent and counts nowhere."""
    edges = [(0, 0, 1), (0, 1, 2), (1, 0, 2), (1, 1, 3), (2, 0, 1), (3, 0, 1)]
    machine = from_edges(edges, actions=[0, 0, 1, 0])
    codes = machine.symbol_codes[np.array([0, 1, 0, 0, 0])]
    driven = drive(compile_machine(machine), codes, np.array([0, 5]))
    assert driven.sources.tolist() == [0, 1, 3, 1, 2]
    places = decision_places(machine, driven.sources)
    assert places.tolist() == [-1, 1, -1, 1, -1]
    assert deciding(places) == 0.4


def test_no_step_is_no_step_at_a_decision_point() -> None:
    assert deciding(np.zeros(0, dtype=np.int64)) == 0.0
