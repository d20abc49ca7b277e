"""Where the sets of an attention graph stand in its drawing: one row for each size, parents above their children."""

from __future__ import annotations

from dataclasses import dataclass

from moorelens.saliency.sets.sag import SAG, SAGGrid

GAP, ROW, MARGIN = 20.0, 54.0, 16.0  # between nodes of a row, between rows, around the drawing
CAPTION = 34.0  # height of the two lines below a thumbnail
_SWEEPS = 4


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Top left corners of the thumbnails by node, and sizes in units of the drawing."""

    places: tuple[tuple[float, float], ...]
    thumb: tuple[float, float]
    width: float
    height: float


def lay_out(sag: SAG, *, top: float, thumb: tuple[float, float], least_width: float) -> Layout:
    """Place the nodes below `top`; the rows stand in the middle of the drawing, which is `least_width` wide or more."""
    rows = _rows(sag)
    width, height = thumb
    widest = max((len(row) for row in rows), default=0)
    total = max(least_width, 2 * MARGIN + widest * width + max(0, widest - 1) * GAP)
    places: list[tuple[float, float]] = [(0.0, 0.0)] * len(sag.nodes)
    y = top
    for row in rows:
        x = (total - len(row) * width - (len(row) - 1) * GAP) / 2
        for index in row:
            places[index] = (x, y)
            x += width + GAP
        y += height + CAPTION + ROW
    return Layout(
        places=tuple(places), thumb=thumb, width=total, height=max(top, y - ROW) + MARGIN if rows else top + MARGIN
    )


def thumb_size(grid: SAGGrid | None, longest: float) -> tuple[float, float]:
    """Return width and height of a thumbnail whose longer side is `longest`; of features a text box."""
    if grid is None or len(grid.size) == 1:
        return 1.6 * longest, longest / 2
    height, width = grid.size
    scale = longest / max(height, width)
    return width * scale, height * scale


def _rows(sag: SAG) -> list[list[int]]:
    """Return the nodes by falling size, each row ordered so that few edges cross (the mean place of its neighbours)."""
    sizes = sorted({len(node.patches) for node in sag.nodes}, reverse=True)
    rows = [[index for index, node in enumerate(sag.nodes) if len(node.patches) == size] for size in sizes]
    above: dict[int, list[int]] = {index: [] for index in range(len(sag.nodes))}
    below: dict[int, list[int]] = {index: [] for index in range(len(sag.nodes))}
    for edge in sag.edges:
        above[edge.child].append(edge.parent)
        below[edge.parent].append(edge.child)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            place = _relative_places(rows)
            centres = {index: _centre(index, above if down else below, place) for index in row}
            row.sort(key=centres.__getitem__)
    return rows


def _centre(index: int, near: dict[int, list[int]], place: dict[int, float]) -> float:
    found = [place[other] for other in near[index]]
    return sum(found) / len(found) if found else place[index]


def _relative_places(rows: list[list[int]]) -> dict[int, float]:
    return {index: position - (len(row) - 1) / 2 for row in rows for position, index in enumerate(row)}
