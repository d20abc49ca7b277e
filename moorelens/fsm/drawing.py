"""Machines as pictures: DOT text, a caption that says what was left out, and the elements a report makes clickable."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.reduced import ReducedMachine
from moorelens.fsm.drawing_dot import FAINT_SHARE, DotOptions, percent, to_dot
from moorelens.fsm.drawing_graph import DrawnEdge, DrawnGraph, DrawnNode, fold_rest, keep_heaviest
from moorelens.fsm.drawing_sources import graph_of_machine, graph_of_reduced, structural_decisions
from moorelens.fsm.drawing_style import ActionStyle, action_styles

Detail = Literal["labels", "plain", "top"]

# Layout policy by size: edge labels up to 40 states, none up to 150, above that only the most visited states. On random
# graphs with labels, 30 states take 0.2 s and 60 states 45 s; without, 150 states and 200 edges take 0.5 s.
LABELLED_STATES = 40
LABELLED_EDGES = 120
PLAIN_STATES = 150
PLAIN_EDGES = 450
TOP_STATES = 60
TOP_EDGES = 220


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A machine ready to be laid out: hand `dot` to `moorelens.graphviz.render`; `graph` is what it shows."""

    dot: str
    caption: str
    alt: str
    detail: Detail
    graph: DrawnGraph
    styles: Mapping[int, ActionStyle]


@dataclass(frozen=True, kw_only=True)
class _Left:
    """What a drawing leaves out: states folded into one, edges and the steps on them, unrecorded transitions."""

    folded: int = 0
    edges: int = 0
    steps: int = 0
    unrecorded: int = 0


def draw_machine(
    machine: MooreMachine,
    *,
    title: str = "Machine",
    decisions: Collection[int] | None = None,
    rules: Mapping[tuple[int, int], str] | None = None,
    styles: Mapping[int, ActionStyle] | None = None,
    detail: Detail | None = None,
    legend: bool = True,
    horizontal: bool = False,
    prefix: str = "",
    letter: str = "S",
) -> Drawing:
    """Return the drawing of a machine as extracted or folded, one node per state.

    `decisions` are the states with a double border (default: the structural decision points); `rules` the predicates by
    (source, target) state; `styles` the looks of actions, the same for all drawings of a policy; `detail` overrides the
    layout policy; element ids start with `prefix`, names of states with `letter`.
    """
    graph, unrecorded = graph_of_machine(machine, decisions=decisions, rules=rules, prefix=prefix, letter=letter)
    looks = action_styles(machine.action_names, used=_used_actions(graph)) if styles is None else styles
    return draw_graph(
        graph, title=title, styles=looks, detail=detail, legend=legend, horizontal=horizontal, prefix=prefix,
        unrecorded=unrecorded,
    )  # fmt: skip


def draw_reduced(
    reduced: ReducedMachine,
    *,
    title: str = "Reduced machine",
    decisions: Collection[int] | None = None,
    rules: Mapping[tuple[int, int], str] | None = None,
    styles: Mapping[int, ActionStyle] | None = None,
    detail: Detail | None = None,
    legend: bool = True,
    horizontal: bool = False,
    prefix: str = "",
) -> Drawing:
    """Return the drawing of a reduced machine, one node per macro-state with its word; options as in `draw_machine`.

    `decisions` and `rules` are by macro-state.
    """
    graph, unrecorded = graph_of_reduced(reduced, decisions=decisions, rules=rules, prefix=prefix)
    looks = action_styles(reduced.action_names, used=_used_actions(graph)) if styles is None else styles
    return draw_graph(
        graph, title=title, styles=looks, detail=detail, legend=legend, horizontal=horizontal, prefix=prefix,
        unrecorded=unrecorded,
    )  # fmt: skip


def draw_graph(
    graph: DrawnGraph,
    *,
    title: str,
    styles: Mapping[int, ActionStyle],
    detail: Detail | None = None,
    legend: bool = True,
    horizontal: bool = False,
    prefix: str = "",
    unrecorded: int = 0,
) -> Drawing:
    """Return the drawing of `graph` at the level of detail that its size allows, or at `detail`."""
    chosen = detail or choose_detail(graph)
    folded = 0
    shown = graph
    if chosen == "top":
        shown, folded = fold_rest(graph, keep=TOP_STATES, prefix=prefix)
    dropped, steps = 0, 0
    if chosen != "labels":
        limit = PLAIN_EDGES if chosen == "plain" else TOP_EDGES
        shown, dropped, steps = keep_heaviest(shown, share=FAINT_SHARE, limit=limit)
    options = DotOptions(labels=chosen == "labels", quick=chosen != "labels", legend=legend, horizontal=horizontal)
    left = _Left(folded=folded, edges=dropped, steps=steps, unrecorded=unrecorded)
    return Drawing(
        dot=to_dot(shown, styles, options=options),
        caption=caption_of(graph, shown, title=title, detail=chosen, left=left),
        alt=f"{title}: a graph of {len(shown.nodes)} states and {len(shown.edges)} edges.",
        detail=chosen,
        graph=shown,
        styles=styles,
    )


def choose_detail(graph: DrawnGraph) -> Detail:
    """Return how much of a graph of this size a reader, and the layout, can bear."""
    if len(graph.nodes) <= LABELLED_STATES and len(graph.edges) <= LABELLED_EDGES:
        return "labels"
    return "plain" if len(graph.nodes) <= PLAIN_STATES else "top"


def caption_of(whole: DrawnGraph, shown: DrawnGraph, *, title: str, detail: Detail, left: _Left) -> str:
    """Return one or more sentences: what is drawn, and all that is not."""
    total = len(whole.nodes)
    if left.folded:
        kept = sum(node.share for node in shown.nodes[:-1])
        parts = [
            f"{title}: the {total - left.folded} most visited of {total} states, where {percent(kept)} of all steps "
            f"are spent; the other {left.folded} are drawn as one node."
        ]
    else:
        parts = [f"{title}: all {total} states are drawn." if total > 1 else f"{title}: one state."]
    if left.edges:
        share = left.steps / whole.steps if whole.steps else 0.0
        parts.append(f"{left.edges} rarely taken edges, with {percent(share)} of all steps, are left out.")
    if detail != "labels":
        parts.append("Edge labels are left out at this size.")
    if left.unrecorded:
        parts.append(
            f"{left.unrecorded} transitions that were never recorded, only asked of the network, are left out."
        )
    return " ".join(parts)


def _used_actions(graph: DrawnGraph) -> list[int]:
    return sorted({action for node in graph.nodes for action in node.actions})


__all__ = [
    "Detail", "Drawing", "DrawnEdge", "DrawnGraph", "DrawnNode", "choose_detail", "draw_graph", "draw_machine",
    "draw_reduced", "graph_of_machine", "graph_of_reduced", "structural_decisions",
]  # fmt: skip
