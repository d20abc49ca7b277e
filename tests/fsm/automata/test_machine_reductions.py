"""Reductions make a machine smaller to read and forget nothing: spec-fsm 6.3, 6.4 and 6.4b."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorelens.errors import OptionError
from moorelens.fsm.automata.build import from_edges
from moorelens.fsm.automata.chains import find_chains
from moorelens.fsm.automata.decisions import decision_points, structural_macros
from moorelens.fsm.automata.machine import BOT, MooreMachine
from moorelens.fsm.automata.reduced import ENDING, RECURRENT, TRANSIENT, macro_of, members_of, word_of
from moorelens.fsm.automata.reductions import (
    ALL_STEPS,
    DEFAULT_STEPS,
    expand,
    merge_bisimilar,
    reduce,
    tag_states,
    trim,
)
from moorelens.fsm.automata.structure import conflict_flags
from moorelens.fsm.automata.symbol_classes import strict_symbol_classes
from moorelens.fsm.automata.traces import Traces
from tests.fsm.automata.automata_examples import (
    busy_machines,
    machines,
    random_machine,
    successors_of,
    words_of,
    worked_example,
)

MODES = ("same_action", "sequence")
EITHER = machines(conflicts=True) | busy_machines(states=12, conflicts=True)


def macros(machine, **options):
    """Members and word of each macro-state."""
    reduced = reduce(machine, **options).reduced
    return [(members_of(reduced, m), word_of(reduced, m)) for m in range(reduced.n_macros)]


# --- the worked example, spec-fsm 6.4b


def test_worked_example_has_five_macro_states_and_six_edges():
    reduced = reduce(worked_example()).reduced
    a, b, c = range(3)
    assert macros(worked_example()) == [
        ([0, 1], [(a, 1)]), ([2], [(a, 1)]), ([3, 4], [(b, 2)]), ([5], [(a, 1)]), ([6], [(c, 1)]),
    ]  # fmt: skip
    assert (reduced.n_states, reduced.n_edges, reduced.n_symbols) == (5, 6, 8)
    assert macro_of(reduced)[reduced.step_places].tolist() == [0, 2]
    assert reduced.step_symbols.tolist() == [0, 5]


def test_worked_example_keeps_its_history():
    history = reduce(worked_example()).history
    assert [h.step for h in history] == ["machine", *DEFAULT_STEPS]
    assert [(h.states, h.symbols, h.edges) for h in history] == [
        (6, 9, 10), (6, 9, 10), (6, 9, 8), (6, 8, 8), (5, 8, 6), (5, 8, 6), (5, 8, 6),
    ]  # fmt: skip


def test_worked_example_in_sequence_mode_has_the_same_partition():
    assert macros(worked_example(), mode="sequence") == macros(worked_example())


def test_an_action_change_splits_a_chain_only_in_same_action_mode():
    edges = [
        (0, 0, 1),
        (1, 1, 2),
        (2, 2, 3),
        (2, 3, 3),
        (2, 4, 6),
        (3, 5, 4),
        (4, 5, 5),
        (4, 6, 5),
        (5, 7, 2),
        (6, 8, 5),
    ]
    machine = from_edges(edges, actions=[BOT, 0, 0, 1, 2, 0, 2])
    assert [m for m, _ in macros(machine)] == [[0, 1], [2], [3], [4], [5], [6]]
    assert macros(machine, mode="sequence")[2] == ([3, 4], [(1, 1), (2, 1)])


# --- the edge cases of spec-fsm 6.4, in its order


def test_edge_case_self_loop_only_is_a_loop_of_period_one():
    machine = from_edges([(0, 0, 1), (1, 0, 1)], actions=[BOT, 0])
    reduced = reduce(machine).reduced
    assert not decision_points(machine)
    assert [members_of(reduced, m) for m in range(2)] == [[0], [1]]
    assert reduced.loops.tolist() == [False, True]


def test_edge_case_self_loop_with_one_exit_is_a_dwell_decision_with_its_lengths():
    machine = from_edges([(0, 0, 1), (1, 0, 1), (1, 1, 2)], actions=[BOT, 0, 1])
    traces = Traces(
        symbols=[0, 0, 1, 0, 0, 0, 1], states=[1, 1, 2, 1, 1, 1, 2], actions=[0, 0, 1, 0, 0, 0, 1], offsets=[0, 3, 7],
        terminated=[True, True], truncated=[False, False],
    )  # fmt: skip
    reduced = reduce(machine, traces=traces).reduced
    (point,) = decision_points(machine)
    assert (point.state, point.dwell, point.action) == (1, True, True)
    assert reduced.dwells == {1: {2: 1, 3: 1}}


def test_edge_case_chain_with_different_actions():
    machine = from_edges([(0, 0, 1), (1, 0, 2), (2, 0, 3)], actions=[BOT, 0, 0, 1])
    assert macros(machine) == [([0, 1, 2], [(0, 2)]), ([3], [(1, 1)])]
    assert macros(machine, mode="sequence") == [([0, 1, 2, 3], [(0, 2), (1, 1)])]


def test_edge_case_initial_state_heads_a_chain_but_adds_no_letter():
    assert macros(worked_example())[0] == ([0, 1], [(0, 1)])
    alone = reduce(from_edges([(0, 0, 1), (0, 1, 2)], actions=[BOT, 0, 0])).reduced
    assert word_of(alone, alone.start) == []
    assert alone.n_states == 2


def test_edge_case_reentered_start_is_copied():
    machine = from_edges([(0, 0, 1), (1, 0, 0)], actions=[1, 0])
    reduced = reduce(machine).reduced
    assert machine.start not in machine.targets
    assert [members_of(reduced, m) for m in range(reduced.n_macros)] == [[1, 0], [2]]
    assert reduced.loops.tolist() == [True, False]


def test_edge_case_terminal_states_end_a_chain():
    machine = from_edges([(0, 0, 1), (1, 0, 2), (2, 0, 3)], actions=[BOT, 0, 0, 0], terminals={1: 2, 3: 1})
    assert [m for m, _ in macros(machine)] == [[0, 1], [2, 3]]
    assert [m for m, _ in macros(machine, allow_exit=True)] == [[0, 1, 2, 3]]
    assert reduce(machine, allow_exit=True).reduced.terminals.tolist() == [0, 2, 0, 1]


def test_edge_case_a_time_limit_inside_a_chain_does_not_end_it():
    machine = from_edges([(0, 0, 1), (1, 0, 2)], actions=[BOT, 0, 0], truncations={1: 2}, terminals={2: 1})
    assert [m for m, _ in macros(machine)] == [[0, 1, 2]]
    assert reduce(machine).reduced.truncations.tolist() == [0, 2, 0]


def test_edge_case_several_symbols_on_one_edge():
    machine = from_edges([(0, 0, 1), (0, 1, 1), (0, 2, 1)], actions=[BOT, 0])
    reduced = reduce(machine, steps=("edges",)).reduced
    assert not decision_points(machine)
    assert (reduced.n_edges, len(reduced.sources)) == (1, 3)
    assert reduce(machine, steps=()).reduced.n_edges == 3


def test_edge_case_same_symbol_to_two_successors_is_stochastic():
    machine = from_edges([(0, 0, 1), (1, 0, 2), (1, 0, 3), (2, 1, 1), (3, 1, 1)], actions=[BOT, 0, 0, 1])
    assert not decision_points(machine)
    assert conflict_flags(machine).sum() == 2
    assert [m for m, _ in macros(machine)] == [[0], [1], [2], [3]]


def test_edge_case_undefined_symbols_are_a_share_and_never_a_branch():
    (point,) = decision_points(worked_example())
    assert point.unobserved == pytest.approx(6 / 9)
    assert sorted(o for b in point.branches for o in b.symbols) == [2, 3, 4]


def test_edge_case_two_decisions_with_the_same_successors_stay_two():
    edges = [(0, 0, 1), (0, 1, 2), (1, 2, 3), (1, 3, 4), (2, 2, 3), (2, 3, 4)]
    machine = from_edges(edges, actions=[BOT, 0, 0, 1, 2])
    for steps in (DEFAULT_STEPS, ALL_STEPS):
        assert structural_macros(reduce(machine, steps=steps).reduced).sum() == 3


def test_edge_case_whole_machine_one_cycle():
    machine = from_edges([(0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 0, 1)], actions=[BOT, 0, 0, 1])
    reduced = reduce(machine).reduced
    assert [(members_of(reduced, m), word_of(reduced, m)) for m in range(2)] == [
        ([0], []),
        ([1, 2, 3], [(0, 2), (1, 1)]),
    ]
    assert reduced.loops.tolist() == [False, True]
    assert reduced.n_edges == 2


def test_edge_case_all_actions_equal():
    line = from_edges([(i, 0, i + 1) for i in range(4)], actions=[BOT, 0, 0, 0, 0])
    assert macros(line) == [([0, 1, 2, 3, 4], [(0, 4)])]
    fork = from_edges([(0, 0, 1), (1, 0, 2), (1, 1, 3)], actions=[BOT, 0, 0, 0])
    (point,) = decision_points(fork)
    assert (point.action, point.semantic) == (False, False)


def test_edge_case_machine_with_a_start_only():
    machine = from_edges([], actions=[BOT], action_names=["x"])
    result = reduce(machine, steps=ALL_STEPS)
    assert expand(result.reduced) == machine
    assert (result.reduced.n_states, result.reduced.n_edges, result.reduced.n_symbols) == (0, 0, 0)
    assert decision_points(machine) == ()


# --- what is preserved, spec-fsm 6.3


@given(EITHER, st.sampled_from(MODES), st.booleans())
def test_expand_is_the_inverse(machine: MooreMachine, mode, allow_exit):
    trimmed, _ = trim(machine)
    assert expand(reduce(machine, mode=mode, allow_exit=allow_exit).reduced) == trimmed
    assert expand(reduce(machine, steps=[s for s in DEFAULT_STEPS if s != "trim"], mode=mode).reduced) == machine


def reduced_words(reduced, length):
    """Words of (symbol, action) that the reduced machine runs through, read from its macro-states as 6.3 says."""
    ends = set((reduced.offsets[1:] - 1).tolist())
    inside = {(p, o) for p, o in zip(reduced.step_places.tolist(), reduced.step_symbols.tolist(), strict=True)}
    edges = list(zip(reduced.sources.tolist(), reduced.symbols.tolist(), reduced.targets.tolist(), strict=True))
    macro = macro_of(reduced).tolist()
    runs = {((), int(reduced.offsets[reduced.start]))}
    words = {()}
    for _ in range(length):
        after = {(w, p + 1, o) for w, p in runs for q, o in inside if q == p}
        after |= {(w, int(reduced.offsets[t]), o) for w, p in runs if p in ends for s, o, t in edges if s == macro[p]}
        runs = {((*w, (o, int(reduced.actions[p]))), p) for w, p, o in after}
        words |= {w for w, _ in runs}
    return words


@given(EITHER, st.sampled_from(MODES), st.booleans())
def test_words_are_equal(machine: MooreMachine, mode, allow_exit):
    reduced = reduce(machine, mode=mode, allow_exit=allow_exit).reduced
    assert reduced_words(reduced, 4) == words_of(machine, 4)


@given(EITHER, st.sampled_from(MODES), st.booleans())
def test_decision_points_are_a_bijection(machine: MooreMachine, mode, allow_exit):
    trimmed, _ = trim(machine)
    reduced = reduce(trimmed, mode=mode, allow_exit=allow_exit).reduced
    points = [p.state for p in decision_points(trimmed)]
    places = reduced.state_map[points]
    assert np.array_equal(np.sort(macro_of(reduced)[places]), np.flatnonzero(structural_macros(reduced)))
    assert np.all(np.isin(places, reduced.offsets[1:] - 1))
    for point in points:
        macro = macro_of(reduced)[reduced.state_map[point]]
        heads = reduced.state_map[sorted(successors_of(trimmed, point))]
        assert np.all(np.isin(heads, reduced.offsets[:-1]))
        assert set(macro_of(reduced)[heads].tolist()) <= set(reduced.targets[reduced.sources == macro].tolist())


@given(EITHER)
def test_chains_are_those_of_the_definition(machine: MooreMachine):
    predecessors = {t: set() for t in range(len(machine.actions))}
    everyone = {s: set() for s in range(len(machine.actions))}
    for s, t in zip(machine.sources.tolist(), machine.targets.tolist(), strict=True):
        predecessors[t].add(s)
        everyone[s].add(t)
    chains = find_chains(machine)
    assert sorted(s for c in chains for s in c) == list(range(len(machine.actions)))
    linked = {(a, b) for c in chains for a, b in itertools.pairwise(c)}
    for s in range(len(machine.actions)):
        for t in range(len(machine.actions)):
            may_follow = (
                everyone[s] == {t}
                and predecessors[t] == {s}
                and s != t
                and machine.terminals[s] == 0
                and (machine.actions[s] == machine.actions[t] or s == machine.start)
            )
            closes_a_cycle = any(c[-1] == s and c[0] == t for c in chains)
            assert ((s, t) in linked) == (may_follow and not closes_a_cycle)


@given(EITHER)
def test_symbol_classes_are_equal_columns(machine: MooreMachine):
    columns = [
        frozenset(
            zip(
                machine.sources[machine.symbols == o].tolist(),
                machine.targets[machine.symbols == o].tolist(),
                strict=True,
            )
        )
        for o in range(machine.n_symbols)
    ]
    classes = strict_symbol_classes(machine)
    assert all(
        (classes[a] == classes[b]) == (columns[a] == columns[b])
        for a in range(len(columns))
        for b in range(len(columns))
    )
    assert sorted(set(classes.tolist())) == list(range(len(set(columns))))


@given(EITHER)
def test_bisimulation_keeps_words_and_decision_points_apart(machine: MooreMachine):
    merged, mapping = merge_bisimilar(machine)
    assert words_of(merged, 4) == words_of(machine, 4)
    points = [p.state for p in decision_points(machine)]
    assert len(set(mapping[points].tolist())) == len(points)
    for field in ("visits", "terminals", "truncations", "counts"):
        assert getattr(merged, field).sum() == getattr(machine, field).sum()


@given(EITHER)
def test_tags_say_where_the_cycles_are(machine: MooreMachine):
    n = len(machine.actions)
    reach = np.zeros((n, n), dtype=bool)
    reach[machine.sources, machine.targets] = True
    for k in range(n):
        reach |= np.outer(reach[:, k], reach[k])
    cycle = np.diag(reach)
    for state, tag in enumerate(tag_states(machine)):
        ahead = cycle[state] or np.any(reach[state] & cycle)
        behind = cycle[state] or np.any(reach[:, state] & cycle)
        assert tag == (ENDING if not ahead else RECURRENT if behind else TRANSIENT)


def test_reducing_twice_changes_nothing():
    rng = np.random.default_rng(1)
    for _ in range(50):
        once = reduce(random_machine(rng, states=12, density=0.2)).reduced
        assert reduce(expand(once)).reduced.offsets.tolist() == once.offsets.tolist()


def test_classical_minimisation_can_create_a_decision_that_reductions_do_not():
    edges = [(0, 0, 1), (1, 0, 2), (1, 1, 2), (2, 2, 3), (3, 3, 4), (4, 4, 1)]
    machine = from_edges(edges, actions=[BOT, 0, 1, 0, 2])
    merged = from_edges([(0, 0, 1), (1, 0, 2), (1, 1, 2), (2, 2, 1), (1, 3, 4), (4, 4, 1)], actions=[BOT, 0, 1, 0, 2])
    assert decision_points(machine) == ()
    assert len(decision_points(merged)) == 1
    assert not structural_macros(reduce(machine).reduced).any()


@given(EITHER, st.sampled_from([(), ("edges", "chains"), DEFAULT_STEPS, ALL_STEPS]))
def test_the_last_size_is_that_of_the_result(machine: MooreMachine, steps):
    result = reduce(machine, steps=steps)
    last, reduced = result.history[-1], result.reduced
    assert (last.states, last.symbols, last.edges) == (reduced.n_states, reduced.n_symbols, reduced.n_edges)


def test_an_unknown_step_is_refused():
    with pytest.raises(OptionError, match="'minimise'"):
        reduce(worked_example(), steps=("minimise",))
