"""The picture of a machine before it is laid out: nodes with their words, edges with their counts, nothing of Graphviz.

Letters: S states, O symbols, E transitions, N drawn nodes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class DrawnNode:
    """One state as drawn: `word` is what it does ("left ×3"), `label` which it is ("S4"), `action` its look.

    `visits` are the steps spent there, `share` their part of all steps, `members` the machine states it stands for.
    """

    node: str
    label: str
    word: str
    action: int | None
    visits: int
    share: float
    members: tuple[int, ...]
    actions: tuple[int, ...] = ()
    decision: bool = False
    terminal: bool = False
    start: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class DrawnEdge:
    """One edge as drawn: all transitions between two nodes. `symbols` are (symbol, count), most frequent first.

    `share` is of the steps that leave `source`; `stochastic` where a symbol on it also leads elsewhere.
    """

    edge: str
    source: str
    target: str
    count: int
    share: float
    symbols: tuple[tuple[int, int], ...]
    rule: str | None = None
    stochastic: bool = False
    observed: bool = True


@dataclass(frozen=True, kw_only=True)
class DrawnGraph:
    """A machine as nodes and edges in a fixed order; `start` is the silent start: no node, but a source of edges.

    `steps` is how often all transitions of the machine were taken together, drawn or not.
    """

    nodes: tuple[DrawnNode, ...]
    edges: tuple[DrawnEdge, ...]
    start: str | None
    steps: int


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One recorded transition between nodes; `stochastic` where the same symbol also leads elsewhere."""

    source: str
    target: str
    symbol: int
    count: int
    stochastic: bool = False
    observed: bool = True


def merge_transitions(
    transitions: Iterable[Transition], *, prefix: str = "", rules: Mapping[tuple[str, str], str] | None = None
) -> tuple[DrawnEdge, ...]:
    """Return one edge per pair of nodes, symbols added up, in order of appearance; `rules` are by (source, target)."""
    groups: dict[tuple[str, str], list[Transition]] = defaultdict(list)
    leaving: Counter[str] = Counter()
    for transition in transitions:
        groups[transition.source, transition.target].append(transition)
        leaving[transition.source] += transition.count
    texts = rules or {}
    return tuple(
        _merged(f"{prefix}e{number}", pair, group, leaving=leaving[pair[0]], rule=texts.get(pair))
        for number, (pair, group) in enumerate(groups.items())
    )


def _merged(
    name: str, pair: tuple[str, str], group: Sequence[Transition], *, leaving: int, rule: str | None
) -> DrawnEdge:
    symbols: Counter[int] = Counter()
    for transition in group:
        symbols[transition.symbol] += transition.count
    count = sum(symbols.values())
    return DrawnEdge(
        edge=name,
        source=pair[0],
        target=pair[1],
        count=count,
        share=count / leaving if leaving else 0.0,
        symbols=tuple(sorted(symbols.items(), key=lambda item: (-item[1], item[0]))),
        rule=rule,
        stochastic=any(transition.stochastic for transition in group),
        observed=any(transition.observed for transition in group),
    )


def fold_rest(graph: DrawnGraph, *, keep: int, prefix: str = "") -> tuple[DrawnGraph, int]:
    """Return the graph with its `keep` most visited nodes and the rest folded into one, and how many were folded."""
    ranked = sorted(graph.nodes, key=lambda node: -node.visits)  # ties stay in order
    kept = {node.node for node in ranked[:keep]}
    rest = [node for node in graph.nodes if node.node not in kept]
    if not rest:
        return graph, 0
    name = f"{prefix}{OTHER}"
    other = DrawnNode(
        node=name,
        label="other",
        word=f"{len(rest)} other states",
        action=None,
        visits=sum(node.visits for node in rest),
        share=sum(node.share for node in rest),
        members=tuple(member for node in rest for member in node.members),
        actions=tuple(sorted({action for node in rest for action in node.actions})),
    )
    place = {node.node: node.node if node.node in kept else name for node in graph.nodes}
    if graph.start is not None:
        place[graph.start] = graph.start
    edges = merge_transitions(
        (
            Transition(
                source=place[edge.source], target=place[edge.target], symbol=symbol, count=count,
                stochastic=edge.stochastic, observed=edge.observed,
            )
            for edge in graph.edges
            for symbol, count in edge.symbols
        ),
        prefix=prefix,
    )  # fmt: skip
    rules = {(edge.source, edge.target): edge.rule for edge in graph.edges}
    folded = replace(
        graph,
        nodes=(*(node for node in graph.nodes if node.node in kept), other),
        edges=tuple(replace(edge, rule=rules.get((edge.source, edge.target))) for edge in edges),
    )
    return folded, len(rest)


def keep_heaviest(graph: DrawnGraph, *, share: float, limit: int) -> tuple[DrawnGraph, int, int]:
    """Return the graph without the edges taken in less than `share` of all steps, about `limit` of them kept at most.

    The start's edges and the most taken edge into every node stay, so no node loses its last link to the rest. Also
    returned: how many edges were left out, and how many steps those carry.
    """
    ranked = sorted(range(len(graph.edges)), key=lambda place: (-graph.edges[place].count, place))
    linked: set[str] = set()
    kept: set[int] = set()
    for rank, place in enumerate(ranked):
        edge = graph.edges[place]
        loop = edge.source == edge.target
        heavy = rank < limit and edge.count >= share * graph.steps
        if heavy or edge.source == graph.start or (edge.target not in linked and not loop):
            kept.add(place)
            linked |= set() if loop else {edge.target}
    dropped = sum(edge.count for place, edge in enumerate(graph.edges) if place not in kept)
    edges = tuple(edge for place, edge in enumerate(graph.edges) if place in kept)
    return replace(graph, edges=edges), len(graph.edges) - len(edges), dropped
