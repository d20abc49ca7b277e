"""Machines and reduced machines as graphs to be drawn: recorded transitions only, one node per state or macro-state.

Letters: S states, M macro-states, E transitions.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from moorelens.fsm.automata.machine import BOT, NETWORK, MooreMachine
from moorelens.fsm.automata.reduced import ReducedMachine, word_of
from moorelens.fsm.drawing_graph import DrawnGraph, DrawnNode, Transition, merge_transitions

_RUNS_SHOWN = 4


def graph_of_machine(
    machine: MooreMachine,
    *,
    decisions: Collection[int] | None = None,
    rules: Mapping[tuple[int, int], str] | None = None,
    prefix: str = "",
    letter: str = "S",
) -> tuple[DrawnGraph, int]:
    """Return the machine as a graph of its recorded transitions, and how many unrecorded ones it leaves out.

    `letter` stands before the number of a state: those of a machine made from another are called otherwise beside it.
    """
    steps = int(machine.counts.sum())
    marked = structural_decisions(machine) if decisions is None else frozenset(decisions)
    nodes = tuple(
        _state_node(machine, state, steps=steps, decision=state in marked, prefix=prefix, letter=letter)
        for state in range(len(machine.actions))
        if state != machine.start
    )
    names = {state: f"{prefix}start" if state == machine.start else f"{prefix}s{state}" for state in _all(machine)}
    edges = merge_transitions(_transitions(machine, names=names), prefix=prefix, rules=_named_rules(rules, names))
    start = f"{prefix}start" if any(edge.source == f"{prefix}start" for edge in edges) else None
    unrecorded = int(np.sum(machine.origins == NETWORK))
    return DrawnGraph(nodes=nodes, edges=edges, start=start, steps=steps), unrecorded


def graph_of_reduced(
    reduced: ReducedMachine,
    *,
    decisions: Collection[int] | None = None,
    rules: Mapping[tuple[int, int], str] | None = None,
    prefix: str = "",
) -> tuple[DrawnGraph, int]:
    """Return the reduced machine as a graph, and how many unrecorded transitions it leaves out.

    The silent start is drawn apart even where it heads a chain; symbols of one class count as one, named by the first.
    """
    steps = int(reduced.counts.sum() + reduced.step_counts.sum())
    marked = structural_decisions(reduced) if decisions is None else frozenset(decisions)
    silent_only = _start_is_alone(reduced)
    macros = [m for m in range(reduced.n_macros) if not (silent_only and m == reduced.start)]
    names = {m: f"{prefix}m{m}" for m in macros} | ({reduced.start: f"{prefix}start"} if silent_only else {})
    nodes = tuple(
        _macro_node(reduced, m, node=names[m], steps=steps, decision=m in marked, prefix=prefix) for m in macros
    )
    transitions = [
        *_entry(reduced, names=names, prefix=prefix),
        *_transitions(reduced, names=names, aliases=_first_of_class(reduced)),
    ]
    edges = merge_transitions(transitions, prefix=prefix, rules=_named_rules(rules, names))
    start = f"{prefix}start" if any(edge.source == f"{prefix}start" for edge in edges) else None
    unrecorded = int(np.sum(reduced.origins == NETWORK) + np.sum(reduced.step_origins == NETWORK))
    return DrawnGraph(nodes=nodes, edges=edges, start=start, steps=steps), unrecorded


def structural_decisions(machine: MooreMachine | ReducedMachine) -> frozenset[int]:
    """Return the (macro-)states with two or more recorded successors over symbols that always lead to one.

    Structural decision points of spec-fsm 6.2; a symbol with two successors is a stochastic branch and decides nothing.
    """
    stochastic = _conflicts(machine)
    successors: dict[int, set[int]] = {}
    for source, symbol, target, _ in _recorded(machine):
        if (source, symbol) not in stochastic and not _is_silent(machine, source):
            successors.setdefault(source, set()).add(target)
    return frozenset(source for source, targets in successors.items() if len(targets) > 1)


def word_text(runs: Sequence[tuple[int, int]], action_names: Sequence[str], *, loop: bool = False) -> str:
    """Return a word as run lengths, `left ×3, right`; at most four runs, then how many steps are not shown."""
    words = [
        (action_names[action] if action != BOT else "no action") + (f" \u00d7{length}" if length > 1 else "")
        for action, length in runs[:_RUNS_SHOWN]
    ]
    hidden = sum(length for _, length in runs[_RUNS_SHOWN:])
    text = ", ".join(words) + (f", \u2026 (+{hidden})" if hidden else "")
    return f"\u21bb {text}" if loop else text


def _all(machine: MooreMachine) -> range:
    return range(len(machine.actions))


def _named_rules(rules: Mapping[tuple[int, int], str] | None, names: Mapping[int, str]) -> dict[tuple[str, str], str]:
    return {(names[a], names[b]): text for (a, b), text in (rules or {}).items()}


def _is_silent(machine: MooreMachine | ReducedMachine, source: int) -> bool:
    alone = isinstance(machine, MooreMachine) or _start_is_alone(machine)
    return alone and source == machine.start


def _start_is_alone(reduced: ReducedMachine) -> bool:
    return int(reduced.offsets[reduced.start + 1] - reduced.offsets[reduced.start]) == 1


def _recorded(machine: MooreMachine | ReducedMachine) -> Iterable[tuple[int, int, int, int]]:
    kept = machine.origins != NETWORK
    columns = (machine.sources, machine.symbols, machine.targets, machine.counts)
    return zip(*(column[kept].tolist() for column in columns), strict=True)


def _conflicts(machine: MooreMachine | ReducedMachine) -> set[tuple[int, int]]:
    pairs = [(source, symbol) for source, symbol, _, _ in _recorded(machine)]
    return {first for first, second in itertools.pairwise(pairs) if first == second}


def _transitions(
    machine: MooreMachine | ReducedMachine, *, names: Mapping[int, str], aliases: Mapping[int, int] | None = None
) -> list[Transition]:
    stochastic = _conflicts(machine)
    return [
        Transition(
            source=names[source],
            target=names[target],
            symbol=symbol if aliases is None else aliases[symbol],
            count=count,
            stochastic=(source, symbol) in stochastic,
        )
        for source, symbol, target, count in _recorded(machine)
    ]


def _first_of_class(reduced: ReducedMachine) -> dict[int, int]:
    _, first, inverse = np.unique(reduced.symbol_classes, return_index=True, return_inverse=True)
    return dict(enumerate(first[inverse].tolist()))


def _entry(reduced: ReducedMachine, *, names: Mapping[int, str], prefix: str) -> list[Transition]:
    """Return how episodes enter a start that is more than the silent start: the first labels inside its chain."""
    if _start_is_alone(reduced):
        return []
    first = np.flatnonzero((reduced.step_places == reduced.offsets[reduced.start]) & (reduced.step_origins != NETWORK))
    aliases = _first_of_class(reduced)
    return [
        Transition(
            source=f"{prefix}start",
            target=names[reduced.start],
            symbol=aliases[int(reduced.step_symbols[place])],
            count=int(reduced.step_counts[place]),
        )
        for place in first
    ]


def _state_node(
    machine: MooreMachine, state: int, *, steps: int, decision: bool, prefix: str, letter: str
) -> DrawnNode:
    action = int(machine.actions[state])
    visits = int(machine.visits[state])
    return DrawnNode(
        node=f"{prefix}s{state}",
        label=f"{letter}{state}",
        word=word_text([(action, 1)], machine.action_names),
        action=None if action == BOT else action,
        visits=visits,
        share=visits / steps if steps else 0.0,
        members=(state,),
        actions=() if action == BOT else (action,),
        decision=decision,
        terminal=bool(machine.terminals[state] > 0),
    )


def _members(reduced: ReducedMachine, low: int, high: int) -> tuple[int, ...]:
    """Return the machine states at the positions `low:high`, in their order; merged ones stand at one position."""
    places = reduced.state_map
    inside = np.flatnonzero((places >= low) & (places < high))
    return tuple(inside[np.argsort(places[inside], kind="stable")].tolist())


def _macro_node(
    reduced: ReducedMachine, macro: int, *, node: str, steps: int, decision: bool, prefix: str
) -> DrawnNode:
    silent = int(macro == reduced.start)
    low, high = int(reduced.offsets[macro]) + silent, int(reduced.offsets[macro + 1])
    runs = word_of(reduced, macro)
    visits = int(reduced.visits[low:high].sum())
    actions = tuple(dict.fromkeys(action for action, _ in runs if action != BOT))
    return DrawnNode(
        node=node,
        label=f"M{macro}",
        word=word_text(runs, reduced.action_names, loop=bool(reduced.loops[macro])),
        action=actions[0] if actions else None,
        visits=visits,
        share=visits / steps if steps else 0.0,
        members=_members(reduced, low, high),
        actions=tuple(sorted(actions)),
        decision=decision,
        terminal=bool(reduced.terminals[low:high].sum() > 0),
    )
