"""A machine against the truth: completed by its network, minimised, and compared word by word with the task's own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.envs.memory.lessons import Lesson, classes_of
from moorelens.envs.rollouts import Rollouts
from moorelens.fsm.automata.build import from_edges
from moorelens.fsm.automata.completion import Completion, complete
from moorelens.fsm.automata.equivalence import distinguishing_word
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.minimised import Minimised
from moorelens.fsm.automata.strict import minimise_strict
from moorelens.fsm.automata.traces import Traces
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.tables import NetworkTable

Array = npt.NDArray[Any]
MAX_STATES = 20_000


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The machine of a network for all words over the symbols it met, and whether it is the task's.

    `completed`: undefined transitions asked of the network. `minimised`: the same words in as few states as can be.
    `equivalent`: every word over these symbols gets the task's answers, proven by a walk over both machines.
    `word`: the shortest on which it does not, as symbols of the machine; empty where there is none or no symbol of the
    machine means one thing.
    """

    completed: Completion
    minimised: Minimised
    equivalent: bool
    word: tuple[int, ...]


def judge_machine(
    machine: MooreMachine, network: MooreMachineNetwork, lesson: Lesson, *, played: Rollouts, traces: Traces
) -> Truth:
    """Complete and minimise `machine`, and compare it with the machine of `lesson`.

    The task's own machine is used here and nowhere before: neither training nor extraction sees it.
    """
    completed = complete_machine(machine, network)
    minimised = minimise_strict(completed.machine)
    classes = _classes(lesson, machine, played, traces)
    if classes is None or completed.truncated:
        return Truth(completed=completed, minimised=minimised, equivalent=False, word=())
    oracle = oracle_machine(lesson, minimised.machine, classes)
    difference = distinguishing_word(oracle, minimised.machine)
    word = () if difference is None else difference.symbols
    return Truth(completed=completed, minimised=minimised, equivalent=difference is None, word=word)


def complete_machine(machine: MooreMachine, network: MooreMachineNetwork) -> Completion:
    """Return `machine` with every undefined transition asked of the network, over the symbols it has met."""
    table = NetworkTable(network)

    def successor(states: Array, symbols: Array) -> tuple[Array, Array]:
        reached = table.step(table.states(states), table.symbols(symbols))
        return table.codes(reached), table.actions(reached)

    return complete(machine, successor, max_states=MAX_STATES)


def oracle_machine(lesson: Lesson, like: MooreMachine, classes: Array) -> MooreMachine:
    """Return the task's machine over the symbols of `like`, of which symbol o means class `classes[o]`."""
    language = lesson.language
    edges = [
        (state, symbol, language.transitions[state][int(meaning)])
        for state in range(len(language.outputs))
        for symbol, meaning in enumerate(classes)
    ]
    oracle = from_edges(
        edges,
        actions=list(language.outputs),
        start=language.start,
        n_symbols=like.n_symbols,
        action_names=like.action_names,
    )
    return dataclasses.replace(oracle, symbol_codes=like.symbol_codes)


def _classes(lesson: Lesson, machine: MooreMachine, played: Rollouts, traces: Traces) -> Array | None:
    """Return what each symbol (O,) means, or None where one was read off observations of two meanings."""
    seen = classes_of(lesson, played.frames)[played.frame_index]
    lowest = np.full(machine.n_symbols, np.iinfo(np.int64).max)
    highest = np.full(machine.n_symbols, -1, dtype=np.int64)
    np.minimum.at(lowest, traces.symbols, seen)
    np.maximum.at(highest, traces.symbols, seen)
    return lowest if np.array_equal(lowest, highest) else None
