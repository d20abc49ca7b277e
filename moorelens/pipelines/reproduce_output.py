"""A reproduced table as files: rows as JSON, Markdown, CSV, LaTeX, and a picture of states published and ours."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from moorelens.text import escape

Row = Mapping[str, Any]
ROWS_JSON = "rows.json"
_HEAD = (
    "task", "codes", "published states", "states", "published minimised", "minimised", "minimum", "equal",
    "published score", "score", "95 % interval", "published protocol: minimised, score", "restarts", "seeds exact",
)  # fmt: skip
_TITLES = {
    "mce": "Mode counter environments: machines and accuracy in percent",
    "tomita": "Tomita grammars: machines and accuracy in percent",
    "control": "Control tasks: machines and returns",
    "atari": "Atari games: machines and returns",
}


def rows_json(rows: Sequence[Row]) -> bytes:
    """Return the rows as one JSON array."""
    return msgspec.json.encode(list(rows)) + b"\n"


def table_files(table: str, rows: Sequence[Row], exact: Mapping[str, tuple[int, int]]) -> dict[str, bytes]:
    """Return every file of a table, name -> bytes."""
    cells = [_cells(row, exact) for row in rows]
    return {
        ROWS_JSON: msgspec.json.format(rows_json(rows), indent=1),
        "table.md": _markdown(_TITLES[table], cells),
        "table.csv": _csv(cells),
        "table.tex": _latex(cells),
        "states.svg": _picture(_TITLES[table], rows),
    }


def _cells(row: Row, exact: Mapping[str, tuple[int, int]]) -> list[str]:
    reported, ours = row["published"], row["ours"] or {}
    replica = row["ours_published"]
    right = exact.get(f"{row['name']}-{row['setting'].replace(',', '-')}")
    low, high = ours.get("low"), ours.get("high")
    return [
        row["name"],
        row["setting"],
        _text(reported.get("unminimised_states")),
        _text(ours.get("unminimised_states")),
        _text(reported.get("states")),
        _text(ours.get("states")),
        _text(row["true_states"]),
        {True: "yes", False: "no", None: ""}[row["equivalent"]],
        _text(reported.get("score")),
        _text(ours.get("score")),
        "" if low is None else f"{_text(low)} to {_text(high)}",
        "" if replica is None else f"{_text(replica['states'])}, {_text(replica['score'])}",
        _text(row["restarts"]),
        "" if right is None else f"{right[0]} of {right[1]}",
    ]


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _markdown(title: str, cells: Sequence[Sequence[str]]) -> bytes:
    lines = [f"# {title}", "", f"| {' | '.join(_HEAD)} |", "|" + " --- |" * len(_HEAD)]
    lines += [f"| {' | '.join(row)} |" for row in cells]
    return ("\n".join(lines) + "\n").encode()


def _csv(cells: Sequence[Sequence[str]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([_HEAD, *cells])
    return buffer.getvalue().encode()


def _latex(cells: Sequence[Sequence[str]]) -> bytes:
    def line(row: Sequence[str]) -> str:
        return " & ".join(cell.replace("%", r"\%").replace("_", r"\_") for cell in row) + r" \\"

    columns = "ll" + "r" * (len(_HEAD) - 2)
    body = [r"\toprule", line(_HEAD), r"\midrule", *map(line, cells), r"\bottomrule"]
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", *body, r"\end{tabular}", ""]).encode()


_LEFT, _BAR, _GROUP, _WIDTH = 170, 9, 46, 420
_SERIES = (
    ("published, as extracted", "#bbbbbb", ("published", "unminimised_states")),
    ("published, minimised", "#777777", ("published", "states")),
    ("ours, as extracted", "#88bbdd", ("ours", "unminimised_states")),
    ("ours, minimised", "#225588", ("ours", "states")),
)


def _picture(title: str, rows: Sequence[Row]) -> bytes:
    """Draw states as bars on a logarithmic axis, and the true minimum, where it is known, as a line across a group."""
    values = [row[part].get(key) for row in rows for _, _, (part, key) in _SERIES if row[part]]
    most = max([value for value in values if value] or [1])
    decades = max(1, math.ceil(math.log10(most + 1)))
    height = 90 + _GROUP * len(rows)

    def x(value: float) -> float:
        return _LEFT + _WIDTH * math.log10(value + 1) / decades

    parts = [f'<text x="12" y="22" font-size="14">{escape(title)}: states</text>', *_legend()]
    for tick in (0, *(10**power for power in range(decades + 1) if 10**power < 10**decades)):
        at = x(tick)
        parts.append(f'<line x1="{at:.1f}" y1="64" x2="{at:.1f}" y2="{height - 22}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{at:.1f}" y="{height - 8}" text-anchor="middle">{tick}</text>')
    for i, row in enumerate(rows):
        top = 68 + _GROUP * i
        parts.append(
            f'<text x="{_LEFT - 8}" y="{top + 24}" text-anchor="end">'
            f"{escape(row['name'])} {escape(row['setting'])}</text>"
        )
        for j, (_, colour, (part, key)) in enumerate(_SERIES):
            value = (row[part] or {}).get(key)
            if value is not None:
                y = top + j * _BAR
                parts.append(
                    f'<rect x="{_LEFT}" y="{y}" width="{x(value) - _LEFT:.1f}" height="{_BAR - 1}" fill="{colour}"/>'
                )
                parts.append(f'<text x="{x(value) + 3:.1f}" y="{y + 7}" font-size="8">{value}</text>')
        if row["true_states"] is not None:
            at = x(row["true_states"])
            parts.append(
                f'<line x1="{at:.1f}" y1="{top - 2}" x2="{at:.1f}" y2="{top + 4 * _BAR}" '
                'stroke="#cc3311" stroke-width="1.5"/>'
            )
    size = f'width="{_LEFT + _WIDTH + 60}" height="{height}" viewBox="0 0 {_LEFT + _WIDTH + 60} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#ffffff"/>', *parts, "</svg>", ""]).encode()


def _legend() -> list[str]:
    parts, at = [], 12
    for name, colour, _ in _SERIES:
        parts.append(f'<rect x="{at}" y="36" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{at + 14}" y="45">{name}</text>')
        at += 22 + 6 * len(name)
    parts.append(f'<line x1="{at + 4}" y1="35" x2="{at + 4}" y2="47" stroke="#cc3311" stroke-width="1.5"/>')
    return [*parts, f'<text x="{at + 10}" y="45">true minimum</text>']
