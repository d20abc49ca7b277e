"""Learning curves as a table and as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from moorelens.text import escape

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 640, 360, 64, 44, 34, 16


def curve_csv(rows: Sequence[Mapping[str, float]]) -> bytes:
    """Return the rows as CSV, one column per key of any row, empty where a row has none."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(
            text, fieldnames=list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue().encode()


def curve_svg(rows: Sequence[Mapping[str, float]], *, title: str, target: float | None = None) -> bytes:
    """Draw the mean return on the selection seeds over steps, its range as a band, and the target as a dashed line."""
    if not rows:
        return b'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="360"/>\n'
    steps = [row["steps"] for row in rows]
    low, high = min(row["selection_min"] for row in rows), max(row["selection_max"] for row in rows)
    if target is not None:
        low, high = min(low, target), max(high, target)
    span = (high - low) or 1.0
    last = max(steps) or 1.0

    def at(step: float, value: float) -> str:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / last
        y = _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * (value - low) / span
        return f"{x:.1f},{y:.1f}"

    band = [at(row["steps"], row["selection_max"]) for row in rows]
    band += [at(row["steps"], row["selection_min"]) for row in reversed(rows)]
    parts = [
        f'<polygon points="{" ".join(band)}" fill="#4477aa" fill-opacity="0.18"/>',
        f'<polyline points="{" ".join(at(row["steps"], row["selection_mean"]) for row in rows)}" fill="none" '
        'stroke="#4477aa" stroke-width="2"/>',
        *_axes(low, high, last),
    ]
    if target is not None:
        line = f"{at(0, target)} {at(last, target)}"
        parts.append(f'<polyline points="{line}" fill="none" stroke="#aa3377" stroke-dasharray="5 4"/>')
    size = f'width="{_WIDTH}" height="{_HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    name = f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#ffffff"/>', name, *parts, "</svg>", ""]).encode()


def _axes(low: float, high: float, last: float) -> list[str]:
    bottom = _HEIGHT - _BOTTOM
    parts = [f'<path d="M{_LEFT} {_TOP}V{bottom}H{_WIDTH - _RIGHT}" fill="none" stroke="#555555"/>']
    for i in range(5):
        y = bottom - (bottom - _TOP) * i / 4
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * i / 4
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{low + (high - low) * i / 4:.4g}</text>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{last * i / 4:,.0f}</text>')
    parts.append(f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">environment steps</text>')
    return parts
