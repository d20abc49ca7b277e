"""A machine too large for a graph layout as a map: every state in a grid, in the order in which one leads to the next.

The order walks from the start along the most taken arrow that leads to a state not yet placed, so that what is usually
done in turn lies side by side; rows run left to right and back. It needs no Graphviz and costs time in proportion to
the arrows.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from moorelens.reports.data import ActionMark, EdgeView, MachineView, StateView
from moorelens.reports.figures import FONT, outline_of, silent_mark
from moorelens.reports.format import share
from moorelens.text import escape

CELL = (58.0, 42.0)  # width and height of a place in the grid, in points
MAP_EDGES = 6000  # more arrows are a grey sheet: the most taken are drawn
_HALF = (11.0, 8.0)  # half the size of a state, at which its arrows end
_BEND = 0.14  # how far an arrow between states that are not neighbours bends aside, as a part of its length
_HEAD = 3.2

Point = tuple[float, float]


def draw_map(view: MachineView, marks: Sequence[ActionMark]) -> str:
    """Return the map of a view with all its states as SVG text; ids are those of the view, every string is escaped."""
    order = reading_order(view)
    columns = max(2, math.ceil(math.sqrt(len(order) * 1.1 * CELL[1] / CELL[0])))
    places = {node: _place(number, columns) for number, node in enumerate(order)}
    looks = {mark.index: mark for mark in marks}
    rows = -(-len(order) // columns)
    width, height = columns * CELL[0], rows * CELL[1] + 6
    edges = sorted(view.edges, key=lambda edge: -edge.count)[:MAP_EDGES]
    most = math.log1p(max((edge.count for edge in edges), default=1))
    body = "".join(_edge(edge, places, most=most) for edge in reversed(edges))
    nodes = "".join(_state(state, places[state.node], looks) for state in view.states)
    start = "" if view.start is None else _start(view.start, places[view.start])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="group" class="map">'
        f'<g class="graph"><g fill="none">{body}</g><g font-family="{FONT}" text-anchor="middle" font-size="8">'
        f"{start}{nodes}</g></g></svg>"
    )


def reading_order(view: MachineView) -> list[str]:
    """Return the nodes of a view, its start first, each followed by the one it most often leads to where that is new.

    Where it leads to none that is new, the walk goes on from the last node that does; what no arrow reaches comes last.
    """
    leaving: dict[str, list[str]] = defaultdict(list)
    for edge in sorted(view.edges, key=lambda edge: -edge.count):
        leaving[edge.source].append(edge.target)
    waiting = {node: iter(targets) for node, targets in leaving.items()}
    by_visits = sorted(view.states, key=lambda state: -state.visits)
    roots = [*([] if view.start is None else [view.start]), *(state.node for state in by_visits)]
    order: dict[str, None] = {}
    for root in roots:
        if root in order:
            continue
        order[root] = None
        path = [root]
        while path:
            following = next((node for node in waiting.get(path[-1], iter(())) if node not in order), None)
            if following is None:
                path.pop()
            else:
                order[following] = None
                path.append(following)
    return list(order)


def _place(number: int, columns: int) -> Point:
    row, column = divmod(number, columns)
    column = column if row % 2 == 0 else columns - 1 - column
    return (column + 0.5) * CELL[0], (row + 0.5) * CELL[1]


def _edge(edge: EdgeView, places: Mapping[str, Point], *, most: float) -> str:
    (x1, y1), (x2, y2) = places[edge.source], places[edge.target]
    near = abs(x2 - x1) + abs(y2 - y1) <= 1.01 * max(CELL)
    if edge.source == edge.target:
        points: list[Point] = [(x1 - 5, y1 - 7), (x1, y1 - 21), (x1 + 5, y1 - 7)]
    else:
        bend = 0.0 if near else _BEND
        middle = ((x1 + x2) / 2 - (y2 - y1) * bend, (y1 + y2) / 2 + (x2 - x1) * bend)
        points = [_border((x1, y1), middle), middle, _border((x2, y2), middle)]
    width = 0.5 + 1.7 * (math.log1p(edge.count) / most if most else 0.0)
    kind = "near-by" if near else "leap"
    (ax, ay), (bx, by), (cx, cy) = points
    line = f"M{ax:.0f} {ay:.0f}L{cx:.0f} {cy:.0f}" if kind == "near-by" and edge.source != edge.target else ""
    line = line or f"M{ax:.0f} {ay:.0f}Q{bx:.0f} {by:.0f} {cx:.0f} {cy:.0f}"
    head = "".join(f"{'ML'[n > 0]}{x:.1f} {y:.1f}" for n, (x, y) in enumerate(_head((bx, by), (cx, cy))))
    return f'<g id="{escape(edge.edge)}" class="edge {kind}"><path d="{line}{head}" stroke-width="{width:.1f}"/></g>'


def _border(center: Point, toward: Point) -> Point:
    """Return where a line from `center` leaves the state there."""
    dx, dy = toward[0] - center[0], toward[1] - center[1]
    reach = max(abs(dx) / _HALF[0], abs(dy) / _HALF[1]) or 1.0
    return center[0] + dx / reach, center[1] + dy / reach


def _head(before: Point, tip: Point) -> Iterator[Point]:
    angle = math.atan2(tip[1] - before[1], tip[0] - before[0])
    for turn in (2.6, None, -2.6):
        reach = 0.0 if turn is None else _HEAD
        yield tip[0] + reach * math.cos(angle + (turn or 0)), tip[1] + reach * math.sin(angle + (turn or 0))


def _state(state: StateView, place: Point, looks: Mapping[int, ActionMark]) -> str:
    mark = looks.get(state.actions[0], silent_mark()) if state.actions else silent_mark()
    name = escape(f"{state.word}, {state.label}, {share(state.share)} of steps")
    ends = "episodes end here" in state.flags
    classes = "node state" + (" decision" if state.decision or "decision point" in state.flags else "")
    shape = outline_of(mark.shape)
    body = f'<path d="{shape}" fill="{mark.fill}" stroke="{mark.stroke}" stroke-width="{2.4 if ends else 1.1}"/>'
    if "decision" in classes:
        inner = f'd="{shape}" fill="none" stroke="{mark.stroke}" stroke-width="1.4"'
        body += f'<path class="inner" transform="translate(2.6 1.8) scale(.74)" {inner}/>'
    return (
        f'<g id="{escape(state.node)}" class="{classes}" tabindex="-1" role="button" aria-label="{name}">'
        f'<g transform="translate({place[0] - 10:g} {place[1] - 7:g})">{body}</g>'
        f'<text x="{place[0]:g}" y="{place[1] + 16:g}">{escape(state.label)}</text></g>'
    )


def _start(node: str, place: Point) -> str:
    x, y = place
    return (
        f'<g id="{escape(node)}" class="node start"><rect x="{x - 15:g}" y="{y - 7:g}" width="30" height="14" rx="5"/>'
        f'<text x="{x:g}" y="{y + 3:g}" fill="#ffffff">start</text></g>'
    )
