"""Small drawings of the report, written as SVG text: action marks, return plots, dwell histograms, episode strips."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from moorelens.reports.data import ActionMark, Bin, Episode, ReportData
from moorelens.reports.format import count, number
from moorelens.reports.summary import Score

INK, SOFT, RULE, ACCENT = "#1c1c1c", "#6b6b6b", "#d9d9d6", "#b4432f"
FONT = "DejaVu Sans"
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


def silent_mark() -> ActionMark:
    """Return the look of "no action"."""
    return ActionMark(index=-1, name="no action", fill="#e6e6e6", stroke="#5c5c5c", shape="ellipse")


_PLAYER_WORDS = {
    "policy": "policy", "policy_stochastic": "policy, sampled", "mmn": "quantised net", "machine": "machine",
    "reduced": "reduced", "folded": "folded", "pruned": "pruned",
}  # fmt: skip


def returns_plot(data: ReportData) -> str | None:
    """Return one row per player: each game a dot, the mean a tick, its interval a bar; None without held-out returns."""
    rows = [(row.player, row.values) for row in data.seed_returns if row.protocol == "held_out" and row.values]
    if not rows:
        return None
    low, high = min(min(values) for _, values in rows), max(max(values) for _, values in rows)
    ticks = _ticks(low, high)
    left, width, step = 96.0, 520.0, 26.0
    bottom = step * len(rows) + 6

    def x(value: float) -> float:
        return left + width * (value - ticks[0]) / ((ticks[-1] - ticks[0]) or 1.0)

    parts = [
        f'<line x1="{x(tick):.1f}" y1="2" x2="{x(tick):.1f}" y2="{bottom:.1f}" stroke="{RULE}" class="rule"/>'
        + _text(number(tick, digits=0), x=x(tick), y=bottom + 13, anchor="middle")
        for tick in ticks
    ]
    for place, (player, values) in enumerate(rows):
        middle = step * place + step / 2 + 2
        parts.append(_text(_PLAYER_WORDS.get(player, player), x=left - 12, y=middle + 3.5, anchor="end", ink=True))
        parts += _dots([x(value) for value in values], middle)
        parts.append(_mean_mark(getattr(data.summary.returns, player, None), x, middle))
    alt = "Return of each player on each held-out game, with mean and 95 % interval."
    return _svg("".join(parts), width=left + width + 24, height=bottom + 20, name="returns", alt=alt)


def _dots(places: Sequence[float], middle: float) -> list[str]:
    """Return one dot per game, equal ones piled up symmetrically so that none hides another."""
    seen: dict[int, int] = {}
    dots = []
    for place in sorted(places):
        column = round(place / 3)
        pile = seen.get(column, 0)
        seen[column] = pile + 1
        # Beyond the height of the row the pile starts over: the dots are transparent, so it darkens.
        offset = ((pile % 7 + 1) // 2) * 2.6 * (1 if pile % 2 else -1)
        dots.append(
            f'<circle cx="{column * 3}" cy="{middle + offset:.1f}" r="1.7" fill="{SOFT}" fill-opacity="0.55" class="dot"/>'
        )
    return dots


def _mean_mark(score: Score | None, x: object, middle: float) -> str:
    assert callable(x)
    if score is None:
        return ""
    tick = f'<line x1="{x(score.mean):.1f}" y1="{middle - 8:.1f}" x2="{x(score.mean):.1f}" y2="{middle + 8:.1f}" stroke="{ACCENT}" stroke-width="2" class="accent"/>'
    if score.low is None or score.high is None:
        return tick
    return (
        f'<line x1="{x(score.low):.1f}" y1="{middle:.1f}" x2="{x(score.high):.1f}" y2="{middle:.1f}" stroke="{ACCENT}" '
        f'stroke-width="3.5" stroke-opacity="0.55" class="accent"/>{tick}'
    )


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
    """Return bars of equal width, each with its range below and its count above where there is room."""
    shown = list(bins)[:24]
    most = max((item.count for item in shown), default=0) or 1
    width, height = 16.0, 40.0
    parts = []
    for place, item in enumerate(shown):
        tall = max(height * item.count / most, 0.8 if item.count else 0.0)
        parts.append(
            f'<rect x="{place * width + 1:.1f}" y="{height - tall + 10:.1f}" width="{width - 2:.1f}" height="{tall:.1f}" '
            f'fill="{SOFT}" class="bar"/>'
        )
        label = str(item.low) if item.low == item.high else f"{item.low}\u2013{item.high}"
        if len(shown) <= 12 or place % 3 == 0:
            parts.append(_text(label, x=(place + 0.5) * width, y=height + 20, anchor="middle", size=7.5))
    total = sum(item.count for item in bins)
    return _svg("".join(parts), width=max(width * len(shown), 60), height=height + 26, name="histogram", alt=f"{title}; {count(total)} stays in all.")  # fmt: skip


def episode_strip(episode: Episode, marks: Mapping[int, ActionMark]) -> str:
    """Return the episode as one strip: a colour per action, runs of equal actions joined, a tick at each decision."""
    steps = len(episode.actions)
    width, height = 680.0, 22.0
    unit = width / max(steps, 1)
    parts, start = [], 0
    for step in range(1, steps + 1):
        if step == steps or episode.actions[step] != episode.actions[start]:
            fill = marks.get(episode.actions[start], silent_mark()).fill
            parts.append(
                f'<rect x="{start * unit:.2f}" y="0" width="{(step - start) * unit:.2f}" height="{height}" fill="{fill}"/>'
            )
            start = step
    for step in episode.decisions if len(episode.decisions) <= 170 else ():
        x = (step + 0.5) * unit
        parts.append(
            f'<line x1="{x:.2f}" y1="{height}" x2="{x:.2f}" y2="{height + 4}" stroke="{SOFT}" stroke-width="0.8" class="tick"/>'
        )
    alt = f"{count(steps)} steps coloured by action, return {number(episode.total)}."
    return _svg("".join(parts), width=width, height=height + 5, name="strip", alt=alt)


def share_bar(share: float) -> str:
    """Return a thin bar of length `share` (0..1)."""
    body = (
        f'<rect x="0" y="0" width="100" height="4" fill="{RULE}" class="rule-fill"/>'
        f'<rect x="0" y="0" width="{100 * min(max(share, 0.0), 1.0):.1f}" height="4" fill="{SOFT}" class="bar"/>'
    )
    return f'<svg {_NAMESPACE} class="share" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">{body}</svg>'


def _text(words: str, *, x: float, y: float, anchor: str, size: float = 9.5, ink: bool = False) -> str:
    color, name = (INK, "ink") if ink else (SOFT, "soft")
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-family="{FONT}" font-size="{size:g}" fill="{color}" '
        f'class="{name}">{escape(words)}</text>'
    )


def _svg(body: str, *, width: float, height: float, name: str, alt: str) -> str:
    return (
        f'<svg {_NAMESPACE} class="figure {name}" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        f'role="img" aria-label="{escape(alt, quote=True)}">{body}</svg>'
    )
