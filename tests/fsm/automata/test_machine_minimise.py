"""Minimised machines keep every word, say how small they could be, and match exhaustive search: spec-fsm 4.4-4.9."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorelens.errors import InvariantError, MissingToolError
from moorelens.fsm.automata.build import build_machine, from_edges
from moorelens.fsm.automata.canonical import canonical_form, renumber
from moorelens.fsm.automata.equivalence import distinguishing_word, equivalent, replay, require_same_words
from moorelens.fsm.automata.exact_cover import minimise_exact
from moorelens.fsm.automata.folding import fold
from moorelens.fsm.automata.machine import BOT, MooreMachine
from moorelens.fsm.automata.partition import refine
from moorelens.fsm.automata.reductions import trim
from moorelens.fsm.automata.strict import is_complete, minimise_strict
from moorelens.fsm.automata.traces import Traces
from tests.fsm.automata.automata_examples import (
    brute_force_incompatible,
    busy_machines,
    chain,
    machines,
    random_machine,
    reference_fixture_a,
    reference_fixture_b,
    rows_of,
    smallest_machine,
    words_of,
    worked_example,
)

SAT = pytest.mark.skipif(importlib.util.find_spec("pysat") is None, reason="python-sat is not installed")
METHODS = [
    pytest.param(minimise_strict, id="strict"),
    pytest.param(fold, id="fold"),
    pytest.param(minimise_exact, id="exact", marks=SAT),
]


def spoken(machine: MooreMachine, *symbols: int) -> list[int]:
    """The actions a machine without conflicts emits along a word."""
    rows, at, actions = rows_of(machine), machine.start, []
    for symbol in symbols:
        (at,) = rows[at][symbol]
        actions.append(int(machine.actions[at]))
    return actions


# --- the numbered fixtures of spec-fsm 4.9 and 6.4b


@pytest.mark.parametrize("n", [40, 50, 60, 80, 500])
@pytest.mark.parametrize("method", METHODS)
def test_fixture_4_9_2_a_chain_keeps_its_states(method, n):
    result = method(chain(n))
    assert result.machine.n_states == n
    assert result.proven


@pytest.mark.parametrize("method", METHODS)
def test_fixture_4_9_4a_needs_two_states(method):
    machine = reference_fixture_a()
    result = method(machine)
    assert result.machine.n_states == (3 if method is minimise_strict else 2)
    assert result.lower_bound == 2
    assert spoken(result.machine, 0, 0, 1, 0, 1) == spoken(machine, 0, 0, 1, 0, 1) == [1, 1, 0, 1, 0]


@pytest.mark.parametrize("method", METHODS)
def test_fixture_4_9_4b_fits_in_three_states_with_its_outputs(method):
    result = method(reference_fixture_b())
    assert result.machine.n_states == (4 if method is minimise_strict else 3)
    assert spoken(result.machine, 0, 0, 0, 0) == [1, 1, 0, 1]


def test_fixture_4_9_6_declared_actions_do_not_matter():
    edges = [(0, 0, 1), (0, 1, 2), (1, 0, 2), (1, 1, 1), (2, 0, 3), (2, 1, 1), (3, 0, 1), (3, 1, 1)]
    few, many = (from_edges(edges, actions=[BOT, 0, 0, 1], action_names=list(map(str, range(n)))) for n in (2, 18))
    assert minimise_strict(few).machine.n_states == minimise_strict(many).machine.n_states == 3


def test_fixture_4_9_1_machines_of_one_process_share_nothing():
    before = fold(worked_example()).sizes
    fold(chain(20))
    assert fold(worked_example()).sizes == before


@pytest.mark.parametrize("method", METHODS[1:])
def test_fixture_6_4b_needs_four_states(method):
    result = method(worked_example())
    assert result.machine.n_states == result.lower_bound == 4
    assert result.proven
    assert len(set(worked_example().actions.tolist()) - {BOT}) == 3


# --- what every method promises


@pytest.mark.parametrize("method", METHODS)
@given(machine=machines(conflicts=True) | busy_machines(states=12, symbols=4, conflicts=True))
@settings(max_examples=150)
def test_no_word_is_contradicted_and_nothing_is_lost(method, machine: MooreMachine):
    result = method(machine)
    assert distinguishing_word(machine, result.machine) is None
    assert words_of(machine, 4) <= words_of(result.machine, 4)
    trimmed, _ = trim(machine)
    for field in ("visits", "terminals", "truncations", "counts"):
        assert getattr(result.machine, field).sum() == getattr(trimmed, field).sum()
    assert result.lower_bound <= result.machine.n_states
    assert result.proven == (result.gap == 0)
    covered = {s for members in result.cover for s in members}
    assert covered == set(np.flatnonzero(result.state_map >= 0).tolist())


@given(machines() | busy_machines(states=12, symbols=4))
@settings(max_examples=200)
def test_strict_also_keeps_what_is_undefined(machine: MooreMachine):
    result = minimise_strict(machine)
    assert equivalent(machine, result.machine)
    assert minimise_strict(result.machine).machine.n_states == result.machine.n_states


@given(machines() | busy_machines(states=12), st.integers(0, 3))
def test_refinement_does_not_depend_on_how_long_it_counts_in_rounds(machine: MooreMachine, rounds):
    trimmed, _ = trim(machine)
    assert (
        refine(trimmed, initial=trimmed.actions, rounds=rounds).tolist()
        == refine(trimmed, initial=trimmed.actions).tolist()
    )


@given(machines(conflicts=True) | busy_machines(states=9, conflicts=True), st.integers(0, 3))
def test_refinement_is_bisimulation(machine: MooreMachine, rounds):
    blocks = refine(machine, initial=machine.actions, rounds=rounds)
    rows, n = rows_of(machine), len(machine.actions)
    same = {(p, q) for p in range(n) for q in range(n) if machine.actions[p] == machine.actions[q]}
    while True:
        keep = {
            (p, q)
            for p, q in same
            if rows[p].keys() == rows[q].keys()
            and all(
                all(any((a, b) in same for b in rows[q][o]) for a in rows[p][o])
                and all(any((a, b) in same for a in rows[p][o]) for b in rows[q][o])
                for o in rows[p]
            )
        }
        if keep == same:
            break
        same = keep
    assert {(p, q) for p in range(n) for q in range(n) if blocks[p] == blocks[q]} == same


@SAT
@given(machines(states=5, symbols=2) | busy_machines())
@settings(max_examples=400)
def test_sizes_agree_with_exhaustive_search(machine: MooreMachine):
    least = smallest_machine(machine)
    exact, folded = minimise_exact(machine), fold(machine)
    assert exact.machine.n_states == least
    assert exact.proven
    assert folded.lower_bound <= least <= folded.machine.n_states <= minimise_strict(machine).machine.n_states
    assert not folded.proven or folded.machine.n_states == least


@SAT
@pytest.mark.nightly
@given(machines(states=6, symbols=3) | busy_machines(symbols=3))
@settings(max_examples=10_000)
def test_sizes_agree_with_exhaustive_search_nightly(machine: MooreMachine):
    assert minimise_exact(machine).machine.n_states == smallest_machine(machine)
    assert distinguishing_word(machine, fold(machine).machine) is None


@pytest.mark.parametrize("method", METHODS)
def test_the_reference_contradicts_44_of_400_traces_and_we_none(method):
    rng = np.random.default_rng(2)
    for _ in range(100 if method is minimise_exact else 400):
        machine, traces = random_traces(rng)
        result = method(machine)
        assert replay(machine, traces).share == 1.0
        assert replay(result.machine, traces).share == 1.0


def random_traces(rng: np.random.Generator) -> tuple[MooreMachine, Traces]:
    """Three traces of twelve steps through a random total machine of 5 to 12 states and 6 symbols (spec-fsm 4.9.4)."""
    n = int(rng.integers(5, 13))
    table, emitted = rng.integers(0, n, (n, 6)), rng.integers(0, 3, n)
    symbols = rng.integers(0, 6, (3, 12))
    states = np.empty((3, 12), dtype=int)
    for row in range(3):
        at = 0
        for t in range(12):
            at = states[row, t] = table[at, symbols[row, t]]
    return build_machine(
        start_codes=np.zeros((3, 1)), state_codes=states.reshape(-1, 1), symbol_codes=symbols.reshape(-1, 1),
        actions=emitted[states.ravel()], offsets=[0, 12, 24, 36], terminated=[True] * 3, truncated=[False] * 3,
        action_names=["a", "b", "c"],
    )  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_results_do_not_depend_on_the_numbering(method):
    rng = np.random.default_rng(5)
    for _ in range(25):
        machine = random_machine(rng, states=7, symbols=3, density=0.4)
        shuffled = renumber(machine, states=rng.permutation(8), symbols=rng.permutation(3))
        assert canonical_form(shuffled) == canonical_form(machine)
        assert canonical_form(method(shuffled).machine) == canonical_form(method(machine).machine)


# --- fold: evidence


def unique_symbols(actions: list[int]) -> MooreMachine:
    """One episode in which no symbol occurs twice."""
    return from_edges([(t, t, t + 1) for t in range(len(actions))], actions=[BOT, *actions])


def test_unique_symbols_fold_to_one_state_per_action_without_any_evidence():
    actions = [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 4, 3]
    result = fold(unique_symbols(actions))
    assert result.machine.n_states == result.lower_bound == 5
    assert result.merges == result.zero_evidence_merges == 7


def test_with_min_evidence_untested_states_are_not_merged():
    result = fold(unique_symbols([0, 1, 0, 1]), min_evidence=1)
    assert result.machine.n_states == 4
    assert result.merges == result.zero_evidence_merges == 0


def test_min_evidence_still_merges_what_was_tested():
    machine = from_edges([(0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 0, 4)], actions=[BOT, 0, 0, 0, 0])
    assert fold(machine, min_evidence=1).machine.n_states == 1


@given(machines(conflicts=True) | busy_machines(states=12, conflicts=True), st.integers(0, 3))
def test_min_evidence_only_makes_machines_larger(machine: MooreMachine, evidence):
    result = fold(machine, min_evidence=evidence)
    assert distinguishing_word(machine, result.machine) is None
    assert evidence == 0 or result.zero_evidence_merges == 0


def test_fold_checks_the_traces_it_is_given():
    machine, traces = random_traces(np.random.default_rng(0))
    fold(machine, traces=traces)
    wrong = Traces(
        symbols=traces.symbols, states=traces.states, actions=(traces.actions + 1) % 3, offsets=traces.offsets,
        terminated=traces.terminated, truncated=traces.truncated,
    )  # fmt: skip
    with pytest.raises(InvariantError, match="own traces"):
        fold(machine, traces=wrong)


def test_start_reentered_with_another_action_than_its_partner_keeps_behaviour():
    machine = from_edges([(0, 0, 1), (1, 0, 2), (2, 0, 0), (2, 1, 1)], actions=[2, 0, 1])
    for method in (minimise_strict, fold):
        assert spoken(method(machine).machine, 0, 0, 0, 0, 0, 1) == [0, 1, 2, 0, 1, 0]


def test_conflicts_survive_folding_as_sets():
    machine = from_edges([(0, 0, 1), (1, 0, 2), (1, 0, 3), (2, 1, 1), (3, 1, 1)], actions=[BOT, 0, 1, 2])
    assert fold(machine).machine.n_conflicts == 1


# --- strict on complete machines


def test_complete_machines_are_minimal_and_say_so():
    rng = np.random.default_rng(0)
    for _ in range(30):
        machine = random_machine(rng, states=6, symbols=2, density=1.0)
        result = minimise_strict(machine)
        trimmed, _ = trim(machine)
        assert is_complete(trimmed)
        apart = brute_force_incompatible(trimmed)
        inner = [s for s in range(len(trimmed.actions)) if s != trimmed.start]
        classes = {frozenset(q for q in inner if (p, q) not in apart) for p in inner}
        assert result.machine.n_states == len(classes) == result.lower_bound
        assert result.proven


def test_strict_numbering_is_breadth_first():
    machine = from_edges([(0, 1, 1), (0, 0, 2), (2, 0, 3), (1, 0, 3), (3, 0, 3)], actions=[BOT, 0, 1, 2])
    result = minimise_strict(machine).machine
    assert result.start == 0
    assert result.actions.tolist() == [BOT, 1, 0, 2]


# --- exact: guards


@SAT
def test_exact_says_when_it_gave_up():
    rng = np.random.default_rng(3)
    hard = next(m for m in (random_machine(rng, states=12, density=0.3) for _ in range(500)) if fold(m).gap)
    for options, word in (({"max_states": 3}, "more than the limit of 3"), ({"timeout_s": 0.0}, "within 0 s")):
        result = minimise_exact(hard, **options)
        assert word in result.gave_up
        assert not result.proven
        assert result.machine.n_states == fold(hard).machine.n_states
    assert minimise_exact(hard).gave_up is None


def test_without_the_solver_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pysat.solvers", None)
    with pytest.raises(MissingToolError, match=r"pip install 'moorelens\[sat\]'"):
        minimise_exact(worked_example())


# --- words and replays


def test_shortest_distinguishing_word():
    one = from_edges([(0, 0, 1), (1, 0, 1), (1, 1, 2)], actions=[BOT, 0, 1])
    two = from_edges([(0, 0, 1), (1, 0, 1), (1, 1, 2)], actions=[BOT, 0, 0], action_names=["a0", "a1"])
    difference = distinguishing_word(one, two)
    assert (difference.symbols, difference.expected, difference.found) == ((0, 1), 1, 0)
    partial = from_edges([(0, 0, 1)], actions=[BOT, 0], n_symbols=2, action_names=["a0", "a1"])
    assert distinguishing_word(one, partial).found is None
    assert distinguishing_word(partial, one) is None
    assert equivalent(one, one)
    assert not equivalent(one, partial)
    with pytest.raises(InvariantError, match=r"on \[0, 1\]"):
        require_same_words(one, two)


@given(machines(conflicts=True), machines(conflicts=True))
def test_distinguishing_word_is_the_shortest(one: MooreMachine, two: MooreMachine):
    difference = distinguishing_word(one, two)
    depth = 4
    first, second = words_of(one, depth), words_of(two, depth)
    missing = [w for w in first if w not in second]
    if difference is None or len(difference.symbols) > depth:
        assert not missing
    else:
        assert min(map(len, missing)) == len(difference.symbols)
        assert difference.symbols in {tuple(o for o, _ in w) for w in missing}


def test_replay_says_where_it_fails_first():
    machine = from_edges([(0, 0, 1), (1, 0, 2)], actions=[BOT, 0, 1])
    traces = Traces(
        symbols=[0, 0, 0, 0, 0], states=[1, 2, 1, 2, 1], actions=[0, 1, 0, 0, 0], offsets=[0, 2, 5],
        terminated=[True, True], truncated=[False, False],
    )  # fmt: skip
    result = replay(machine, traces)
    assert (result.agreed, result.steps, result.first) == (3, 5, (1, 1))
    assert result.share == 0.6


def test_replay_of_nothing_is_perfect():
    nothing = Traces(symbols=[], states=[], actions=[], offsets=[0, 0], terminated=[False], truncated=[True])
    assert replay(worked_example(), nothing).share == 1.0


def test_sizes_block_has_the_names_of_the_summary():
    assert Counter(fold(worked_example()).sizes.keys()) == Counter(
        ["states", "symbols", "method", "lower_bound", "proven", "zero_evidence_merges"]
    )
