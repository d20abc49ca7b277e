"""State merging from traces: what it learns repeats them, equals a known machine, and looks at no state."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import pytest

from moorelens.errors import MissingToolError, RequestError
from moorelens.fsm.automata.build import id_codes
from moorelens.fsm.automata.equivalence import equivalent
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.run import compile_machine
from moorelens.fsm.automata.traces import Traces
from moorelens.fsm.fidelity import share_repeated
from moorelens.fsm.passive import Method, learn_machine

METHODS: tuple[Method, ...] = ("rpni", "edsm")


def traces_of(words: list[list[int]], answer: Any) -> Traces:
    """The traces of `words` under `answer(prefix) -> action`; the states say nothing."""
    symbols = [symbol for word in words for symbol in word]
    actions = [answer(word[: i + 1]) for word in words for i in range(len(word))]
    return Traces(
        symbols=np.array(symbols, dtype=np.int32),
        states=np.ones(len(symbols), dtype=np.int32),
        actions=np.array(actions, dtype=np.int32),
        offsets=np.concatenate([[0], np.cumsum([len(word) for word in words])]),
        terminated=np.ones(len(words), dtype=np.bool_),
        truncated=np.zeros(len(words), dtype=np.bool_),
    )


def random_words(count: int, length: int, symbols: int, *, seed: int = 0) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(0, symbols, size=int(random.integers(1, length))).tolist() for _ in range(count)]


def learned(traces: Traces, method: Method, *, symbols: int = 2) -> tuple[MooreMachine, Traces]:
    return learn_machine(traces, symbol_codes=id_codes(symbols), action_names=("no", "yes"), method=method)


@pytest.mark.parametrize("method", METHODS)
def test_the_parity_of_ones_has_two_states(method: Method) -> None:
    machine, through = learned(traces_of(random_words(60, 20, 2), lambda word: sum(word) % 2), method)
    assert machine.n_states == 2
    assert machine.actions[through.states].tolist() == through.actions.tolist()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(5))
def test_what_is_learned_repeats_its_traces(method: Method, seed: int) -> None:
    random = np.random.default_rng(seed)
    successors, actions = random.integers(0, 6, size=(6, 3)), random.integers(0, 2, size=6)

    def answer(word: list[int]) -> int:
        state = 0
        for symbol in word:
            state = successors[state, symbol]
        return int(actions[state])

    given = traces_of(random_words(40, 15, 3, seed=seed), answer)
    machine, through = learned(given, method, symbols=3)
    stepper = compile_machine(machine)
    codes = machine.symbol_codes[given.symbols]
    assert share_repeated(stepper, symbol_codes=codes, actions=given.actions, offsets=given.offsets) == 1.0
    assert machine.n_conflicts == 0 and int(machine.counts.sum()) == given.n_steps
    assert machine.n_states == len(np.unique(through.states))


@pytest.mark.parametrize("method", METHODS)
def test_states_are_not_looked_at(method: Method) -> None:
    given = traces_of(random_words(30, 12, 2), lambda word: word[-1])
    other = dataclasses.replace(given, states=np.arange(given.n_steps, dtype=np.int32) % 7 + 1)
    assert equivalent(learned(given, method)[0], learned(other, method)[0])


def test_both_ways_learn_one_language_where_the_data_say_enough() -> None:
    given = traces_of(random_words(200, 15, 2), lambda word: int(word[-2:] == [1, 1]))
    one, other = (learned(given, method)[0] for method in METHODS)
    assert one.n_states == other.n_states == 3 and equivalent(one, other)


def test_two_answers_to_the_same_symbols_are_refused() -> None:
    turn = iter([0, 1])
    with pytest.raises(RequestError, match="step 0 of episode 1 differs"):
        learned(traces_of([[0], [0]], lambda word: next(turn)), "rpni")


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "aalpy" or name.startswith("aalpy.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aalpy", None)
    with pytest.raises(MissingToolError, match=r"moorelens\[learn\]"):
        learned(traces_of([[0, 1]], lambda word: 1), "rpni")
