"""The difference of two machines as text, JSON and a drawing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from moorelens.fsm.automata.difference import ChangedDecision, MachineDifference
from moorelens.fsm.automata.equivalence import Difference
from moorelens.fsm.automata.exchange.dot_text import attributes, quoted
from moorelens.fsm.automata.machine import BOT, MooreMachine
from moorelens.fsm.automata.matching import action_name
from moorelens.fsm.automata.structure import distinct_pairs

# How many ids a line of text lists before it only counts.
LISTED = 12
MATCHES = {
    "code": "states with equal codes",
    "word": "states that the same words lead to",
    "shape": "states at the same place in the graph; their codes and symbols mean different things",
}
LOOKS: Mapping[str, Mapping[str, str]] = {
    "same": {"color": "gray50"},
    "vanished": {"color": "firebrick", "style": "rounded,dashed"},
    "appeared": {"color": "forestgreen", "style": "rounded,bold"},
    "changed": {"color": "darkorange", "style": "rounded,bold"},
}


def difference_text(difference: MachineDifference, first: MooreMachine, second: MooreMachine) -> str:
    """Return the difference in lines a person reads, a first line that sums it up."""
    if difference.empty:
        return f"No difference: {first.n_states} states and {first.n_symbols} symbols agree.\n"
    crossed = difference.redirected or difference.changed
    same = sum(1 for s, t in difference.pairs if s != first.start and t != second.start)
    lines = [
        f"{first.n_states} states became {second.n_states}; {same} are matched ({MATCHES[difference.match]}).",
        *(["Before an arrow stand names of the first machine, after it those of the second."] if crossed else []),
        *_listed("states vanished", [_state(first, s) for s in difference.vanished]),
        *_listed("states appeared", [_state(second, s) for s in difference.appeared]),
        *_listed(
            "states changed action",
            [f"{_state(first, s)} -> {_state(second, t)}" for s, t in difference.changed],
        ),
        *_listed("symbols vanished", [_letter(o) for o in difference.symbols_vanished]),
        *_listed("symbols appeared", [_letter(o) for o in difference.symbols_appeared]),
        *_listed("transitions lead elsewhere", [_redirected_text(r) for r in difference.redirected]),
        *_listed("transitions lost", [_pair(p, difference) for p in difference.lost]),
        *_listed("transitions gained", [_pair(p, difference) for p in difference.gained]),
        *_decision_texts(difference.decisions),
        *_words(difference, first, second),
    ]
    return "\n".join(lines) + "\n"


def difference_document(difference: MachineDifference, first: MooreMachine, second: MooreMachine) -> dict[str, Any]:
    """Return the difference as a JSON-able document; ids are those of the machine the key names."""
    return {
        "empty": difference.empty,
        "match": difference.match,
        "states": {
            "first": first.n_states,
            "second": second.n_states,
            "matched": [list(pair) for pair in difference.pairs],
            "vanished": list(difference.vanished),
            "appeared": list(difference.appeared),
            "changed_action": [
                {"first": s, "second": t, "before": action_name(first, s), "after": action_name(second, t)}
                for s, t in difference.changed
            ],
        },
        "symbols": {"vanished": list(difference.symbols_vanished), "appeared": list(difference.symbols_appeared)},
        "transitions": {
            "redirected": [
                {"source": r.source, "symbol": r.symbol, "before": list(r.before), "after": list(r.after)}
                for r in difference.redirected
            ],
            "lost": [list(pair) for pair in difference.lost],
            "gained": [list(pair) for pair in difference.gained],
        },
        "decisions": [
            {"change": d.change, "first": d.first, "second": d.second, "before": list(d.before), "after": list(d.after)}
            for d in difference.decisions
        ],
        "words": {
            "first": _word_document(difference.first_word, first, second),
            "second": _word_document(difference.second_word, second, first),
        },
    }


def difference_dot(
    difference: MachineDifference,
    first: MooreMachine,
    second: MooreMachine,
    *,
    names: tuple[str, str] = ("the first machine", "the second machine"),
) -> str:
    """Return both machines as one DOT graph: grey what stayed, dashed what vanished, bold what appeared or changed.

    Nodes carry a mark besides their colour: minus, plus, or both actions. `names`: what the legend calls the two.
    """
    partner = dict(difference.pairs)
    nodes = {("a", s): (_both(first, s, second, t), "same") for s, t in difference.pairs}
    nodes |= {("a", s): (_both(first, s, second, t), "changed") for s, t in difference.changed}
    nodes |= {("a", s): (f"- {_state(first, s)}", "vanished") for s in difference.vanished}
    nodes |= {("b", t): (f"+ {_state(second, t)}", "appeared") for t in difference.appeared}
    home = {("a", s): ("a", s) for s in range(len(first.actions))}
    home |= {("b", t): ("a", s) for s, t in partner.items()} | {("b", t): ("b", t) for t in difference.appeared}
    edges = {side: _drawn_edges(machine, side, home) for side, machine in (("a", first), ("b", second))}
    lines = ["digraph difference {", '  node [shape="box", style="rounded", fontname="sans"];', "  rankdir=LR;"]
    look = attributes(labelloc="b", fontname="sans", fontsize="11")
    lines.append(f"  graph [{look}, label={_legend(difference, *names)}];")
    lines += [
        f"  {quoted(side + str(s))} [{attributes(label=text, **LOOKS[look])}];"
        for (side, s), (text, look) in nodes.items()
    ]
    for edge in sorted(edges["a"] | edges["b"]):
        look = "same" if edge in edges["a"] & edges["b"] else "vanished" if edge in edges["a"] else "appeared"
        tail, head = (quoted(side + str(s)) for side, s in edge)
        lines.append(f"  {tail} -> {head} [{attributes(**LOOKS[look])}];")
    return "\n".join([*lines, "}"]) + "\n"


def _legend(difference: MachineDifference, first: str, second: str) -> str:
    """Return, quoted, what names, marks and colours mean, with one of the drawn pairs as the example."""
    renamed = [(_named(s), _named(t)) for s, t in difference.pairs if s != t]
    lines = [f"{s} = {t}: {s} of {first} is {t} of {second}" for s, t in renamed[:1]]
    lines.append(f"grey: in both   - dashed red: only in {first}   + bold green: only in {second}")
    if difference.changed:
        lines.append(f"orange: what {first} does -> what {second} does")
    # A line break is written between what is quoted, because inside it would be drawn as a backslash.
    return '"' + "\\n".join(quoted(line)[1:-1] for line in lines) + '"'


def _drawn_edges(
    machine: MooreMachine, side: str, home: Mapping[tuple[str, int], tuple[str, int]]
) -> set[tuple[tuple[str, int], tuple[str, int]]]:
    sources, targets = distinct_pairs(machine.sources, machine.targets)
    return {(home[side, s], home[side, t]) for s, t in zip(sources.tolist(), targets.tolist(), strict=True)}


def _state(machine: MooreMachine, state: int) -> str:
    return f"{_named(state)} ({'start' if state == machine.start else action_name(machine, state)})"


def _both(first: MooreMachine, state: int, second: MooreMachine, partner: int) -> str:
    before, after = action_name(first, state), action_name(second, partner)
    name = _named(state) if state == partner else f"{_named(state)} = {_named(partner)}"
    if state == first.start:
        return f"{name}: start"
    return f"{name}: {before}" if before == after else f"{name}: {before} -> {after}"


def _listed(what: str, items: list[str]) -> Iterable[str]:
    if not items:
        return []
    more = f" and {len(items) - LISTED} more" if len(items) > LISTED else ""
    words = what.replace("transitions lead ", "transitions leads ").replace("s ", " ", 1) if len(items) == 1 else what
    return [f"{len(items)} {words}: {', '.join(items[:LISTED])}{more}"]


def _redirected_text(change: Any) -> str:
    ends = (" or ".join(_named(t) for t in side) for side in (change.before, change.after))
    return f"{_named(change.source)} {_letter(change.symbol)}: {' -> '.join(ends)}"


def _pair(pair: tuple[int, int], difference: MachineDifference) -> str:
    end = _named(pair[1]) if difference.match == "shape" else _letter(pair[1])
    return f"{_named(pair[0])} {'-> ' if difference.match == 'shape' else ''}{end}"


def _decision_texts(decisions: Sequence[ChangedDecision]) -> Iterable[str]:
    yield from (_decision_text(decision) for decision in decisions[:LISTED])
    if len(decisions) > LISTED:
        yield f"and {len(decisions) - LISTED} more decisions that appear, vanish or change"


def _decision_text(decision: ChangedDecision) -> str:
    state = decision.first if decision.change != "appears" else decision.second
    sides = {"vanishes": decision.before, "appears": decision.after}
    actions = sides.get(decision.change)
    text = " or ".join(actions) if actions else f"{' or '.join(decision.before)} -> {' or '.join(decision.after)}"
    return f"decision at {_named(state or 0)} {decision.change}: {text}"


def _words(difference: MachineDifference, first: MooreMachine, second: MooreMachine) -> Iterable[str]:
    """Return the shortest words that tell the two apart; one word that does so from either side is told once."""
    mine, theirs = difference.first_word, difference.second_word
    if mine is not None:
        yield _word_text(mine, ("first", "second"), first, second)
    told_twice = mine is not None and theirs is not None and mine.symbols == _in_first(theirs, first, second)
    if theirs is not None and not (told_twice and mine is not None and mine.found is not None):
        yield _word_text(theirs, ("second", "first"), second, first)


def _in_first(word: Difference, first: MooreMachine, second: MooreMachine) -> tuple[int, ...]:
    """Return the symbols of a word of the second machine as the first one numbers them; -1 for one it does not know."""
    known = {tuple(code): symbol for symbol, code in enumerate(first.symbol_codes.tolist())}
    return tuple(known.get(tuple(second.symbol_codes[symbol].tolist()), -1) for symbol in word.symbols)


def _word_text(word: Difference, names: tuple[str, str], machine: MooreMachine, other: MooreMachine) -> str:
    letters = " ".join(_letter(o) for o in word.symbols)
    found = "is undefined" if word.found is None else f"does {_action(other, word.found)}"
    return f"after {letters} the {names[0]} does {_action(machine, word.expected)} and the {names[1]} {found}"


def _named(state: int) -> str:
    """Return the name of a state as drawings have it."""
    return f"S{state}"


def _letter(symbol: int) -> str:
    """Return the name of a symbol as drawings have it."""
    return f"o{symbol}"


def _word_document(word: Difference | None, machine: MooreMachine, other: MooreMachine) -> dict[str, Any] | None:
    if word is None:
        return None
    found = None if word.found is None else _action(other, word.found)
    return {"symbols": list(word.symbols), "expected": _action(machine, word.expected), "found": found}


def _action(machine: MooreMachine, action: int) -> str:
    return "nothing" if action == BOT else machine.action_names[action]
