"""Completion: asking the network for the transitions that were never recorded, marked as such (spec-fsm 4.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.errors import InvariantError, OptionError
from moorelens.fsm.automata.codes import as_codes, code_keys
from moorelens.fsm.automata.machine import NETWORK, Codes, Ids, MooreMachine
from moorelens.fsm.automata.structure import merge_transitions

# (state codes (b, K), symbol codes (b, L)) -> (next state codes (b, K), actions (b,)): a quantised network.
Successor = Callable[[Codes, Codes], tuple[npt.NDArray[Any], npt.NDArray[Any]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Completion:
    """A completed machine; the states of the given one keep their ids, new ones follow in the order they were found.

    `truncated`: a limit was reached, so that some transitions are still missing.
    """

    machine: MooreMachine
    truncated: bool
    new_states: int
    new_transitions: int


def complete(
    machine: MooreMachine,
    successor: Successor,
    *,
    max_states: int = 10_000,
    max_transitions: int = 1_000_000,
    batch: int = 1024,
    include_start: bool = True,
) -> Completion:
    """Ask `successor` for every undefined (state, symbol), also at the states that this finds, until none is left.

    The new transitions have origin `NETWORK` and count 0, the new states no visits: what was observed stays apart from
    what is imagined. `successor` is called with at most `batch` rows at a time, in breadth-first order. At most
    `max_states` states (the start included) and `max_transitions` transitions are kept; a transition to a state beyond
    is left out. `include_start=False` is for networks that begin in another state than the start's code says (raw h0).

    Raises OptionError where two states share a code, InvariantError where the network contradicts a recorded action.
    """
    found = _Frontier(machine, include_start=include_start)
    room = max_transitions - machine.n_transitions
    truncated = False
    while True:
        pairs = found.take(batch)
        if not pairs:
            break
        if room <= 0:
            truncated = True
            break
        truncated |= len(pairs) > room
        pairs = pairs[:room]
        states, symbols = (np.array(column, dtype=np.int32) for column in zip(*pairs, strict=True))
        codes, actions = successor(found.codes_of(states), machine.symbol_codes[symbols])
        left_out = found.add(states, symbols, as_codes(codes), np.asarray(actions), max_states=max_states)
        truncated |= left_out > 0
        room -= len(pairs) - left_out
    return Completion(
        machine=found.machine(),
        truncated=truncated,
        new_states=found.new_states,
        new_transitions=found.new_transitions,
    )


class _Frontier:
    """The states found so far and the transitions the network gave."""

    def __init__(self, machine: MooreMachine, *, include_start: bool) -> None:
        self._given = machine
        self._codes = code_keys(machine.state_codes)
        self._actions: list[int] = machine.actions.tolist()
        self._known = {key: s for s, key in enumerate(self._codes) if s != machine.start}
        if len(self._known) != machine.n_states:
            raise OptionError(
                "A machine can only be completed if each state has a code of its own, but two share one; complete it "
                "before its states are split."
            )
        self._skip = -1 if include_start else machine.start
        self._edges: list[tuple[int, int, int]] = []
        self._defined: dict[int, set[int]] = {}
        for source, symbol in zip(machine.sources.tolist(), machine.symbols.tolist(), strict=True):
            self._defined.setdefault(source, set()).add(symbol)
        self._next, self._open = 0, list[tuple[int, int]]()

    @property
    def new_states(self) -> int:
        return len(self._codes) - len(self._given.actions)

    @property
    def new_transitions(self) -> int:
        return len(self._edges)

    def take(self, n: int) -> list[tuple[int, int]]:
        """Return the next undefined (state, symbol) pairs, at most `n`; none where none is left for now."""
        taken: list[tuple[int, int]] = []
        while len(taken) < n and (self._open or self._next < len(self._codes)):
            if not self._open:
                self._open = self._undefined(self._next)
                self._next += 1
            room = n - len(taken)
            taken += self._open[:room]
            self._open = self._open[room:]
        return taken

    def _undefined(self, state: int) -> list[tuple[int, int]]:
        if state == self._skip:
            return []
        seen = self._defined.get(state, set())
        return [(state, symbol) for symbol in range(self._given.n_symbols) if symbol not in seen]

    def codes_of(self, states: Ids) -> Codes:
        width = self._given.state_codes.shape[1]
        data = b"".join(self._codes[s] for s in states.tolist())
        return np.frombuffer(data, dtype=np.int8).reshape(len(states), width)

    def add(self, states: Ids, symbols: Ids, codes: Codes, actions: npt.NDArray[Any], *, max_states: int) -> int:
        """Add the network's answers; return how many lead to states beyond the limit and were left out."""
        left_out = 0
        answers = zip(states.tolist(), symbols.tolist(), code_keys(codes), actions.tolist(), strict=True)
        for state, symbol, key, action in answers:
            target = self._known.get(key)
            if target is None:
                if len(self._codes) >= max_states:
                    left_out += 1
                    continue
                target = self._known[key] = len(self._codes)
                self._codes.append(key)
                self._actions.append(int(action))
            elif self._actions[target] != action:
                raise InvariantError(
                    f"The network must emit what was recorded, but gives state {target} action {action} instead of "
                    f"{self._actions[target]}; it is not the network the machine was extracted from."
                )
            self._edges.append((state, symbol, target))
        return left_out

    def machine(self) -> MooreMachine:
        given, more = self._given, self.new_states
        added = np.array(self._edges, dtype=np.int32).reshape(-1, 3)
        none = np.zeros(more, dtype=np.int64)
        return replace(
            given,
            state_codes=self.codes_of(np.arange(len(self._codes), dtype=np.int32)),
            actions=np.array(self._actions),
            visits=np.concatenate([given.visits, none]),
            terminals=np.concatenate([given.terminals, none]),
            truncations=np.concatenate([given.truncations, none]),
            **merge_transitions(
                np.concatenate([given.sources, added[:, 0]]),
                np.concatenate([given.symbols, added[:, 1]]),
                np.concatenate([given.targets, added[:, 2]]),
                np.concatenate([given.counts, np.zeros(len(added), dtype=np.int64)]),
                np.concatenate([given.origins, np.full(len(added), NETWORK, dtype=np.uint8)]),
            ),
        )
