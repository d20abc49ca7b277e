"""The way from the machine as extracted to its reduced form, step by step: a picture of each, and what it merged.

Letters: S machine states, O symbols, M macro-states.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.reduced import ReducedMachine, Step, macro_of
from moorelens.fsm.automata.reductions import reduce
from moorelens.fsm.drawing import Drawing, draw_graph, draw_reduced
from moorelens.fsm.drawing_graph import DrawnGraph, DrawnNode, Transition, merge_transitions
from moorelens.fsm.drawing_sources import graph_of_reduced
from moorelens.pipelines.pictures import Machines, macro_rules
from moorelens.reports.data import Merge, ReductionStep

STEP_WORDS = {
    "machine": ("As extracted", "states and symbols are distinct codes"),
    "trim": ("Trim", "drops what is never reached"),
    "bisimulation": ("Merge", "joins non-decision states that no word tells apart"),
    "edges": ("Join edges", "parallel transitions become one edge"),
    "classes": ("Join symbols", "symbols that lead to the same states everywhere"),
    "chains": ("Join chains", "states always passed in turn become one with a word"),
    "loops": ("Join loops", "closed cycles become one state"),
    "tags": ("Tag", "marks what comes before the first cycle"),
}
_MERGES_SHOWN = 40
_PARTS_SHOWN = 24
SKELETON_ABOVE = 40  # drawn states from which on a picture of the decisions alone is worth having
_SKELETON_STATES = 30

Ids = npt.NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The machine after one step of the reduction."""

    step: str
    reduced: ReducedMachine


def stages(machines: Machines, history: Sequence[Mapping[str, Any]]) -> tuple[Stage, ...]:
    """Return the machine after each step that was taken, the last one as it was stored."""
    steps = [cast(Step, entry["step"]) for entry in history if entry["step"] != "machine"]
    mode = machines.reduced.mode
    between = [
        Stage(step=step, reduced=reduce(machines.machine, steps=steps[: place + 1], mode=mode).reduced)
        for place, step in enumerate(steps[:-1])
    ]
    return (*between, Stage(step=steps[-1], reduced=machines.reduced)) if steps else ()


def stage_drawings(
    machines: Machines, taken: Sequence[Stage], *, texts: Mapping[tuple[int, int], str], final: Drawing, first: Drawing
) -> tuple[dict[str, Drawing], dict[str, str]]:
    """Return a drawing for each step that changes the picture, by step, and which view shows which step.

    `first` and `final` are the drawings of the machine as extracted and reduced, the views `machine` and `reduced`.
    """
    drawn: dict[str, Drawing] = {}
    shown = {"machine": "machine"}
    end = _picture(final)
    current, view = _picture(first), "machine"
    for number, stage in enumerate(taken):
        drawing = draw_reduced(
            stage.reduced,
            title=f"After {STEP_WORDS[stage.step][0].lower()}",
            rules=macro_rules(texts, stage.reduced),
            styles=final.styles,
            legend=False,
            prefix=f"t{number}-",
        )
        if _picture(drawing) == end:
            current, view = end, "reduced"
        elif _picture(drawing) != current:
            current, view = _picture(drawing), stage.step
            drawn[stage.step] = drawing
        shown[stage.step] = view
    return drawn, shown


def _picture(drawing: Drawing) -> tuple[object, ...]:
    """Return what two drawings of one machine share where they look alike."""
    nodes = {node.node: node.members for node in drawing.graph.nodes}
    edges = sorted((nodes.get(edge.source, ()), nodes.get(edge.target, ())) for edge in drawing.graph.edges)
    return tuple(sorted(nodes.values())), tuple(edges)


def reduction_steps(
    machines: Machines,
    taken: Sequence[Stage],
    *,
    history: Sequence[Mapping[str, Any]],
    shown: Mapping[str, str],
    decisions: int | None,
) -> tuple[ReductionStep, ...]:
    """Return the sizes on the way, with what each step merged."""
    merges: dict[str, list[Merge]] = {}
    groups: list[tuple[int, ...]] = [(state,) for state in range(len(machines.machine.actions))]
    for stage in taken:
        after = _groups(stage.reduced)
        merges[stage.step] = _merged(stage, groups, after, machine=machines.machine)
        groups = after
    return tuple(
        ReductionStep(
            key=entry["step"],
            title=STEP_WORDS[entry["step"]][0],
            states=entry["states"],
            symbols=entry["symbols"],
            edges=entry["edges"],
            decisions=decisions,
            merged=STEP_WORDS[entry["step"]][1],
            view=shown.get(entry["step"]),
            merges=tuple(merges.get(entry["step"], ())[:_MERGES_SHOWN]),
            merge_total=len(merges.get(entry["step"], ())),
        )
        for entry in history
    )


def _groups(reduced: ReducedMachine) -> list[tuple[int, ...]]:
    """Return the machine states of each macro-state, in the order of its word."""
    macros = macro_of(reduced)
    order = np.argsort(reduced.state_map, kind="stable")
    found: list[list[int]] = [[] for _ in range(reduced.n_macros)]
    for state in order.tolist():
        place = int(reduced.state_map[state])
        if place >= 0:
            found[int(macros[place])].append(state)
    return [tuple(states) for states in found]


def _merged(
    stage: Stage, before: list[tuple[int, ...]], after: list[tuple[int, ...]], *, machine: MooreMachine
) -> list[Merge]:
    if stage.step == "trim":
        kept = {state for group in after for state in group}
        dropped = [state for group in before for state in group if state not in kept]
        return [Merge(into="dropped", parts=_names("S", dropped))] if dropped else []
    if stage.step == "edges":
        return _parallel(machine)
    if stage.step == "classes":
        return _symbol_classes(stage.reduced.symbol_classes)
    earlier = {state: group for group in before for state in group}
    found = [
        Merge(into=f"M{macro}", parts=_names("S", group))
        for macro, group in enumerate(after)
        if group and len(earlier[group[0]]) < len(group)
    ]
    return sorted(found, key=lambda merge: -len(merge.parts))


def _names(letter: str, numbers: Iterable[int]) -> tuple[str, ...]:
    names = [f"{letter}{number}" for number in numbers]
    more = len(names) - _PARTS_SHOWN
    return (*names[:_PARTS_SHOWN], f"and {more} more") if more > 0 else tuple(names)


def _parallel(machine: MooreMachine) -> list[Merge]:
    found: dict[tuple[int, int], list[int]] = defaultdict(list)
    for source, symbol, target in zip(
        machine.sources.tolist(), machine.symbols.tolist(), machine.targets.tolist(), strict=True
    ):
        found[source, target].append(symbol)
    many = sorted(((pair, symbols) for pair, symbols in found.items() if len(symbols) > 1), key=lambda it: -len(it[1]))
    return [
        Merge(into=f"{'start' if a == machine.start else f'S{a}'} \u2192 S{b}", parts=_names("o", symbols))
        for (a, b), symbols in many
    ]


def _symbol_classes(classes: Ids) -> list[Merge]:
    found: dict[int, list[int]] = defaultdict(list)
    for symbol, number in enumerate(classes.tolist()):
        found[number].append(symbol)
    many = sorted((symbols for symbols in found.values() if len(symbols) > 1), key=lambda symbols: -len(symbols))
    return [Merge(into=f"o{symbols[0]}", parts=_names("o", symbols)) for symbols in many]


def skeleton(machines: Machines, *, bits: Mapping[int, float], like: Drawing) -> Drawing | None:
    """Return the decisions alone: an arrow leads from one to the next that is reached, whatever lies between.

    `bits`: how much is decided, by machine state. None where the reduced machine is small, or decides nowhere.
    """
    reduced = machines.reduced
    if reduced.n_macros <= SKELETON_ABOVE:
        return None
    graph, _ = graph_of_reduced(reduced, prefix="k-")
    weight = {node.node: sum(bits.get(member, 0.0) for member in node.members) for node in graph.nodes}
    deciding = [node for node in graph.nodes if node.decision]
    kept = sorted(deciding, key=lambda node: (-weight[node.node], node.node))[:_SKELETON_STATES]
    if len(kept) < 2:
        return None
    nodes = tuple(node for node in graph.nodes if node in kept)
    edges = merge_transitions(_between(machines, nodes, start="k-start"), prefix="k-")
    lean = DrawnGraph(nodes=nodes, edges=edges, start="k-start", steps=sum(edge.count for edge in edges))
    drawing = draw_graph(lean, title="Decision skeleton", styles=like.styles, detail="plain", legend=False, prefix="k-")
    words = "all" if len(kept) == len(deciding) else f"the {len(kept)} heaviest of {len(deciding)}"
    caption = (
        f"Decision skeleton: {words} decision points. An arrow leads to the one that is reached next, "
        "whatever lies between; its width is how often."
    )
    return Drawing(
        dot=drawing.dot, caption=caption, alt=drawing.alt, detail="plain", graph=drawing.graph, styles=drawing.styles
    )


def heads(reduced: ReducedMachine) -> frozenset[int]:
    """Return the machine states at which a macro-state is entered; the silent start heads none that is drawn."""
    firsts = reduced.offsets[:-1].copy()
    firsts[reduced.start] += 1
    return frozenset(np.flatnonzero(np.isin(reduced.state_map, firsts)).tolist())


def _between(machines: Machines, nodes: Sequence[DrawnNode], *, start: str) -> Iterable[Transition]:
    """Yield how episodes go from one of `nodes` to the next, with the symbol on which they left."""
    traces, reduced = machines.traces, machines.reduced
    table = np.full(len(machines.machine.actions), -1, dtype=np.int64)
    entered = heads(reduced)
    for place, node in enumerate(nodes):
        table[[member for member in node.members if member in entered]] = place
    lengths = np.diff(reduced.offsets)[macro_of(reduced)[np.maximum(reduced.state_map, 0)]]
    counts: dict[tuple[str, str, int], int] = defaultdict(int)
    for low, high in zip(traces.offsets[:-1].tolist(), traces.offsets[1:].tolist(), strict=True):
        here = table[traces.states[low:high]]
        source, left = start, low
        for visit in np.flatnonzero(here >= 0).tolist():
            target = nodes[int(here[visit])].node
            counts[source, target, int(traces.symbols[left])] += 1
            source = target
            left = min(low + visit + int(lengths[traces.states[low + visit]]), high - 1)
    for (source, target, symbol), count in counts.items():
        yield Transition(source=source, target=target, symbol=symbol, count=count)
