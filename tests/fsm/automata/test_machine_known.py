"""Machines whose true size is known: mode counters and Tomita's languages (spec-fsm 3, 8), and the promised speed."""

from __future__ import annotations

import re
import time
from itertools import product

import numpy as np
import pytest

from moorelens.fsm.automata.build import build_machine, from_edges
from moorelens.fsm.automata.compatibility import incompatibility
from moorelens.fsm.automata.equivalence import replay
from moorelens.fsm.automata.folding import fold
from moorelens.fsm.automata.machine import BOT, MooreMachine
from moorelens.fsm.automata.strict import minimise_strict
from moorelens.fsm.automata.symbol_classes import strict_symbol_classes

DURATIONS = {"amnesia": (1, 1, 1, 1), "blind": (2, 3, 2, 3), "tracker": (2, 3, 2, 3)}


def mode_counter(name: str, *, episodes: int = 30, steps: int = 60) -> MooreMachine:
    """The machine of a perfect policy in a mode counter (spec-fsm 3.1), with a useless digit in its state."""
    rng = np.random.default_rng(0)
    durations = DURATIONS[name]
    states, symbols, actions = [], [], []
    for _ in range(episodes):
        mode, clock = 0, 0
        for _ in range(steps):
            read = 0 if name == "blind" else int(rng.integers(4))
            clock += 1
            if clock >= durations[mode]:
                clock, mode = 0, (mode + 1) % 4 if name == "blind" else read
            # The policy also remembers a bit of the last symbol that decides nothing.
            states.append([mode, clock, read % 2])
            symbols.append([read])
            actions.append(mode)
    machine, _ = build_machine(
        start_codes=np.zeros((episodes, 3)), state_codes=states, symbol_codes=symbols, actions=actions,
        offsets=np.arange(episodes + 1) * steps, terminated=[False] * episodes, truncated=[True] * episodes,
        action_names=["0", "1", "2", "3"],
    )  # fmt: skip
    return machine


@pytest.mark.parametrize(("name", "states", "classes"), [("amnesia", 4, 4), ("blind", 10, 1), ("tracker", 10, 4)])
def test_mode_counters_have_their_published_sizes(name, states, classes):
    machine = mode_counter(name)
    result = minimise_strict(machine)
    assert result.machine.n_states == states
    assert strict_symbol_classes(result.machine).max() + 1 == classes
    assert fold(machine).machine.n_states == states
    # A start with an output of its own is one state more: the other number that is published.
    assert len(result.machine.actions) == states + 1


TOMITA = {
    1: (2, lambda w: "0" not in w),
    2: (3, lambda w: re.fullmatch("(10)*", w)),
    3: (5, lambda w: not re.search("(^|0)(11)*1(00)*0(1|$)", w)),
    4: (4, lambda w: "000" not in w),
    5: (4, lambda w: w.count("0") % 2 == 0 == w.count("1") % 2),
    6: (3, lambda w: (w.count("1") - w.count("0")) % 3 == 0),
    7: (5, lambda w: re.fullmatch("0*1*0*1*", w)),
}


@pytest.mark.parametrize("number", TOMITA)
def test_tomita_languages_are_learned_from_their_words(number):
    states, accepts = TOMITA[number]
    words = ["", *("".join(letters) for n in range(1, 9) for letters in product("01", repeat=n))]
    place = {word: i for i, word in enumerate(words)}
    edges = [(place[w[:-1]], int(w[-1]), place[w]) for w in words[1:]]
    tree = from_edges(edges, actions=[BOT, *(int(bool(accepts(w))) for w in words[1:])], action_names=("no", "yes"))
    result = fold(tree)
    assert result.machine.n_states == states
    assert result.proven
    learned = result.machine
    rng = np.random.default_rng(number)
    for _ in range(200):
        word = "".join(rng.choice(["0", "1"], rng.integers(9, 40)))
        at = learned.start
        for letter in word:
            (edge,) = np.flatnonzero((learned.sources == at) & (learned.symbols == int(letter)))
            at = int(learned.targets[edge])
        assert bool(learned.actions[at]) == bool(accepts(word))


def test_four_thousand_states_and_symbols_take_no_time():
    rng = np.random.default_rng(0)
    states, symbols, steps = 4000, 4000, 100_000
    table = rng.integers(0, states, states, dtype=np.int64)
    read = rng.integers(0, symbols, steps)
    passed = np.empty(steps, dtype=np.int64)
    at = 0
    for t, symbol in enumerate(read.tolist()):
        at = passed[t] = (table[at] + symbol) % states
    codes = rng.integers(-1, 2, (states, 64), dtype=np.int8)
    frames = rng.integers(-1, 2, (symbols, 100), dtype=np.int8)
    began = time.process_time()
    machine, traces = build_machine(
        start_codes=codes[:1], state_codes=codes[passed], symbol_codes=frames[read], actions=passed % 5,
        offsets=[0, steps], terminated=[True], truncated=[False], action_names=list("abcde"),
    )  # fmt: skip
    built = time.process_time()
    result = minimise_strict(machine)
    done = time.process_time()
    assert replay(result.machine, traces).share == 1.0
    assert built - began < 2
    assert done - built < 5


def test_a_game_of_385_states_folds_at_once():
    rng = np.random.default_rng(0)
    machine = from_edges([(t, t % 374, t + 1) for t in range(385)], actions=[BOT, *rng.integers(0, 3, 385).tolist()])
    times = []
    for _ in range(3):
        began = time.process_time()
        fold(machine)
        times.append(time.process_time() - began)
    assert min(times) < 0.1


def test_a_machine_too_large_for_a_matrix_still_has_a_bound(monkeypatch):
    machine = from_edges([(0, 0, 1), (1, 0, 2), (2, 0, 3)], actions=[BOT, 0, 1, 0])
    small = fold(machine)
    for limit in ("MAX_STATES", "MAX_PAIRS"):
        with monkeypatch.context() as patch:
            patch.setattr(f"moorelens.fsm.automata.compatibility.{limit}", 0)
            assert incompatibility(machine) is None
            large = fold(machine)
        assert large.machine == small.machine
        assert large.lower_bound == 2
