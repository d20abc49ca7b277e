"""What image_explainers.py measured, as tables (image_explainers.md) and as one drawing (image_explainers.svg).

python benchmarks/image_explainers_pages.py [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

GRIDS = (7, 14, 28)
COLOURS = {7: "#aa7700", 14: "#2f6da8", 28: "#b4432f"}
INK, SOFT, RULE, FONT = "#1c1c1c", "#5b5b5b", "#d8d8d8", "DejaVu Sans, sans-serif"
_LEFT, _WIDTH, _STEP, _GAP = 214.0, 170.0, 22.0, 34.0


def pages(found: dict[str, Any]) -> dict[str, str]:
    """Return both files by name."""
    parts = ["# Explainers of pictures, side by side", _made(found)]
    if "acceptance" in found:
        parts += ["## Planted shapes, each explainer at its defaults", acceptance_table(found["acceptance"])]
        parts += [difference_lines(found["acceptance"]["differences"])]
    if "watermark" in found:
        parts += ["## A letter in the corner", watermark_table(found["watermark"])]
    if "random" in found:
        parts += ["## The same pictures, random weights", random_table(found["random"])]
    for name, rows in found.get("side", {}).items():
        parts += [f"## {name.capitalize()}, ranked in cells of three grids", side_table(rows)]
    if "side" in found:
        parts.append("![Deletion, insertion and calls of each explainer](image_explainers.svg)")
    drawn = {"image_explainers.svg": drawing(found["side"])} if "side" in found else {}
    return {"image_explainers.md": "\n\n".join(parts) + "\n", **drawn}


def _made(found: dict[str, Any]) -> str:
    versions = found["versions"]
    return (
        "Made by `python benchmarks/image_explainers.py` and `python benchmarks/image_explainers_pages.py`; torch "
        f"{versions['torch']}, {versions['threads']} thread, {versions['machine']}. In brackets 95 % intervals over "
        "pictures. Deletion: low is good; insertion: high is good. Calls are rows through the network, seconds of CPU, "
        "both for one picture of a batch."
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def interval(values: Sequence[float | None], digits: int = 3) -> str:
    """Return a mean with its interval."""
    mean, low, high = values
    if low is None or high is None:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def acceptance_table(found: dict[str, Any]) -> str:
    """Return deletion, insertion, pointing and cost of each explainer, pixel by pixel."""
    rows = [
        [
            f"`{line['explainer']}`",
            *[interval(line[name]) for name in ("deletion", "insertion", "pointing", "mass")],
            str(line["calls"]),
            f"{line['seconds']:.3f}",
        ]
        for line in found["rows"]
    ]
    heads = ["explainer", "deletion", "insertion", "pointing game", "mass on the glyph", "calls", "seconds"]
    count = found["rows"][0]["images"]
    return (
        f"{count} pictures that `bundled:shapes-bn` names rightly and whose blurring costs more than half of the "
        f"answer; the glyph covers {found['area'][0]:.1%} of them.\n\n{table(heads, rows)}"
    )


def difference_lines(differences: Sequence[dict[str, Any]]) -> str:
    """Return the paired differences that were asked for."""
    rows = [
        [line["curve"], f"`{line['higher']}`", f"`{line['lower']}`", interval(line["difference"])]
        for line in differences
    ]
    return "Paired differences on the same pictures:\n\n" + table(["curve", "higher", "lower", "difference"], rows)


def watermark_table(found: dict[str, Any]) -> str:
    """Return the share of the mass on the letter for both networks."""
    biased, clean = found["watermark-biased"], found["watermark-clean"]
    rows = [
        [f"`{name}`", interval(biased[name]), interval(clean[name])]
        for name in biased
        if name not in ("images", "area")
    ]
    return (
        f"The share of the map's mass on the letter, which covers {biased['area'][0]:.1%} of the picture "
        f"({biased['images']} pictures each).\n\n"
        + table(["explainer", "network that reads it", "network that does not"], rows)
    )


def random_table(found: dict[str, Any]) -> str:
    """Return how often the peak lies on each object under random weights."""
    names = [name for name in found if name not in ("images", "networks", "area")]
    rows = [[f"`{name}`", *[interval(found[name][of], 2) for of in ("glyph", "distractors")]] for name in names]
    return (
        f"The share of {found['images']} pictures, under {found['networks']} random networks, whose peak lies on the "
        f"glyph ({found['area'][0]:.1%} of the picture), and on one of the two distractors.\n\n"
        + table(["explainer", "on the glyph", "on a distractor"], rows)
    )


def side_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return one line an explainer, three grids in a cell."""
    lines = []
    for name in dict.fromkeys(line["explainer"] for line in rows):
        mine = [line for line in rows if line["explainer"] == name]
        cells = [" / ".join(f"{line[curve][0]:.3f}" for line in mine) for curve in ("deletion", "insertion")]
        pointing = " / ".join(f"{line['pointing'][0]:.2f}" for line in mine) if "pointing" in mine[0] else ""
        calls = " / ".join(dict.fromkeys(str(line["calls"]) for line in mine))
        seconds = " / ".join(dict.fromkeys(f"{line['seconds']:.3f}" for line in mine))
        lines.append([name, *cells, *([pointing] if pointing else []), calls, seconds])
    heads = ["explainer", "deletion", "insertion", *(["pointing"] if "pointing" in rows[0] else []), "calls", "seconds"]
    return f"{rows[0]['images']} pictures; 7 x 7 / 14 x 14 / 28 x 28 cells.\n\n{table(heads, lines)}"


def drawing(side: dict[str, Any]) -> str:
    """Return a row of dot plots for each set of pictures: deletion, insertion and calls, a dot a grid."""
    parts: list[str] = []
    top = 40.0
    for name, rows in side.items():
        names = list(dict.fromkeys(line["explainer"] for line in rows))
        parts.append(_text(f"{name}, {rows[0]['images']} pictures", 12, top - 18, bold=True))
        for place, explainer in enumerate(names):
            parts.append(_text(explainer, _LEFT - 12, top + _STEP * (place + 0.5) + 4, anchor="end"))
        for place, (title, value) in enumerate(_PANELS):
            parts += _panel(rows, names, title, value, left=_LEFT + place * (_WIDTH + _GAP), top=top)
        top += _STEP * len(names) + 84
    for place, grid in enumerate(GRIDS):
        x = _LEFT + place * 120
        parts.append(f'<circle cx="{x:.1f}" cy="{top - 38:.1f}" r="4.5" fill="{COLOURS[grid]}"/>')
        parts.append(_text(f"{grid} x {grid} cells", x + 10, top - 34))
    width = _LEFT + 3 * (_WIDTH + _GAP)
    head = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {top - 20:.0f}" role="img"'
    label = 'aria-label="Deletion, insertion and calls of each explainer at three grids"'
    return f'<svg {head} {label}><rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>\n'


_PANELS: tuple[tuple[str, Callable[[dict[str, Any]], float]], ...] = (
    ("deletion: lower is better", lambda line: line["deletion"][0]),
    ("insertion: higher is better", lambda line: line["insertion"][0]),
    ("calls, on a scale of tens", lambda line: math.log10(max(1, line["calls"]))),
)


def _panel(
    rows: Sequence[dict[str, Any]],
    names: Sequence[str],
    title: str,
    value: Callable[[dict[str, Any]], float],
    *,
    left: float,
    top: float,
) -> list[str]:
    values = [value(line) for line in rows]
    calls = title.startswith("calls")
    low, high = (0.0, math.ceil(max(values))) if calls else (math.floor(min(values) * 10) / 10, 1.0)
    if title.startswith("deletion"):
        high = math.ceil(max(values) * 10) / 10
    bottom = top + _STEP * len(names)

    def x(at: float) -> float:
        return left + _WIDTH * (at - low) / ((high - low) or 1.0)

    parts = [_text(title, left, top - 4, soft=True)]
    ticks = list(range(int(high) + 1)) if calls else [low + k * (high - low) / 2 for k in range(3)]
    for tick in ticks:
        parts.append(f'<path d="M{x(tick):.1f} {top + 4:.1f}V{bottom:.1f}" stroke="{RULE}" fill="none"/>')
        parts.append(
            _text(f"{10**tick:g}" if calls else f"{tick:.2f}", x(tick), bottom + 14, anchor="middle", soft=True)
        )
    for line in rows:
        if calls and not line["calls"]:
            continue
        y = top + _STEP * (names.index(line["explainer"]) + 0.5) + (GRIDS.index(line["grid"]) - 1) * 4
        parts.append(f'<circle cx="{x(value(line)):.1f}" cy="{y:.1f}" r="4" fill="{COLOURS[line["grid"]]}"/>')
    return parts


def _text(words: str, x: float, y: float, *, anchor: str = "start", bold: bool = False, soft: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="11.5" font-family="{FONT}" text-anchor="{anchor}"'
    return f'<text {place} fill="{SOFT if soft else INK}"{weight}>{escape(words)}</text>'


def main() -> None:
    """Write both files beside the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    folder = parser.parse_args().out
    found = json.loads((folder / "image_explainers.json").read_text(encoding="utf-8"))
    for name, text in pages(found).items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
