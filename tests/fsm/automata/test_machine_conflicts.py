"""Conflicts are counted and resolved by a named policy, completion is marked and bounded: spec-fsm 4.2, 4.3."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from moorelens.errors import InvariantError, OptionError, RequestError
from moorelens.fsm.automata.build import build_machine, from_edges
from moorelens.fsm.automata.completion import complete
from moorelens.fsm.automata.conflicts import conflict_report, resolve_conflicts
from moorelens.fsm.automata.equivalence import distinguishing_word, replay
from moorelens.fsm.automata.folding import fold
from moorelens.fsm.automata.looping import open_loop
from moorelens.fsm.automata.machine import BOT, NETWORK, OBSERVED, MooreMachine
from moorelens.fsm.automata.reductions import reduce
from moorelens.fsm.automata.symbol_classes import compatible_symbol_classes, merge_symbols, strict_symbol_classes
from tests.fsm.automata.automata_examples import busy_machines, machines, rows_of, words_of, worked_example


def recorded(states, symbols, actions, lengths=None):
    """A machine and its traces from lists of state, symbol and action ids."""
    cuts = np.cumsum([0, *(lengths or [len(states)])])
    n = len(cuts) - 1
    return build_machine(
        start_codes=np.zeros((n, 1)), state_codes=np.reshape(states, (-1, 1)), symbol_codes=np.reshape(symbols, (-1,
        1)), actions=actions, offsets=cuts, terminated=[True] * n, truncated=[False] * n, action_names=["a", "b", "c"],
    )  # fmt: skip


def hidden_bit():
    """One code for two situations: after symbol 1, state 5 leads by symbol 0 to state 6, after symbol 2 to state 7."""
    states, symbols = [], []
    for turn in (1, 2, 1, 1, 2, 2, 1):
        states += [5, 6 if turn == 1 else 7, 4]
        symbols += [turn, 0, 3]
    return recorded(states, symbols, [{4: 0, 5: 0, 6: 1, 7: 2}[s] for s in states])


def test_conflicts_are_counted_in_pairs_and_steps():
    machine, traces = hidden_bit()
    report = conflict_report(machine)
    assert (report.pairs, report.minority_steps) == (1, 3)
    assert report.rate == pytest.approx(3 / traces.n_steps)
    assert conflict_report(worked_example()).pairs == 0


def test_error_names_the_extent():
    machine, _ = hidden_bit()
    with pytest.raises(RequestError, match=r"1 pairs have several \(14.3% of steps\)"):
        resolve_conflicts(machine, policy="error")
    assert resolve_conflicts(worked_example(), policy="error").machine == worked_example()


def test_majority_keeps_the_most_frequent_and_ties_go_to_the_smallest_id():
    machine = from_edges([(0, 0, 1, 2), (0, 0, 2, 5), (0, 0, 3, 5), (1, 0, 1)], actions=[BOT, 0, 0, 0])
    resolution = resolve_conflicts(machine, policy="majority")
    assert rows_of(resolution.machine)[0] == {0: [2]}
    assert resolution.dropped_steps == 7


def test_last_keeps_what_was_recorded_last():
    machine, traces = recorded([1, 2, 1, 3], [0, 0, 1, 0], [0, 1, 0, 2])
    resolution = resolve_conflicts(machine, policy="last", traces=traces)
    at = int(traces.states[0])
    assert rows_of(resolution.machine)[at][0] == [int(traces.states[-1])]
    assert resolution.dropped_steps == 1


def test_split_finds_a_planted_hidden_bit():
    machine, traces = hidden_bit()
    resolution = resolve_conflicts(machine, policy="split", traces=traces)
    assert machine.n_conflicts == 1
    assert resolution.machine.n_conflicts == 0
    # It is entered by 1 from the start, by 1 and by 2 from state 4.
    assert resolution.machine.n_states == machine.n_states + 2
    assert replay(resolution.machine, traces).share == 1.0
    assert np.array_equal(resolution.origin[resolution.traces.states], traces.states)
    assert resolution.machine.counts.sum() == traces.n_steps


def test_split_gives_up_at_its_depth_and_says_so_by_its_conflicts():
    rng = np.random.default_rng(0)
    machine, traces = recorded(*(rng.integers(0, 3, 60) for _ in range(2)), np.zeros(60, dtype=int))
    assert resolve_conflicts(machine, policy="split", traces=traces, depth=0).machine.n_conflicts == machine.n_conflicts
    sizes = [resolve_conflicts(machine, policy="split", traces=traces, depth=d).machine.n_states for d in range(4)]
    assert sizes == sorted(sizes)


def test_nfa_keeps_everything_and_every_function_accepts_it():
    machine, traces = hidden_bit()
    kept = resolve_conflicts(machine, policy="nfa").machine
    assert kept == machine
    assert replay(kept, traces).share == 1.0
    assert fold(kept, traces=traces).machine.n_conflicts >= 0
    assert reduce(kept).reduced.n_states <= kept.n_states


def test_policies_that_need_the_order_of_steps_say_so():
    machine, _ = hidden_bit()
    for policy in ("last", "split"):
        with pytest.raises(OptionError, match="traces"):
            resolve_conflicts(machine, policy=policy)
    with pytest.raises(OptionError, match="'first'"):
        resolve_conflicts(machine, policy="first")


@given(busy_machines(states=8, conflicts=True))
def test_majority_is_deterministic_and_keeps_the_rest(machine: MooreMachine):
    resolution = resolve_conflicts(machine, policy="majority")
    assert resolution.machine.n_conflicts == 0
    assert resolution.machine.counts.sum() + resolution.dropped_steps == machine.counts.sum()
    assert words_of(resolution.machine, 3) <= words_of(machine, 3)


# --- completion


def counter_network(n: int):
    """A quantised network over states and symbols 0..n-1: next = (state + symbol + 1) mod n, action = parity."""

    def successor(states, symbols):
        assert len(states) == len(symbols) <= 4
        following = (states.astype(int) + symbols + 1) % n
        return following, following[:, 0] % 2

    return successor


def counted(steps: int = 3) -> MooreMachine:
    states = [(t + 1) % 5 for t in range(steps)]
    machine, _ = recorded(states, [0] * steps, [s % 2 for s in states])
    return machine


def test_completion_closes_the_machine_and_marks_what_it_added():
    machine = counted()
    result = complete(machine, counter_network(5), batch=4)
    assert not result.truncated
    assert result.new_states == 2
    full = result.machine
    assert full.n_transitions == len(full.actions) * full.n_symbols
    assert result.new_transitions == full.n_transitions - machine.n_transitions
    assert np.array_equal(full.origins == NETWORK, full.counts == 0)
    assert full.visits.sum() == machine.visits.sum()
    assert (full.origins == OBSERVED).sum() == machine.n_transitions
    assert distinguishing_word(machine, full) is None


def test_completion_stops_at_its_limits_and_says_so():
    machine = counted()
    for options in ({"max_states": 4}, {"max_transitions": machine.n_transitions + 1}):
        result = complete(machine, counter_network(5), batch=4, **options)
        assert result.truncated
        assert len(result.machine.actions) <= options.get("max_states", 10**9)
        assert result.machine.n_transitions <= options.get("max_transitions", 10**9)


def test_completion_does_not_depend_on_the_batch():
    one, four = (complete(counted(), counter_network(5), batch=b).machine for b in (1, 4))
    assert one == four


def test_the_start_can_be_left_out():
    result = complete(counted(1), counter_network(5), batch=4, include_start=False)
    assert rows_of(result.machine)[0] == rows_of(counted(1))[0]


def test_another_network_is_noticed():
    def wrong(states, symbols):
        following = (states.astype(int) + symbols + 1) % 5
        return following, 1 - following[:, 0] % 2

    with pytest.raises(InvariantError, match="not the network"):
        complete(counted(), wrong)


def test_states_that_share_a_code_cannot_be_completed():
    machine, traces = hidden_bit()
    split = resolve_conflicts(machine, policy="split", traces=traces).machine
    with pytest.raises(OptionError, match="before its states are split"):
        complete(split, counter_network(9))


def test_a_completed_machine_cannot_be_split():
    machine, traces = hidden_bit()
    kept = from_edges([(0, 0, 1)], actions=[BOT, 0])
    completed = complete(kept, lambda s, o: (s * 0 + 1, s[:, 0] * 0), batch=4).machine
    assert completed.n_transitions == 2
    with pytest.raises(OptionError, match="split it first"):
        resolve_conflicts(completed, policy="split", traces=traces)
    assert machine.n_conflicts


# --- open loop


def test_open_loop_with_preperiod_and_period():
    lasso = from_edges([(0, 0, 1), (1, 1, 2), (2, 0, 3), (3, 0, 2)], actions=[BOT, 0, 1, 0])
    assert (open_loop(lasso).open_loop, open_loop(lasso).preperiod, open_loop(lasso).period) == (True, 1, 2)
    line = from_edges([(0, 0, 1), (1, 1, 2)], actions=[BOT, 0, 1])
    assert (open_loop(line).open_loop, open_loop(line).preperiod, open_loop(line).period) == (True, 2, None)
    cycle = from_edges([(0, 0, 1), (1, 0, 2), (2, 0, 0)], actions=[0, 0, 1])
    assert (open_loop(cycle).preperiod, open_loop(cycle).period) == (0, 3)
    assert not open_loop(worked_example()).open_loop
    assert open_loop(from_edges([], actions=[BOT], action_names=["x"])).preperiod == 0


# --- compatible symbol classes


def test_worked_example_has_eight_strict_and_two_compatible_classes():
    machine = worked_example()
    assert strict_symbol_classes(machine).max() + 1 == 8
    colouring = compatible_symbol_classes(machine)
    assert colouring.classes.max() + 1 == colouring.lower_bound == 2
    assert colouring.proven
    # o5 conflicts with o3 and o4 only.
    assert colouring.classes[4] not in (colouring.classes[2], colouring.classes[3])


@given(machines(symbols=6) | busy_machines(states=8, symbols=9))
def test_compatible_classes_contradict_nothing(machine: MooreMachine):
    colouring = compatible_symbol_classes(machine)
    merged = merge_symbols(machine, classes=colouring.classes)
    assert merged.n_conflicts == 0
    assert merged.counts.sum() == machine.counts.sum()
    assert colouring.lower_bound <= merged.n_symbols <= strict_symbol_classes(machine).max(initial=-1) + 1
    translated = {tuple((int(colouring.classes[o]), a) for o, a in w) for w in words_of(machine, 3)}
    assert translated <= words_of(merged, 3)


@given(machines(symbols=4, states=4))
def test_colouring_is_never_below_the_least_number_of_classes(machine: MooreMachine):
    from itertools import product

    rows = rows_of(machine)
    n = machine.n_symbols

    def fits(classes):
        return all(classes[a] != classes[b] or row[a] == row[b] for row in rows.values() for a in row for b in row)

    least = min((max(c, default=-1) + 1 for c in product(range(n), repeat=n) if fits(c)), default=0)
    colouring = compatible_symbol_classes(machine)
    assert colouring.lower_bound <= least <= colouring.classes.max(initial=-1) + 1
    assert not colouring.proven or least == colouring.lower_bound


@given(busy_machines(states=6, symbols=5, conflicts=True))
def test_strict_classes_merge_without_loss(machine: MooreMachine):
    classes = strict_symbol_classes(machine)
    merged = merge_symbols(machine, classes=classes)
    assert merged.n_conflicts <= machine.n_conflicts
    assert {tuple((int(classes[o]), a) for o, a in w) for w in words_of(machine, 3)} == words_of(merged, 3)
