"""Small drawings of the report, written as SVG text: action marks, return plots, dwell histograms, episode strips."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from moorelens.reports.data import ActionMark, Bin, Episode, ReportData
from moorelens.reports.format import count, number
from moorelens.reports.summary import Score
from moorelens.text import escape

INK, SOFT, RULE, ACCENT = "#1c1c1c", "#6b6b6b", "#d9d9d6", "#b4432f"
FONT = "DejaVu Sans"
# Steps in a row of an episode strip, four units wide each, and how many rows one episode may have.
_ROW_STEPS = 170
_ROWS_SHOWN = 5
_NAMESPACE = 'xmlns="http://www.w3.org/2000/svg"'

# Outlines in a box of 20 by 14; anything else is an ellipse.
_OUTLINES: dict[str, str] = {
    "left": "M1 7 7 1H19V13H7Z",
    "right": "M19 7 13 1H1V13H13Z",
    "up": "M10 0 19 5V14H1V5Z",
    "down": "M10 14 19 9V0H1V9Z",
    "box": "M4 1H16Q19 1 19 4V10Q19 13 16 13H4Q1 13 1 10V4Q1 1 4 1Z",
    "hexagon": "M1 7 6 1H14L19 7 14 13H6Z",
    "octagon": "M1 5 6 1H14L19 5V9L14 13H6L1 9Z",
    "trapezium": "M1 13 5 1H15L19 13Z",
    "invtrapezium": "M1 1 5 13H15L19 1Z",
    "parallelogram": "M1 13 6 1H19L14 13Z",
    "pentagon": "M10 0 19 6 16 14H4L1 6Z",
    "septagon": "M10 0 18 3 19 9 14 14H6L1 9 2 3Z",
    "note": "M1 1H15L19 5V13H1Z",
    "tab": "M1 1H8V3H19V13H1Z",
    "folder": "M1 3H12L13 1H18L19 3V13H1Z",
    "component": "M3 1H19V13H3V11H1V9H3V5H1V3H3Z",
    "egg": "M1 8Q3 1 10 1 17 1 19 8 17 13 10 13 3 13 1 8Z",
}


def action_mark(mark: ActionMark) -> str:
    """Return the shape of one action in its colours, 20 by 14."""
    style = f'fill="{mark.fill}" stroke="{mark.stroke}" stroke-width="1.2"'
    outline = _OUTLINES.get(mark.shape)
    body = f'<path d="{outline}" {style}/>' if outline else f'<ellipse cx="10" cy="7" rx="9" ry="6" {style}/>'
    return f'<svg {_NAMESPACE} class="mark" viewBox="-1 -1 22 16" width="22" height="16">{body}</svg>'


def outline_of(shape: str) -> str:
    """Return the outline of an action's shape as path data in a box of 20 by 14."""
    return _OUTLINES.get(shape, "M1 7A9 6 0 1 1 19 7A9 6 0 1 1 1 7Z")


def silent_mark() -> ActionMark:
    """Return the look of "no action"."""
    return ActionMark(index=-1, name="no action", fill="#e6e6e6", stroke="#5c5c5c", shape="ellipse")


_PLAYER_WORDS = {
    "policy": "policy", "policy_stochastic": "policy, sampled", "mmn": "quantised net", "machine": "machine",
    "reduced": "reduced", "folded": "folded", "pruned": "pruned",
}  # fmt: skip


def returns_plot(data: ReportData) -> str | None:
    """Return a row per player: each game a dot, the mean a tick, its interval a bar; None without held-out returns."""
    rows = [(row.player, row.values) for row in data.seed_returns if row.protocol == "held_out" and row.values]
    if not rows:
        return None
    ticks = _ticks(min(min(values) for _, values in rows), max(max(values) for _, values in rows))
    left, width, step = 96.0, 520.0, 26.0
    bottom = step * len(rows) + 6

    def x(value: float) -> float:
        return left + width * (value - ticks[0]) / ((ticks[-1] - ticks[0]) or 1.0)

    parts = []
    for tick in ticks:
        parts.append(_line(x(tick), 2, x(tick), bottom, color=RULE, name="rule"))
        parts.append(_text(number(tick, digits=0), x=x(tick), y=bottom + 13, anchor="middle"))
    for place, (player, values) in enumerate(rows):
        middle = step * place + step / 2 + 2
        parts.append(_text(_PLAYER_WORDS.get(player, player), x=left - 12, y=middle + 3.5, anchor="end", ink=True))
        parts += _dots([x(value) for value in values], middle)
        parts += _mean_mark(getattr(data.summary.returns, player, None), x, middle)
    alt = "Return of each player on each held-out game, with mean and 95 % interval."
    return _svg("".join(parts), width=left + width + 24, height=bottom + 20, name="returns", alt=alt)


def _dots(places: Sequence[float], middle: float) -> list[str]:
    """Return one dot per game, equal ones piled up symmetrically so that none hides another."""
    seen: Counter[int] = Counter()
    dots = []
    for place in sorted(places):
        column = round(place / 3)
        pile = seen[column]
        seen[column] += 1
        # Beyond the height of the row the pile starts over: the dots are transparent, so it darkens.
        offset = ((pile % 7 + 1) // 2) * 2.6 * (1 if pile % 2 else -1)
        center = f'cx="{column * 3}" cy="{middle + offset:.1f}"'
        dots.append(f'<circle {center} r="1.7" fill="{SOFT}" fill-opacity="0.55" class="dot"/>')
    return dots


def _mean_mark(score: Score | None, x: Callable[[float], float], middle: float) -> list[str]:
    if score is None:
        return []
    marks = [_line(x(score.mean), middle - 8, x(score.mean), middle + 8, color=ACCENT, width=2, name="accent")]
    if score.low is not None and score.high is not None:
        bar = _line(x(score.low), middle, x(score.high), middle, color=ACCENT, width=3.5, name="accent", opacity=0.55)
        marks.insert(0, bar)
    return marks


def _ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers that enclose `low..high`."""
    if high - low < 1e-9:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / 4
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [place * step for place in range(first, last + 1)]


def histogram(bins: Sequence[Bin], *, title: str) -> str:
    """Return one bar per bin of `bins`, 24 at most, each with its range below."""
    shown = list(bins)[:24]
    most = max((item.count for item in shown), default=0) or 1
    unit, tall = 16.0, 40.0
    parts = []
    for place, item in enumerate(shown):
        height = max(tall * item.count / most, 0.8 if item.count else 0.0)
        parts.append(_rect(place * unit + 1, tall - height + 10, unit - 2, height, fill=SOFT, name="bar"))
        label = str(item.low) if item.low == item.high else f"{item.low}\u2013{item.high}"
        if len(shown) <= 12 or place % 3 == 0:
            parts.append(_text(label, x=(place + 0.5) * unit, y=tall + 20, anchor="middle", size=7.5))
    alt = f"{title}; {count(sum(item.count for item in bins))} stays in all."
    return _svg("".join(parts), width=max(unit * len(shown), 60), height=tall + 26, name="histogram", alt=alt)


def episode_strip(episode: Episode, marks: Mapping[int, ActionMark]) -> str:
    """Return the episode as strips: a colour per action, runs of equal actions joined, a tick at each decision.

    Episodes of up to 850 steps are set in rows of 170; longer ones share one row, without ticks.
    """
    steps = len(episode.actions)
    rows = -(-steps // _ROW_STEPS)
    length = _ROW_STEPS if rows <= _ROWS_SHOWN else steps
    rows = rows if rows <= _ROWS_SHOWN else 1
    width, tall, pitch = 680.0, 11.0, 18.0
    unit = width / max(min(length, steps), 1)
    parts, start = [], 0
    for step in range(1, steps + 1):
        if step == steps or step % length == 0 or episode.actions[step] != episode.actions[start]:
            fill = marks.get(episode.actions[start], silent_mark()).fill
            x, y = (start % length) * unit, (start // length) * pitch
            parts.append(_rect(x, y, (step - start) * unit, tall, fill=fill, name="run"))
            start = step
    for step in episode.decisions if length == _ROW_STEPS else ():
        x, y = (step % length + 0.5) * unit, (step // length) * pitch + tall
        parts.append(_line(x, y, x, y + 3, color=SOFT, width=0.8, name="tick"))
    alt = f"{count(steps)} steps coloured by action, return {number(episode.total)}."
    return _svg("".join(parts), width=width, height=max(rows, 1) * pitch - 2, name="strip", alt=alt)


def share_bar(share: float) -> str:
    """Return a thin bar of length `share` (0..1)."""
    length = 100 * min(max(share, 0.0), 1.0)
    body = _rect(0, 0, 100, 4, fill=RULE, name="rule-fill") + _rect(0, 0, length, 4, fill=SOFT, name="bar")
    head = f'{_NAMESPACE} class="share" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true"'
    return f"<svg {head}>{body}</svg>"


def _line(
    x1: float, y1: float, x2: float, y2: float, *, color: str, name: str, width: float = 1.0, opacity: float = 1.0
) -> str:
    ends = f'x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}"'
    return f'<line {ends} stroke="{color}" stroke-width="{width:g}" stroke-opacity="{opacity:g}" class="{name}"/>'


def _rect(x: float, y: float, width: float, height: float, *, fill: str, name: str) -> str:
    box = f'x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"'
    return f'<rect {box} fill="{fill}" class="{name}"/>'


def _text(words: str, *, x: float, y: float, anchor: str, size: float = 9.5, ink: bool = False) -> str:
    color, name = (INK, "ink") if ink else (SOFT, "soft")
    font = f'text-anchor="{anchor}" font-family="{FONT}" font-size="{size:g}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {font} fill="{color}" class="{name}">{escape(words)}</text>'


def _svg(body: str, *, width: float, height: float, name: str, alt: str) -> str:
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    label = f'role="img" aria-label="{escape(alt, quote=True)}"'
    return f'<svg {_NAMESPACE} class="figure {name}" {size} {label}>{body}</svg>'
