"""The `state_setup` dictionaries of AALpy's Moore machines, both ways.

    {"s0": (None, {"o_0": "s1"}), "s1": ("left", {"o_0": "s1", "o_2": "s0"})}

The first state is the initial one; a step emits the output of the state it leads to, as here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moorelens.errors import RequestError
from moorelens.fsm.automata.build import from_edges
from moorelens.fsm.automata.exchange.names import natural_key, state_name, symbol_name
from moorelens.fsm.automata.machine import BOT, MooreMachine

StateSetup = dict[str, tuple[Any, dict[str, str]]]


def to_state_setup(machine: MooreMachine) -> StateSetup:
    """Return `machine` for `aalpy.MooreMachine.from_state_setup`; outputs are action names, None for BOT.

    Counts and codes have no place in it. Raises RequestError where the machine has a conflict.
    """
    if machine.n_conflicts:
        raise RequestError(
            f"AALpy's Moore machines are deterministic, but {machine.n_conflicts} state and symbol pairs have several "
            "successors; resolve the conflicts first."
        )
    order = [machine.start, *(s for s in range(len(machine.actions)) if s != machine.start)]
    names = (None if a == BOT else machine.action_names[a] for a in machine.actions[order].tolist())
    setup: StateSetup = {state_name(s): (name, {}) for s, name in zip(order, names, strict=True)}
    columns = (machine.sources, machine.symbols, machine.targets)
    for source, symbol, target in zip(*(c.tolist() for c in columns), strict=True):
        setup[state_name(source)][1][symbol_name(symbol)] = state_name(target)
    return setup


def from_state_setup(
    setup: Mapping[str, tuple[Any, Mapping[Any, str]]], *, actions: Sequence[str] = ()
) -> MooreMachine:
    """Return the machine of an AALpy `state_setup`, with counts 1; symbols in natural order of their names.

    `actions` fixes the order of action names; outputs not among them follow in natural order. An initial state that
    emits something, or is entered again, stays beside the silent start (spec-fsm 4.5). The names of symbols are kept in
    `meta["symbol_names"]`, those of states in `meta["state_names"]`. Raises RequestError for a setup that is not one.
    """
    try:
        states = {name: i for i, name in enumerate(setup)}
        outputs = {str(output) for output, _ in setup.values() if output is not None}
        symbols = sorted({str(o) for _, row in setup.values() for o in row}, key=natural_key)
        names = [*actions, *sorted(outputs - set(actions), key=natural_key)]
        place, number = {n: i for i, n in enumerate(names)}, {o: i for i, o in enumerate(symbols)}
        emitted = [BOT if output is None else place[str(output)] for output, _ in setup.values()]
        edges = [
            (states[source], number[str(symbol)], states[target])
            for source, (_, row) in setup.items()
            for symbol, target in row.items()
        ]
    except (TypeError, ValueError, AttributeError, LookupError) as problem:
        raise RequestError(
            f"A state setup maps each state to (output, transitions) over its own states, but {problem!r:.100} says it "
            "does not."
        ) from None
    if not states:
        raise RequestError("A state setup needs at least its initial state, but is empty.")
    return from_edges(
        edges,
        actions=emitted,
        n_symbols=len(symbols),
        action_names=names,
        meta={"symbol_names": symbols, "state_names": [str(name) for name in states]},
    )
