"""Comparing two machines word by word: the shortest word that tells them apart, and the replay of traces."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from moorelens.errors import InvariantError, RequestError
from moorelens.fsm.automata.codes import code_keys
from moorelens.fsm.automata.machine import BOT, MooreMachine
from moorelens.fsm.automata.traces import Traces

Rows = list[dict[int, tuple[int, ...]]]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The shortest word on which two machines differ; `symbols` are ids of the first.

    `expected` is the action the first emits at its end, `found` that of the second; None where it has no transition.
    """

    symbols: tuple[int, ...]
    expected: int
    found: int | None


@dataclass(frozen=True, kw_only=True)
class Replay:
    """How many recorded steps a machine reproduces; `first` is the (episode, step) where it first fails, or None.

    After a failure the rest of its episode counts as not reproduced.
    """

    steps: int
    agreed: int
    first: tuple[int, int] | None

    @property
    def share(self) -> float:
        """Share of steps reproduced; 1 where there are none."""
        return self.agreed / self.steps if self.steps else 1.0


def distinguishing_word(original: MooreMachine, other: MooreMachine) -> Difference | None:
    """Return the shortest word defined in `original` on which `other` is undefined or emits another action, or None.

    Symbols are matched by code, actions by name; an action of BOT in `original` allows any. Where `original` has a
    conflict, each of its runs must be possible in `other`. Ties go to the smaller symbols. Product walk, O(E) pairs for
    machines without conflicts.
    """
    rows, other_rows = _rows(original), _translated_rows(original, other)
    names = [other.action_names.index(a) if a in other.action_names else None for a in original.action_names]
    root = (original.start, frozenset([other.start]))
    reached: dict[tuple[int, frozenset[int]], tuple[tuple[int, frozenset[int]], int] | None] = {root: None}
    queue = deque([root])
    while queue:
        pair = queue.popleft()
        state, others = pair
        for symbol, targets in rows[state].items():
            ends = {t for s in others for t in other_rows[s].get(symbol, ())}
            for target in targets:
                action = int(original.actions[target])
                wanted = BOT if action == BOT else names[action]
                fit = frozenset(t for t in ends if BOT in (action, other.actions[t]) or other.actions[t] == wanted)
                if not fit:
                    found = None if not ends else int(other.actions[min(ends)])
                    return Difference(symbols=_word(reached, pair, symbol), expected=action, found=found)
                if (target, fit) not in reached:
                    reached[target, fit] = (pair, symbol)
                    queue.append((target, fit))
    return None


def equivalent(first: MooreMachine, second: MooreMachine) -> bool:
    """Say whether two machines are defined on the same words and emit the same actions on them."""
    return distinguishing_word(first, second) is None and distinguishing_word(second, first) is None


def replay(machine: MooreMachine, traces: Traces) -> Replay:
    """Run `machine` along recorded symbols and compare its actions with the recorded ones; O(steps).

    The traces name symbols and actions of this machine. At a conflict every successor is followed, and the step is
    reproduced if one of them emits the recorded action. Raises RequestError where the traces name unknown symbols.
    """
    if traces.n_steps and (traces.symbols.min() < 0 or traces.symbols.max() >= machine.n_symbols):
        raise RequestError(
            f"Traces may only name the {machine.n_symbols} symbols of the machine; they were recorded with another one."
        )
    rows, actions = _rows(machine), machine.actions.tolist()
    symbols, recorded, offsets = traces.symbols.tolist(), traces.actions.tolist(), traces.offsets.tolist()
    agreed, first = 0, None
    for episode in range(traces.n_episodes):
        at: tuple[int, ...] = (machine.start,)
        for step in range(offsets[episode], offsets[episode + 1]):
            symbol, action = symbols[step], recorded[step]
            if len(at) == 1:
                at = tuple(t for t in rows[at[0]].get(symbol, ()) if actions[t] in (action, BOT))
            else:
                at = tuple({t for s in at for t in rows[s].get(symbol, ()) if actions[t] in (action, BOT)})
            if not at:
                first = first or (episode, step - offsets[episode])
                break
            agreed += 1
    return Replay(steps=traces.n_steps, agreed=agreed, first=first)


def require_same_words(original: MooreMachine, smaller: MooreMachine, *, traces: Traces | None = None) -> None:
    """Raise InvariantError unless `smaller` keeps all words of `original` with their actions, and its `traces`."""
    difference = distinguishing_word(original, smaller)
    if difference is not None:
        raise InvariantError(
            f"A smaller machine must keep every word, but on {list(difference.symbols)} it emits {difference.found} "
            f"instead of {difference.expected}; this is a bug in MooreLens, please report it with the machine file."
        )
    if traces is not None:
        result = replay(smaller, traces)
        if result.first is not None:
            raise InvariantError(
                f"A machine must reproduce its own traces, but fails at step {result.first[1]} of episode "
                f"{result.first[0]}; the traces belong to another machine, or this is a bug in MooreLens."
            )


def _rows(machine: MooreMachine) -> Rows:
    rows: Rows = [{} for _ in machine.actions]
    columns = (machine.sources, machine.symbols, machine.targets)
    for source, symbol, target in zip(*(c.tolist() for c in columns), strict=True):
        row = rows[source]
        row[symbol] = (*row[symbol], target) if symbol in row else (target,)
    return rows


def _translated_rows(original: MooreMachine, other: MooreMachine) -> Rows:
    """Return the rows of `other` by the symbol ids of `original`; symbols that it does not know are left out."""
    known = {code: symbol for symbol, code in enumerate(code_keys(original.symbol_codes))}
    translation = [known.get(code) for code in code_keys(other.symbol_codes)]
    if original.symbol_codes.shape[1] != other.symbol_codes.shape[1]:
        translation = [None] * other.n_symbols
    return [{t: ends for o, ends in row.items() if (t := translation[o]) is not None} for row in _rows(other)]


def _word(
    reached: dict[tuple[int, frozenset[int]], tuple[tuple[int, frozenset[int]], int] | None],
    pair: tuple[int, frozenset[int]],
    last: int,
) -> tuple[int, ...]:
    word = [last]
    step = reached[pair]
    while step is not None:
        pair, symbol = step
        word.append(symbol)
        step = reached[pair]
    return tuple(reversed(word))
