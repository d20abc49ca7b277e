"""Decision points are where the next observation decides: spec-fsm 6.2."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given

from moorelens.fsm.automata.build import from_edges
from moorelens.fsm.automata.compatibility import PairSearch, greedy_clique, incompatibility
from moorelens.fsm.automata.decisions import decision_bits, decision_counts, decision_points, stochastic_branches
from moorelens.fsm.automata.machine import BOT, MooreMachine
from tests.fsm.automata.automata_examples import (
    brute_force_incompatible,
    busy_machines,
    machines,
    successors_of,
    worked_example,
)


def test_worked_example_has_one_decision_of_every_kind():
    (point,) = decision_points(worked_example())
    assert point.state == 2
    assert point.action
    assert point.semantic
    assert not (point.dwell or point.stochastic or point.silent)
    assert [(b.target, b.symbols, b.count) for b in point.branches] == [(3, (2, 3), 2), (6, (4,), 1)]


def test_weight_is_visits_times_entropy_in_bits():
    machine = from_edges([(0, 0, 1, 4), (1, 0, 2, 3), (1, 1, 3, 1)], actions=[BOT, 0, 0, 1])
    (point,) = decision_points(machine)
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert point.visits == 4
    assert point.bits == pytest.approx(4 * entropy)
    assert decision_bits([point], machine) == pytest.approx(4 * entropy / 8)


def test_a_choice_between_states_that_no_word_tells_apart_is_cosmetic():
    machine = from_edges([(0, 0, 1), (1, 0, 2), (1, 1, 3), (2, 0, 2), (3, 0, 3)], actions=[BOT, 0, 1, 1])
    (point,) = decision_points(machine)
    assert not point.semantic


def test_a_choice_that_shows_later_is_semantic_but_no_action_decision():
    machine = from_edges([(0, 0, 1), (1, 0, 2), (1, 1, 3), (2, 0, 4), (3, 0, 5)], actions=[BOT, 0, 1, 1, 0, 1])
    (point,) = decision_points(machine)
    assert (point.action, point.semantic) == (False, True)


def test_conflicts_are_listed_and_decide_nothing():
    machine = from_edges([(0, 0, 1), (1, 0, 2, 3), (1, 0, 3, 1), (1, 1, 2), (1, 2, 1)], actions=[BOT, 0, 0, 1])
    (point,) = decision_points(machine)
    assert [b.target for b in point.branches] == [1, 2]
    assert point.stochastic
    (branch,) = stochastic_branches(machine)
    assert (branch.state, branch.symbol, branch.targets, branch.counts) == (1, 0, (2, 3), (3, 1))


def test_the_silent_start_decides_but_is_no_state():
    machine = from_edges([(0, 0, 1), (0, 1, 2)], actions=[BOT, 0, 1])
    points = decision_points(machine)
    assert points[0].silent
    assert decision_counts(points)["structural"] == 0
    assert decision_counts(points, start=True) == {"structural": 1, "action": 1, "semantic": 1, "dwell": 0}


@given(machines(conflicts=True) | busy_machines(states=9, conflicts=True))
def test_kinds_follow_their_definitions(machine: MooreMachine):
    apart = brute_force_incompatible(machine)
    points = {p.state: p for p in decision_points(machine)}
    for state in range(len(machine.actions)):
        after = successors_of(machine, state)
        assert (state in points) == (len(after) >= 2)
        if state in points:
            point = points[state]
            assert point.action == (len({int(machine.actions[t]) for t in after}) >= 2)
            assert point.semantic == any((p, q) in apart for p in after for q in after)
            assert point.semantic >= point.action
            assert point.dwell == (state in after and len(after) == 2)
            assert {b.target for b in point.branches} == after


@given(machines(conflicts=True) | busy_machines(states=9, conflicts=True))
def test_incompatibility_is_the_least_fixpoint(machine: MooreMachine):
    apart = brute_force_incompatible(machine)
    matrix = incompatibility(machine)
    assert matrix is not None
    search = PairSearch(machine)
    n = len(machine.actions)
    assert {(p, q) for p in range(n) for q in range(n) if matrix[p, q]} == apart
    assert {(p, q) for p in range(n) for q in range(n) if search.differ(p, q)} == apart


@given(machines())
def test_a_clique_is_pairwise_incompatible(machine: MooreMachine):
    matrix = incompatibility(machine)
    states = [s for s in range(len(machine.actions)) if s != machine.start]
    clique = greedy_clique(matrix, among=np.array(states, dtype=np.int32))
    assert all(matrix[p, q] for p in clique for q in clique if p != q)


def test_cyclic_mutual_dependencies_are_compatible():
    machine = from_edges([(0, 0, 1), (0, 1, 2), (1, 2, 2), (2, 2, 1)], actions=[BOT, 0, 0])
    assert not incompatibility(machine).any()
    assert not PairSearch(machine).differ(1, 2)
