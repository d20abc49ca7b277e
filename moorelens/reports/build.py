"""Small constructors from drawings, decision points and rules to the records of a report: they copy and name."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from moorelens.fsm.automata import decisions as automata
from moorelens.fsm.drawing import Drawing
from moorelens.fsm.drawing_graph import OTHER, DrawnEdge, DrawnGraph, DrawnNode
from moorelens.fsm.drawing_style import ActionStyle
from moorelens.fsm.predicates import StateRules
from moorelens.reports.data import (
    ActionMark,
    Bin,
    Branch,
    DecisionPoint,
    EdgeView,
    Example,
    FeatureValue,
    Interval,
    MachineView,
    Picture,
    Place,
    RuleView,
    StateView,
    SymbolCount,
)
from moorelens.reports.map import MAP_EDGES
from moorelens.reports.summary import Score

_BARS = 12


def action_marks(styles: Mapping[int, ActionStyle]) -> tuple[ActionMark, ...]:
    """Return the looks of the actions as the report shows them."""
    return tuple(
        ActionMark(index=style.index, name=style.name, fill=style.fill, stroke=style.stroke, shape=style.shape)
        for _, style in sorted(styles.items())
    )


def machine_view(
    drawing: Drawing,
    svg: bytes | None,
    *,
    key: str,
    title: str,
    flags: Mapping[str, tuple[str, ...]] | None = None,
    dwells: Mapping[str, tuple[Bin, ...]] | None = None,
    decisions: Mapping[str, str] | None = None,
    note: str = "",
) -> MachineView:
    """Return a drawing and its rendered SVG (None where it could not be rendered; `note` says why) as a view.

    `flags`, `dwells` and `decisions` (the key of a `DecisionPoint`) are by node. Drawings of one report need different
    prefixes, since their element ids share a page.
    """
    graph = drawing.graph
    return MachineView(
        key=key,
        title=title,
        caption=drawing.caption,
        svg=None if svg is None else svg.decode("utf-8"),
        start=graph.start,
        states=tuple(_state(node, flags or {}, dwells or {}, decisions or {}) for node in graph.nodes),
        edges=tuple(_edge(edge) for edge in graph.edges),
        note=note,
    )


def whole_view(
    graph: DrawnGraph, *, of: str, title: str, decisions: Mapping[tuple[str, str], str] | None = None
) -> MachineView:
    """Return all states and edges of a machine of which the view `of` draws the most visited ones.

    `decisions`: the keys of `DecisionPoint`s by view and node.
    """
    own = {node: decision for (view, node), decision in (decisions or {}).items() if view == f"{of}-whole"}
    left = len(graph.edges) - MAP_EDGES
    edges = f" The {left} least taken arrows are left out." if left > 0 else ""
    return MachineView(
        key=f"{of}-whole",
        title=f"{title}, whole",
        caption=(
            f"{title}: all {len(graph.nodes)} states, from the start along the most taken arrow to one not yet shown; "
            f"rows run to and fro.{edges}"
        ),
        svg=None,
        start=graph.start,
        states=tuple(_state(node, {}, {}, own) for node in graph.nodes),
        edges=tuple(_edge(edge) for edge in graph.edges),
        whole_of=of,
    )


def _state(
    node: DrawnNode,
    flags: Mapping[str, tuple[str, ...]],
    dwells: Mapping[str, tuple[Bin, ...]],
    decisions: Mapping[str, str],
) -> StateView:
    known = flags.get(node.node, ("decision point",) if node.decision else ())
    return StateView(
        node=node.node,
        label=node.label,
        word=node.word,
        actions=node.actions,
        visits=node.visits,
        share=node.share,
        members=node.members,
        flags=(*known, "episodes end here") if node.terminal else known,
        decision=decisions.get(node.node),
        dwell=dwells.get(node.node, ()),
        note="the states visited least, drawn as one" if node.label == OTHER else node.note,
    )


def _edge(edge: DrawnEdge) -> EdgeView:
    return EdgeView(
        edge=edge.edge,
        source=edge.source,
        target=edge.target,
        count=edge.count,
        share=edge.share,
        symbols=symbol_counts(edge.symbols),
        symbol_total=len(edge.symbols),
        rule=edge.rule,
        stochastic=edge.stochastic,
        observed=edge.observed,
    )


def symbol_counts(symbols: Sequence[tuple[int, int]], *, limit: int = 20) -> tuple[SymbolCount, ...]:
    """Return the `limit` most frequent of (symbol, count), named as in drawings."""
    return tuple(SymbolCount(symbol=f"o{symbol}", count=count) for symbol, count in symbols[:limit])


def decision_point(
    point: automata.DecisionPoint,
    graph: DrawnGraph,
    *,
    key: str,
    view: str,
    steps: int,
    rules: StateRules | None = None,
    examples: Mapping[int, Example] | None = None,
    dwell: Mapping[int, int] | None = None,
    forced: Mapping[int, Score] | None = None,
    note: str = "",
) -> DecisionPoint | None:
    """Return a decision point of the machine as shown in `graph`, None where its state is not drawn on its own.

    `steps` is how many steps were recorded in all; `rules` and `examples` are by target state, and so is `forced`, the
    return lost when that branch is always taken; `dwell` maps lengths of stays to how often they occurred.
    """
    places = {member: node for node in graph.nodes for member in node.members}
    node = places.get(point.state)
    if node is None or node.label == OTHER:
        return None
    total = sum(branch.count for branch in point.branches)
    branches = sorted(point.branches, key=lambda branch: (-branch.count, branch.target))
    kinds = ("action", "semantic", "dwell", "stochastic")
    return DecisionPoint(
        key=key,
        view=view,
        node=node.node,
        label=node.label,
        word=node.word,
        flags=("structural", *(kind for kind in kinds if getattr(point, kind))),
        weight_bits=point.bits,
        visits=point.visits,
        share=point.visits / steps if steps else 0.0,
        branches=tuple(
            _branch(branch, places, total, rules, examples or {}, (forced or {}).get(branch.target))
            for branch in branches
        ),
        unobserved=point.unobserved,
        dwell=dwell_bins(dwell or {}),
        rule_accuracy=None if rules is None else rules.accuracy,
        rule_majority=None if rules is None else rules.majority,
        note=note,
    )


def _branch(
    branch: automata.Branch,
    places: Mapping[int, DrawnNode],
    total: int,
    rules: StateRules | None,
    examples: Mapping[int, Example],
    forced: Score | None,
) -> Branch:
    node = places[branch.target]
    rule = None if rules is None else rules.rule(branch.target)
    return Branch(
        target=node.node,
        target_label=node.label,
        action=node.action,
        word=node.word,
        count=branch.count,
        share=branch.count / total if total else 0.0,
        symbol_total=len(branch.symbols),
        symbols=symbol_counts([(symbol, 0) for symbol in branch.symbols], limit=0),
        rule=None if rule is None else RuleView(text=rule.text, coverage=rule.coverage, precision=rule.precision),
        example=examples.get(branch.target),
        forced_loss=None if forced is None else forced.mean,
        forced_interval=None
        if forced is None
        else Interval(low=forced.low, high=forced.high, n=forced.n, bound=forced.bound),
    )


def feature_example(
    values: npt.ArrayLike,
    other: npt.ArrayLike | None,
    *,
    feature_names: Sequence[str],
    place: Place,
    symbol: int,
    units: Sequence[str] | None = None,
    decisive: Iterable[int] = (),
) -> Example:
    """Return a recorded observation (D,) with its difference to `other` (D,); `decisive`: features of its rule."""
    row = np.asarray(values, dtype=np.float64)
    differences = [None] * len(row) if other is None else (row - np.asarray(other, dtype=np.float64)).tolist()
    marked = set(decisive)
    return Example(
        place=place,
        symbol=f"o{symbol}",
        values=tuple(
            FeatureValue(
                name=name,
                value=float(row[position]),
                difference=differences[position],
                unit=units[position] if units is not None else "",
                decisive=position in marked,
            )
            for position, name in enumerate(feature_names)
        ),
    )


def dwell_bins(lengths: Mapping[int, int]) -> tuple[Bin, ...]:
    """Return a histogram of stays from (length, times): one bar a length up to 12, above that bars that double."""
    if not lengths:
        return ()
    longest = max(lengths)
    if longest <= _BARS:
        return tuple(Bin(low=length, high=length, count=lengths.get(length, 0)) for length in range(1, longest + 1))
    edges = [1]
    while edges[-1] <= longest:
        edges.append(edges[-1] * 2)
    return tuple(
        Bin(low=low, high=high - 1, count=sum(times for length, times in lengths.items() if low <= length < high))
        for low, high in itertools.pairwise(edges)
    )


def frame_picture(frame: npt.ArrayLike, *, alt: str) -> Picture:
    """Return a uint8 frame (H, W), (1, H, W) or (H, W, 3) as a PNG of its own size; equal frames give equal bytes."""
    pixels = np.asarray(frame, dtype=np.uint8)
    image = Image.fromarray(pixels[0] if pixels.ndim == 3 and pixels.shape[0] == 1 else pixels)
    return _png(image, alt=alt)


def stored_picture(png: bytes, *, alt: str) -> Picture:
    """Return a PNG that was made before as a picture of a report."""
    with Image.open(io.BytesIO(png)) as image:
        return Picture(png=png, width=image.width, height=image.height, alt=alt)


def difference_picture(frame: npt.ArrayLike, other: npt.ArrayLike, *, alt: str) -> Picture:
    """Return `frame` (H, W) or (1, H, W) faded, with what it has more of than `other` in orange and less of in blue."""
    first, second = (
        np.asarray(array, dtype=np.float64).reshape(np.asarray(array).shape[-2:]) for array in (frame, other)
    )
    strength = np.clip(np.abs(first - second) / 64.0, 0.0, 1.0)[..., None]
    color = np.where((first > second)[..., None], [243.0, 152.0, 62.0], [70.0, 160.0, 235.0])
    base = np.repeat(first[..., None] * 0.45, 3, axis=-1)
    mixed = base * (1 - strength) + color * strength
    return _png(Image.fromarray(mixed.round().astype(np.uint8)), alt=alt)


def _png(image: Image.Image, *, alt: str) -> Picture:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return Picture(png=buffer.getvalue(), width=image.width, height=image.height, alt=alt)
