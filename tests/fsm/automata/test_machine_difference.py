"""The difference of two machines names what a person would: states and decisions that appear, vanish or change."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorelens.errors import OptionError
from moorelens.fsm.automata.build import from_edges
from moorelens.fsm.automata.canonical import renumber
from moorelens.fsm.automata.difference import diff
from moorelens.fsm.automata.difference_formats import (
    _legend,
    difference_document,
    difference_dot,
    difference_text,
)
from moorelens.fsm.automata.machine import BOT, MooreMachine
from moorelens.fsm.automata.matching import choose_match, match_states
from moorelens.fsm.automata.reductions import trim
from tests.fsm.automata.automata_examples import busy_machines, machines, worked_example

MATCHES = ("code", "word", "shape")
EITHER = machines(conflicts=True) | busy_machines(states=9, conflicts=True)


def without_state_six() -> MooreMachine:
    """The worked example after a training step in which the branch to state 6 was lost."""
    edges = [(0, 0, 1), (1, 1, 2), (2, 2, 3), (2, 3, 3), (3, 5, 4), (4, 5, 5), (4, 6, 5), (5, 7, 2)]
    return from_edges(edges, actions=[BOT, 0, 0, 1, 1, 0], n_symbols=9, action_names=("a", "b", "c"))


@given(EITHER, st.sampled_from(MATCHES))
def test_a_machine_and_itself_do_not_differ(machine: MooreMachine, match):
    trimmed, _ = trim(machine)
    difference = diff(trimmed, trimmed, match=match)
    assert difference.empty
    assert "No difference" in difference_text(difference, trimmed, trimmed)
    assert difference_document(difference, trimmed, trimmed)["empty"]


@given(EITHER)
def test_by_code_the_numbering_does_not_matter(machine: MooreMachine):
    rng = np.random.default_rng(0)
    shuffled = renumber(
        machine, states=rng.permutation(len(machine.actions)), symbols=rng.permutation(machine.n_symbols)
    )
    assert diff(machine, shuffled, match="code").empty


@given(EITHER, EITHER, st.sampled_from(MATCHES))
def test_a_difference_is_consistent_and_every_format_writes_it(first: MooreMachine, second: MooreMachine, match):
    difference = diff(first, second, match=match)
    pairs = dict(difference.pairs)
    assert len(set(pairs.values())) == len(pairs)
    assert pairs[first.start] == second.start
    assert sorted([*pairs, *difference.vanished]) == list(range(len(first.actions)))
    assert sorted([*pairs.values(), *difference.appeared]) == list(range(len(second.actions)))
    text = difference_text(difference, first, second)
    assert text.endswith("\n")
    json.dumps(difference_document(difference, first, second))
    dot = difference_dot(difference, first, second)
    assert dot.count("[label=") == len(pairs) + len(difference.vanished) + len(difference.appeared)


def test_a_lost_branch_is_a_vanished_state_and_a_vanished_decision():
    before, after = worked_example(), without_state_six()
    difference = diff(before, after)
    assert (difference.vanished, difference.appeared, difference.changed) == ((6,), (), ())
    (decision,) = difference.decisions
    assert (decision.change, decision.first, decision.before) == ("vanishes", 2, ("b", "c"))
    assert difference.lost == ((2, 4),)
    assert (difference.first_word.symbols, difference.first_word.found) == ((0, 1, 4), None)
    assert difference.second_word is None
    back = diff(after, before)
    assert back.appeared == (6,)
    assert back.decisions[0].change == "appears"
    assert back.gained == ((2, 4),)
    text = difference_text(difference, before, after)
    assert "1 state vanished: S6 (c)" in text
    assert "decision at S2 vanishes: b or c" in text
    assert "after o0 o1 o4 the first does c and the second is undefined" in text


def test_a_changed_action_changes_the_decision():
    before = worked_example()
    after = replace(before, actions=[BOT, 0, 0, 1, 1, 0, 0])
    difference = diff(before, after)
    assert difference.changed == ((6, 6),)
    assert [(d.change, d.before, d.after) for d in difference.decisions] == [("changes", ("b", "c"), ("a", "b"))]
    assert "c -> a" in difference_dot(difference, before, after)
    text = difference_text(difference, before, after)
    assert "decision at S2 changes: b or c -> a or b" in text
    assert text.count("after o0 o1 o4 ") == 1


def test_a_redirected_transition_is_named():
    before = worked_example()
    targets = before.targets.copy()
    targets[-1] = 2
    difference = diff(before, replace(before, targets=targets))
    (change,) = difference.redirected
    assert (change.source, change.symbol, change.before, change.after) == (6, 8, (5,), (2,))


def test_how_machines_are_matched_follows_what_their_codes_mean():
    machine = worked_example()
    said = replace(machine, meta={"quantiser": "1"})
    assert choose_match(machine, machine) == "code"
    assert choose_match(said, said) == "code"
    assert choose_match(said, replace(machine, meta={"quantiser": "2"})) == "shape"
    other_states = replace(machine, state_codes=machine.state_codes + np.int8(50))
    assert choose_match(machine, other_states) == "word"
    other_symbols = replace(other_states, symbol_codes=machine.symbol_codes + np.int8(50))
    assert choose_match(machine, other_symbols) == "shape"
    for other in (other_states, other_symbols):
        difference = diff(machine, other)
        assert difference.pairs == tuple((s, s) for s in range(7))
        assert difference.empty
    with pytest.raises(OptionError, match="'name'"):
        match_states(machine, machine, match="name")


def test_the_legend_says_whose_names_stand_where():
    before, after = worked_example(), without_state_six()
    difference = diff(before, after)
    renamed = replace(difference, pairs=((1, 1), (2, 3)), changed=((1, 1),))
    legend = _legend(renamed, 'a"\\n.json', "b.json")
    assert legend.startswith('"S2 = S3: S2 of a\\"\\\\n.json is S3 of b.json\\ngrey: in both')
    assert '- dashed red: only in a\\"' in legend and "+ bold green: only in b.json" in legend and "orange" in legend
    plain = difference_dot(difference, before, after, names=("a.json", "b.json")).splitlines()[3]
    assert "only in a.json" in plain and "orange" not in plain and " = " not in plain


def test_hostile_names_stay_inside_their_quotes():
    machine = replace(worked_example(), action_names=('"];evil[', "\\", "&lt;"))
    dot = difference_dot(diff(machine, machine), machine, machine)
    assert '\\"];evil[' in dot
    assert "&amp;lt;" in dot
