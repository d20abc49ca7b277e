"""Drawings of a study, written as SVG text: intervals of each measure, the matrix of a cross-test, a map of models."""

from __future__ import annotations

import math
from collections.abc import Sequence

from moorelens.reports.figures import INK, RULE, SOFT
from moorelens.reports.format import number
from moorelens.reports.study import CountSummary, CrosstestSummary, Matrix, Measure
from moorelens.saliency.studies.embedding import Landscape
from moorelens.text import escape

_NAMESPACE = 'xmlns="http://www.w3.org/2000/svg"'
_FONT = "DejaVu Sans, sans-serif"
# Told apart by form as well as by colour, on paper and on a dark page.
COLOURS = ("#4477aa", "#b4432f", "#228833", "#aa7700", "#7a5195", "#4d8a99")
_MARKS = ("circle", "square", "triangle", "diamond")
_DARK, _BRIGHT = (28, 47, 92), (250, 214, 120)  # of a scale that every eye orders: dark blue, bright yellow


def measures_svg(summary: CountSummary, *, paper: bool = True) -> str:
    """Return one row of plots: for each measure the models' medians with intervals, and their means as strokes."""
    names = [model.name for model in summary.head.models]
    left, step, gap = 12.0 + 6.4 * max(len(name) for name in names), 24.0, 56.0
    width, y = 360.0, 6.0
    parts: list[str] = []
    for measure in summary.measures:
        parts += _measure(measure, names, left=left, top=y, width=width, step=step)
        y += step * len(names) + gap
    title = "Medians with 95 % intervals, and means, of each measure under each model"
    return _svg(parts, left + width + 150, y, title=title, paper=paper)


def _measure(
    measure: Measure, names: Sequence[str], *, left: float, top: float, width: float, step: float
) -> list[str]:
    ends = [
        end
        for one in measure.models
        for end in (one.median_low, one.median_high, one.median, one.mean.mean)
        if end is not None
    ]
    ticks = _ticks(min([0.0, *ends]), max(ends))

    def x(value: float) -> float:
        return left + width * (value - ticks[0]) / (ticks[-1] - ticks[0])

    bottom = top + 16 + step * len(names)
    parts = [_text(measure.title, left, top + 9, ink=True, bold=True)]
    for tick in ticks:
        parts.append(f'<path class="rule" d="M{x(tick):.1f} {top + 16:.1f}V{bottom:.1f}" stroke="{RULE}"/>')
        parts.append(_text(number(tick), x(tick), bottom + 13, anchor="middle"))
    parts.append(_text(measure.unit, left + width + 24, bottom + 13))
    for place, (name, found) in enumerate(zip(names, measure.models, strict=True)):
        middle, colour = top + 16 + step * (place + 0.5), COLOURS[place % len(COLOURS)]
        low, high = found.median_low, found.median_high
        parts.append(_text(name, left - 10, middle + 3.5, anchor="end", ink=True))
        if low is not None and high is not None:
            parts.append(f'<path d="M{x(low):.1f} {middle:.1f}H{x(high):.1f}" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<path d="M{x(found.mean.mean):.1f} {middle - 7:.1f}v14" stroke="{colour}" stroke-width="2"/>')
        parts.append(_mark(place, x(found.median), middle, colour))
        words = f"{number(found.median)}, mean {number(found.mean.mean)}"
        parts.append(_text(words, left + width + 12, middle + 3.5))
    return parts


def matrix_svg(summary: CrosstestSummary, *, paper: bool = True) -> str:
    """Return both matrices side by side: whose map in rows, who judges in columns, the area in each cell."""
    names = [model.name for model in summary.head.models]
    longest = max(len(name) for name in [*summary.rows, *names])
    side = max(62.0, 6.6 * max(len(name) for name in names) + 8)
    left, top = 14 + 6.6 * longest, 58.0
    parts: list[str] = []
    titles = {"insertion": "shown: more is better", "deletion": "hidden: less is better"}
    for place, matrix in enumerate(summary.matrices):
        x = left + place * (side * len(names) + 46 + left)
        parts.append(_text(matrix.mode, x, 12, ink=True, bold=True))
        parts.append(_text(titles[matrix.mode], x, 27))
        parts += _cells(matrix, summary.rows, names, x=x, y=top, side=side)
    width = 2 * left + 2 * side * len(names) + 60
    height = top + 40.0 * len(summary.rows) + 24
    parts.append(_text("rows: whose map; columns: who judges; brighter is larger", left, height - 6))
    title = "Areas under insertion and deletion curves, for the map of each row and the judge of each column"
    return _svg(parts, width, height, title=title, paper=paper)


def _cells(matrix: Matrix, rows: Sequence[str], names: Sequence[str], *, x: float, y: float, side: float) -> list[str]:
    values = [cell.mean for line in matrix.area for cell in line]
    low, high = min(values), max(values)
    parts = [_text(name, x + side * (j + 0.5), y - 8, anchor="middle") for j, name in enumerate(names)]
    for i, (row, line) in enumerate(zip(rows, matrix.area, strict=True)):
        parts.append(_text(row, x - 10, y + 40 * i + 24, anchor="end", ink=True))
        for j, cell in enumerate(line):
            part = (cell.mean - low) / ((high - low) or 1.0)
            fill, dark = _shade(part)
            box = f'x="{x + side * j:.1f}" y="{y + 40 * i:.1f}" width="{side - 2:.1f}" height="38"'
            parts.append(f'<rect {box} fill="{fill}"/>')
            colour = "#ffffff" if dark else "#1c1c1c"
            if row == names[j]:
                box = f'x="{x + side * j + 2:.1f}" y="{y + 40 * i + 2:.1f}" width="{side - 6:.1f}" height="34"'
                parts.append(f'<rect {box} fill="none" stroke="{colour}" stroke-width="1.6"/>')
            parts.append(
                _text(
                    f"{cell.mean:.3f}",
                    x + side * (j + 0.5) - 1,
                    y + 40 * i + 18,
                    anchor="middle",
                    colour=colour,
                    size=11.5,
                )
            )
            if cell.low is not None and cell.high is not None:
                words = f"{cell.low:.2f}\u2013{cell.high:.2f}"
                parts.append(
                    _text(words, x + side * (j + 0.5) - 1, y + 40 * i + 31, anchor="middle", colour=colour, size=8.5)
                )
    return parts


def landscape_svg(found: Landscape | None, names: Sequence[str], *, paper: bool = True) -> str:
    """Return the map of models: near each other where the maps of one serve the other; None: nothing was compared."""
    if found is None:
        return _svg([_text("no picture is compared", 12, 20)], 200, 32, title="No picture is compared", paper=paper)
    size, margin, left = 300.0, 30.0, 60.0
    reach = max([abs(value) for point in found.points for value in point] + [1e-9])

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return left + size / 2 * (1 + point[0] / reach), margin + size / 2 * (1 - point[1] / reach)

    centre, middle = left + size / 2, margin + size / 2
    parts = [f'<path class="rule" d="M{left:g} {middle:g}h{size:g}M{centre:g} {margin:g}v{size:g}" stroke="{RULE}"/>']
    taken: list[tuple[float, float]] = []
    for place, (name, point) in enumerate(zip(names, found.points, strict=True)):
        x, y = at(point)
        parts.append(_mark(place, x, y, COLOURS[place % len(COLOURS)], size=5.5))
        anchor, dx = ("end", -11.0) if x > centre else ("start", 11.0)
        spot = (round(x / 90), y + 4)
        while any(spot[0] == other[0] and abs(spot[1] - other[1]) < 14 for other in taken):
            spot = (spot[0], spot[1] + 14)
        taken.append(spot)
        parts.append(_text(name, x + dx, spot[1], anchor=anchor, ink=True, size=11.5))
    bar, words = _scale(2 * reach)
    length = bar / reach * size / 2
    base = margin + size + 18
    parts.append(f'<path class="tick" d="M{left:g} {base:g}h{length:.1f}m0 -3v6m-{length:.1f} -6v6" stroke="{SOFT}"/>')
    parts.append(_text(words, left + length + 8, base + 4))
    title = "Map of the models: the nearer two are, the better the heat maps of one serve the other"
    return _svg(parts, size + 2 * left, size + 2 * margin + 4, title=title, paper=paper)


def _scale(width: float) -> tuple[float, str]:
    """Return a round length of about a fifth of `width`, and its name."""
    bar = _round(width / 5)
    return bar, f"distance {bar:.2g}"


def _ticks(low: float, high: float) -> list[float]:
    step = _round((high - low or 1.0) / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * k for k in range(first, max(last, first + 1) + 1)]


def _round(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= value * (1 - 1e-9))


def _shade(part: float) -> tuple[str, bool]:
    """Return the colour for 0..1, and whether white is easier to read on it than black."""
    rgb = [round(low + (high - low) * part) for low, high in zip(_DARK, _BRIGHT, strict=True)]
    linear = [(value / 255) ** 2.2 for value in rgb]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return f"#{rgb[0]:02x}{rgb[1]:02x}{rgb[2]:02x}", luminance < 0.18


def _mark(place: int, x: float, y: float, colour: str, *, size: float = 4.0) -> str:
    form = _MARKS[place % len(_MARKS)]
    if form == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}" fill="{colour}"/>'
    if form == "square":
        return (
            f'<rect x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size:g}" height="{2 * size:g}" fill="{colour}"/>'
        )
    s = size * 1.3
    if form == "triangle":
        return f'<path d="M{x:.1f} {y - s:.1f}L{x + s:.1f} {y + 0.8 * s:.1f}H{x - s:.1f}Z" fill="{colour}"/>'
    return (
        f'<path d="M{x:.1f} {y - s:.1f}L{x + s:.1f} {y:.1f} {x:.1f} {y + s:.1f} {x - s:.1f} {y:.1f}Z" fill="{colour}"/>'
    )


def _text(
    words: str,
    x: float,
    y: float,
    *,
    anchor: str = "start",
    ink: bool = False,
    bold: bool = False,
    size: float = 10.5,
    colour: str | None = None,
) -> str:
    kind = "" if colour else f' class="{"ink" if ink else "soft"}"'
    fill = colour or (INK if ink else SOFT)
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" font-family="{_FONT}" text-anchor="{anchor}" '
        f'fill="{fill}"{weight}{kind}>{escape(words)}</text>'
    )


def _svg(parts: Sequence[str], width: float, height: float, *, title: str, paper: bool) -> str:
    ground = f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>' if paper else ""
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    head = f'{_NAMESPACE} class="figure" {size} role="img" aria-label="{escape(title, quote=True)}"'
    return f"<svg {head}>{ground}{''.join(parts)}</svg>\n"
