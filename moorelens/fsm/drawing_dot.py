"""DOT text of a drawn graph: every string escaped, every label explicit, no URL, ids and classes for a style sheet."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import graphviz

from moorelens.fsm.drawing_graph import DrawnEdge, DrawnGraph, DrawnNode
from moorelens.fsm.drawing_style import ActionStyle, silent_style
from moorelens.text import escape, one_line

FONT = "DejaVu Sans"
INK, SOFT, EDGE, FAINT = "#1c1c1c", "#5a5a5a", "#4d4d4d", "#b9b9b9"
# A node or an edge with less than this share of all steps is drawn faint.
FAINT_SHARE = 0.002
_SYMBOLS_SHOWN = 3
_LEGEND_COLUMNS = 6
_GLYPHS = {
    "left": "\u25c0", "right": "\u25b6", "up": "\u25b2", "down": "\u25bc", "box": "\u25a0", "ellipse": "\u25cf",
    "hexagon": "\u2b23", "pentagon": "\u2b1f", "parallelogram": "\u25b0",
}  # fmt: skip
_WRAP = 30


@dataclass(frozen=True, kw_only=True)
class DotOptions:
    """What of the graph is written: edge labels, the quick layout of large graphs, the legend, left-to-right flow."""

    labels: bool = True
    quick: bool = False
    legend: bool = True
    horizontal: bool = False


def to_dot(graph: DrawnGraph, styles: Mapping[int, ActionStyle], *, options: DotOptions) -> str:
    """Return DOT text of `graph`; nodes have the element ids of `graph`, actions the looks of `styles`."""
    dot = graphviz.Digraph("machine", graph_attr=_graph_attributes(options))
    dot.attr(label=_legend(graph, styles) if options.legend and graph.nodes else "", labelloc="b")
    dot.attr(
        "node",
        fontname=FONT,
        fontsize="12",
        fontcolor=INK,
        style="filled",
        penwidth="1.1",
        margin="0.08,0.04",
        height="0.3",
    )
    dot.attr("edge", fontname=FONT, fontsize="9", fontcolor=SOFT, color=EDGE, arrowsize="0.7")
    if graph.start is not None:
        _write_start(dot, graph.start)
    for node in graph.nodes:
        _write_node(dot, node, styles, compact=options.quick)
    choices = _sources_with_choice(graph)
    has_rules = any(edge.rule for edge in graph.edges)
    most = max((edge.count for edge in graph.edges), default=0)
    for edge in graph.edges:
        label = _edge_label(edge, choice=edge.source in choices, has_rules=has_rules) if options.labels else ""
        _write_edge(dot, edge, label=label, most=most, steps=graph.steps, entry=edge.source == graph.start)
    return str(dot.source)


def is_faint(edge: DrawnEdge, *, steps: int) -> bool:
    """Return whether `edge` is so rarely taken that it is drawn faint."""
    return edge.count < FAINT_SHARE * steps


def lighter(color: str) -> str:
    """Return `#rrggbb` mixed half and half with white."""
    channels = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{(channel + 255) // 2:02x}" for channel in channels)


def _graph_attributes(options: DotOptions) -> dict[str, str]:
    attributes = {
        "bgcolor": "transparent", "fontname": FONT, "pad": "0.15", "nodesep": "0.3", "ranksep": "0.42",
        "rankdir": "LR" if options.horizontal else "TB", "outputorder": "edgesfirst",
    }  # fmt: skip
    if options.quick:
        # Limits of the network simplex: without them a graph of 60 nodes and 300 edges takes most of a minute.
        attributes |= {"splines": "polyline", "nslimit": "1", "nslimit1": "1", "mclimit": "0.3", "ranksep": "0.5"}
    return attributes


def _html(text: str) -> str:
    return escape(one_line(text))


def _sources_with_choice(graph: DrawnGraph) -> set[str]:
    targets: dict[str, int] = {}
    for edge in graph.edges:
        targets[edge.source] = targets.get(edge.source, 0) + 1
    return {source for source, count in targets.items() if count > 1}


def _write_start(dot: graphviz.Digraph, name: str) -> None:
    attributes = {
        "id": name,
        "class": "start",
        "shape": "box",
        "style": "filled,rounded",
        "fillcolor": INK,
        "color": INK,
    }
    label = '<<font color="white" point-size="10">start</font>>'
    dot.node(name, label=label, height="0.2", width="0.4", margin="0.08,0.03", **attributes)


def _write_node(dot: graphviz.Digraph, node: DrawnNode, styles: Mapping[int, ActionStyle], *, compact: bool) -> None:
    style = silent_style() if node.action is None else styles.get(node.action, silent_style())
    classes = ["state", f"action{style.index}" if style.index >= 0 else "silent"]
    classes += [name for name, is_so in (("decision", node.decision), ("terminal", node.terminal)) if is_so]
    attributes = dict(style.dot)
    if compact:
        attributes |= {"margin": "0.04,0.02", "height": "0.3", "width": "0.4"}
    attributes["style"] = "filled,rounded" if style.shape == "box" else "filled"
    if node.share < FAINT_SHARE:
        attributes |= {"fillcolor": lighter(style.fill), "color": lighter(style.stroke)}
        classes.append("faint")
    if node.terminal:
        attributes["penwidth"] = "2.4"
    peripheries = "2" if node.decision else "1"
    dot.node(
        node.node, label=node_label(node, compact=compact), id=node.node, peripheries=peripheries,
        **{"class": " ".join(classes)}, **attributes,
    )  # fmt: skip


def node_label(node: DrawnNode, *, compact: bool) -> str:
    """Return the two-line label of a node: what it does, then which it is and how much of the time is spent there."""
    size = 10 if compact else 12
    small = 7.5 if compact else 8.5
    below = _html(f"{node.label} · {percent(node.share)}")
    gap = '<br/><font point-size="3"> </font><br/>'
    word = f'<font point-size="{size}"><b>{_html(node.word)}</b></font>'
    return f'<{word}{gap}<font point-size="{small}" color="{SOFT}">{below}</font>>'


def percent(share: float) -> str:
    """Return a share as a short percentage: `<0.1 %`, `0.4 %`, `3 %`, `100 %`; never 0 or 100 unless it is."""
    value = 100 * share
    if 0 < value < 0.1:
        return "<0.1 %"
    if 99 < value < 100:
        return f"{math.floor(10 * value) / 10:.1f} %"
    return f"{value:.1f} %" if 0 < value < 1 else f"{value:.0f} %"


def _write_edge(
    dot: graphviz.Digraph, edge: DrawnEdge, *, label: str, most: int, steps: int, entry: bool = False
) -> None:
    faint = is_faint(edge, steps=steps) and not entry
    width = 0.6 + (2.2 * math.log1p(edge.count) / math.log1p(most) if most else 0.0)
    classes = [name for name, is_so in (("faint", faint), ("stochastic", edge.stochastic)) if is_so]
    attributes = {"penwidth": "0.7" if faint else f"{width:.2f}", "color": FAINT if faint else EDGE}
    if edge.stochastic:
        attributes |= {"style": "dashed", "penwidth": f"{min(width, 1.4):.2f}"}
    if faint:
        attributes["weight"] = "0"
    if edge.source == edge.target:
        attributes["arrowsize"] = "0.6"
    dot.edge(
        edge.source, edge.target, label=label, id=edge.edge, **{"class": " ".join(["step", *classes])}, **attributes
    )


def _edge_label(edge: DrawnEdge, *, choice: bool, has_rules: bool) -> str:
    if has_rules and not choice:
        return ""
    text = edge.rule if edge.rule else symbols_text(edge.symbols)
    lines = [_html(line) for line in wrap_rule(text)] if text else []
    color = INK if edge.rule else SOFT
    share = f'<font point-size="8" color="{SOFT}">{_html(percent(edge.share))}</font>' if choice else ""
    # Graphviz sets the label of a loop against the line; a few spaces hold it off.
    held = "\u00a0\u00a0\u00a0" if edge.source == edge.target else ""
    lines = [f"{held}{line}{held}" for line in lines]
    body = "<br/>".join(lines)
    inner = "<br/>".join(part for part in (f'<font color="{color}">{body}</font>' if body else "", share) if part)
    return f"<{inner}>" if inner else ""


def symbols_text(symbols: Sequence[tuple[int, int]]) -> str:
    """Return at most three symbols, most frequent first, and how many more there are: `o3, o7, o12 +4`."""
    shown = ", ".join(f"o{symbol}" for symbol, _ in symbols[:_SYMBOLS_SHOWN])
    more = len(symbols) - _SYMBOLS_SHOWN
    return f"{shown} +{more}" if more > 0 else shown


def wrap_rule(text: str) -> list[str]:
    """Return `text` in lines of about 30 characters, broken before "and" or "or"."""
    lines: list[str] = []
    for part in re.split(r" (?=(?:and|or) )", text):
        if lines and len(lines[-1]) + len(part) < _WRAP:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return lines


def _legend(graph: DrawnGraph, styles: Mapping[int, ActionStyle]) -> str:
    """Return the legend, the label under the graph: a tinted cell per action that occurs, then what lines mean."""
    used = sorted({action for node in graph.nodes for action in node.actions if action in styles})
    cells = [_legend_cell(styles[action]) for action in used]
    rows = "".join(
        "<tr>" + "".join(cells[at : at + _LEGEND_COLUMNS]) + "</tr>" for at in range(0, len(cells), _LEGEND_COLUMNS)
    )
    words = "<br/>".join(_html(line) for line in _legend_lines(graph))
    note = f'<tr><td colspan="{_LEGEND_COLUMNS}"><font point-size="8.5" color="{SOFT}">{words}</font></td></tr>'
    return f'<<table border="0" cellborder="0" cellspacing="6" cellpadding="3">{rows}{note}</table>>'


def _legend_cell(style: ActionStyle) -> str:
    glyph = _GLYPHS.get(style.shape, "\u25cf")
    return (
        f'<td bgcolor="{style.fill}"><font point-size="9" color="{style.stroke}">{glyph}</font>'
        f'<font point-size="9.5" color="{INK}"> {_html(style.name)}</font></td>'
    )


def _legend_lines(graph: DrawnGraph) -> list[str]:
    lines = []
    if any(node.decision for node in graph.nodes):
        lines.append("double border: decision point, the next state depends on what is seen")
    lines.append("line width: how often taken (logarithmic)")
    if any(edge.stochastic for edge in graph.edges):
        lines.append("dashed: same symbol, several successors")
    faint_nodes = any(node.share < FAINT_SHARE for node in graph.nodes)
    if faint_nodes or any(is_faint(edge, steps=graph.steps) for edge in graph.edges):
        lines.append(f"faint: under {percent(FAINT_SHARE)} of steps")
    if any(node.terminal for node in graph.nodes):
        lines.append("thick border: episodes end here")
    return lines
