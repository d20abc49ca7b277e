"""Which state of one machine is which state of another: by code, by the words that lead there, or by shape."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

from moorelens.errors import OptionError
from moorelens.fsm.automata.codes import code_keys
from moorelens.fsm.automata.machine import BOT, Codes, MooreMachine

Match = Literal["code", "word", "shape"]
PairsOf = Callable[[int, int], list[tuple[int, int]]]


def choose_match(first: MooreMachine, second: MooreMachine) -> Match:
    """Return how two machines can be compared: what their codes allow.

    Equal `meta["quantiser"]` facts mean equal codes, different ones mean that codes cannot be compared (`shape`). Where
    a machine does not say, codes are taken to be the same if at least half of the smaller set is in both: `code` if
    that holds for states and symbols, `word` if only for symbols, else `shape`.
    """
    facts = [machine.meta.get("quantiser") for machine in (first, second)]
    if None not in facts:
        return "code" if facts[0] == facts[1] else "shape"
    if not _overlap(first.symbol_codes, second.symbol_codes):
        return "shape"
    return "code" if _overlap(first.state_codes, second.state_codes) else "word"


def match_symbols(first: MooreMachine, second: MooreMachine, *, match: Match) -> dict[int, int]:
    """Return the symbols of `second` by the symbols of `first` that have the same code; none when matching by shape."""
    if match == "shape" or first.symbol_codes.shape[1] != second.symbol_codes.shape[1]:
        return {}
    there = {key: symbol for symbol, key in enumerate(code_keys(second.symbol_codes))}
    return {symbol: there[key] for symbol, key in enumerate(code_keys(first.symbol_codes)) if key in there}


def match_states(first: MooreMachine, second: MooreMachine, *, match: Match) -> dict[int, int]:
    """Return the state of `second` for each matched state of `first`, one to one; the starts always match.

    `code`: equal codes, in order of ids where several states share one. `word`: walk both machines by the symbols they
    share, breadth first; a state is matched by the first word that leads to it and to a state not matched yet. `shape`:
    walk both breadth first and pair the successors of paired states, those with the same action first, the more often
    taken before the others; a guess, for machines whose codes mean different things.
    """
    if match == "code":
        return _by_code(first, second)
    if match == "word":
        return _by_walk(first, second, _word_pairs(first, second))
    if match == "shape":
        return _by_walk(first, second, _shape_pairs(first, second))
    raise OptionError(f"Machines are matched by code, word or shape, but not by {match!r}.")


def _overlap(first: Codes, second: Codes) -> bool:
    if first.shape[1] != second.shape[1]:
        return False
    one, two = set(code_keys(first)), set(code_keys(second))
    return 2 * len(one & two) >= min(len(one), len(two))


def _by_code(first: MooreMachine, second: MooreMachine) -> dict[int, int]:
    pairs = {first.start: second.start}
    if first.state_codes.shape[1] != second.state_codes.shape[1]:
        return pairs
    there: dict[bytes, deque[int]] = {}
    for state, key in enumerate(code_keys(second.state_codes)):
        if state != second.start:
            there.setdefault(key, deque()).append(state)
    for state, key in enumerate(code_keys(first.state_codes)):
        if state != first.start and there.get(key):
            pairs[state] = there[key].popleft()
    return pairs


def _by_walk(first: MooreMachine, second: MooreMachine, pairs_of: PairsOf) -> dict[int, int]:
    """Pair states breadth first from the starts; a state that is paired already stays with its partner."""
    pairs = {first.start: second.start}
    taken = {second.start}
    queue = deque([(first.start, second.start)])
    while queue:
        for one, two in pairs_of(*queue.popleft()):
            if one not in pairs and two not in taken:
                pairs[one] = two
                taken.add(two)
                queue.append((one, two))
    return pairs


def _word_pairs(first: MooreMachine, second: MooreMachine) -> PairsOf:
    """Pair the successors that one shared symbol leads to."""
    symbols = match_symbols(first, second, match="word")
    rows, other_rows = rows_by_symbol(first), rows_by_symbol(second)

    def pairs_of(one: int, two: int) -> list[tuple[int, int]]:
        here, there = rows[one], other_rows[two]
        shared = [(ends, there[symbols[o]]) for o, ends in here.items() if symbols.get(o) in there]
        return [pair for ends, others in shared for pair in zip(ends, others, strict=False)]

    return pairs_of


def _shape_pairs(first: MooreMachine, second: MooreMachine) -> PairsOf:
    """Pair successors with the same action, the more often taken first, then what is left over."""
    taken, other_taken = _taken(first), _taken(second)

    def pairs_of(one: int, two: int) -> list[tuple[int, int]]:
        here, there = (_by_action(first, taken[one]), _by_action(second, other_taken[two]))
        pairs = [pair for a in here if a in there for pair in zip(here[a], there[a], strict=False)]
        paired = {t for t, _ in pairs}, {t for _, t in pairs}
        rest = [t for ends in here.values() for t in ends if t not in paired[0]]
        other_rest = [t for ends in there.values() for t in ends if t not in paired[1]]
        return pairs + list(zip(rest, other_rest, strict=False))

    return pairs_of


def rows_by_symbol(machine: MooreMachine) -> list[dict[int, list[int]]]:
    """Return the successors of each state by symbol, several where there is a conflict."""
    rows: list[dict[int, list[int]]] = [{} for _ in machine.actions]
    columns = (machine.sources, machine.symbols, machine.targets)
    for source, symbol, target in zip(*(c.tolist() for c in columns), strict=True):
        rows[source].setdefault(symbol, []).append(target)
    return rows


def _taken(machine: MooreMachine) -> list[dict[int, int]]:
    """Return for each state how often it led to each of its successors, the most frequent first."""
    rows: list[dict[int, int]] = [{} for _ in machine.actions]
    columns = (machine.sources, machine.targets, machine.counts)
    for source, target, count in zip(*(c.tolist() for c in columns), strict=True):
        rows[source][target] = rows[source].get(target, 0) + count
    return [dict(sorted(row.items(), key=lambda end: (-end[1], end[0]))) for row in rows]


def _by_action(machine: MooreMachine, targets: dict[int, int]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for target in targets:
        groups.setdefault(action_name(machine, target), []).append(target)
    return groups


def action_name(machine: MooreMachine, state: int) -> str:
    """Return the name of the action a state emits, "-" for none."""
    action = int(machine.actions[state])
    return "-" if action == BOT else machine.action_names[action]
