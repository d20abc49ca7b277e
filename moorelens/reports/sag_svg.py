"""The attention graph as SVG: each set with the picture that the model saw, and what every removal costs."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from moorelens.reports.figures import FONT, INK, RULE, SOFT
from moorelens.reports.format import count, number, plural, printable, share
from moorelens.reports.sag_layout import CAPTION, MARGIN, Layout, lay_out, thumb_size
from moorelens.saliency.sets.sag import SAG, SAGGrid, SAGNode
from moorelens.saliency.sets.text import patch_name, set_name

_NAMESPACE = 'xmlns="http://www.w3.org/2000/svg"'
GOOD, MIXED, POOR, SHOWN, LOST = "#2b6e4f", "#8a6200", "#a63d2a", "#ffffff", "#e0301e"
THUMB = 96.0  # units that the longer side of a thumbnail takes
_LETTERS, _LETTER = 17, 6.7  # that fit below a thumbnail; width of one, at most
_NAMED = 6  # parts of a set that a sentence names
_RARE, FAR = 0.01, 10.0  # score of a whole, and multiples of it, at which a share of it says nothing


@dataclass(frozen=True, kw_only=True)
class SAGPictures:
    """PNGs of one size, pixel by pixel what the model was shown: the whole input, nothing of it, and each node."""

    whole: bytes
    nothing: bytes
    nodes: tuple[bytes, ...]


def sag_svg(sag: SAG, pictures: SAGPictures | None, *, title: str, answer: str, paper: bool = True) -> str:
    """Return the drawing; `pictures` None: patches are features, and nodes list their names.

    `title`: what was explained; `answer`: the score in words, such as `probability of disc`. `paper`: on white, as a
    file of its own; else in the colours of the page that it stands on.
    """
    thumb = thumb_size(sag.grid, THUMB)
    head = _Head(sag=sag, pictures=pictures, title=title, answer=answer, thumb=thumb)
    layout = lay_out(sag, top=head.height, thumb=thumb, least_width=head.width)
    # Above the middle of a wide graph, where a page opens it.
    parts = [f'<g transform="translate({(layout.width - head.width) / 2:g} 0)">', *head.parts(), "</g>"]
    parts += [_edge(sag, layout, index) for index in range(len(sag.edges))]
    parts += [_node(sag, layout, index, pictures) for index in range(len(sag.nodes))]
    ground = f'<rect width="{layout.width:g}" height="{layout.height:g}" fill="#ffffff"/>' if paper else ""
    size = f'viewBox="0 0 {layout.width:g} {layout.height:g}" width="{layout.width:g}" height="{layout.height:g}"'
    role = f'role="{"img" if paper else "group"}" aria-label="{_safe(alt_text(sag, answer))}"'
    return f'<svg {_NAMESPACE} class="sag" {size} {role} font-family="{FONT}">{ground}{"".join(parts)}</svg>\n'


def alt_text(sag: SAG, answer: str) -> str:
    """Return the drawing in a sentence."""
    if outdone(sag):
        name = whole_of(sag)
        return (
            f"The {answer} is higher for the hidden {name} ({number(sag.empty, digits=3)}) than for the {name} itself "
            f"({number(sag.full, digits=3)}), so nothing is to be explained under this baseline."
        )
    if sag.vacuous:
        return f"Nothing needs to be shown: hidden as a whole, the input keeps {kept(_ratio(sag))} of the {answer}."
    roots = [sag.nodes[index] for index in sag.roots]
    if not roots:
        return f"No set of {unit_of(sag)[1]} was found that alone keeps {percent(sag.p_high)} of the {answer}."
    named = "; ".join(f"{called(sag, node)} ({kept(node.relative)})" for node in roots)
    return f"Sets of {unit_of(sag)[1]} that alone keep {percent(sag.p_high)} of the {answer} or more: {named}."


def unit_of(sag: SAG) -> tuple[str, str]:
    """Return what one part of the input is called, and several."""
    vector = sag.grid is not None and len(sag.grid.size) == 1
    return ("feature", "features") if vector else ("patch", "patches")


def whole_of(sag: SAG) -> str:
    """Return what the whole input is called."""
    return "input" if unit_of(sag)[0] == "feature" else "picture"


def outdone(sag: SAG) -> bool:
    """Say whether the hidden input scores so far above the whole that a share of the whole would mislead."""
    rare = sag.full < _RARE and sag.empty > sag.full
    return sag.vacuous and (rare or _ratio(sag) > FAR)


def kept(part: float) -> str:
    """Return the share of the whole's score that a set keeps; far above it, how many times the whole: `52 times`."""
    return share(part) if part <= FAR else f"{count(part)} times"


def percent(part: float) -> str:
    """Return a threshold as it was asked for: `90 %`."""
    return f"{100 * part:g}\u202f%"


def called(sag: SAG, node: SAGNode) -> str:
    """Return the names of a set's parts, of a large set only how many there are."""
    size = len(node.patches)
    return set_name(node.patches, sag.grid) if size <= _NAMED else f"a set of {size} {unit_of(sag)[1]}"


def patch_called(sag: SAG, patch: int) -> str:
    """Return the name of a part for a sentence: in quotation marks where it is of several words."""
    name = patch_name(patch, sag.grid)
    return f"\u201c{name}\u201d" if " " in name else name


def node_words(sag: SAG, index: int) -> str:
    """Return a node in a sentence, for those who hear the page."""
    node = sag.nodes[index]
    kind = "sufficient set" if node.root else "set"
    return f"{kind} {set_name(node.patches, sag.grid)}: {kept(node.relative)} of the whole"


def level_of(sag: SAG, node: SAGNode) -> str:
    """Return `good` for a set that suffices, `mixed` for one that is expanded further, else `poor`."""
    return "good" if node.relative >= sag.p_high else "mixed" if node.relative > sag.p_low else "poor"


def weight_of(drop: float) -> int:
    """Return 1, 2 or 3 for a drop below 20 points, below 60, and from 60 on (the classes of the published drawing)."""
    return 1 if drop < 0.2 else 2 if drop < 0.6 else 3


@dataclass(frozen=True, kw_only=True)
class _Head:
    """The whole input and nothing of it, with their scores, and beside them what the drawing says in words."""

    sag: SAG
    pictures: SAGPictures | None
    title: str
    answer: str
    thumb: tuple[float, float]

    @property
    def height(self) -> float:
        shown = self.thumb[1] + CAPTION if self.pictures else 0.0
        return MARGIN + max(shown, 15.0 * len(self._lines()) + 8) + 34

    @property
    def width(self) -> float:
        shown = 2 * (self.thumb[0] + 14) if self.pictures else 0.0
        return 2 * MARGIN + shown + _LETTER * max(len(line) for line in self._lines())

    def parts(self) -> Iterator[str]:
        x = MARGIN
        if self.pictures:
            for png, name, value in (
                (self.pictures.whole, "all shown", self.sag.full),
                (self.pictures.nothing, "all hidden", self.sag.empty),
            ):
                yield f'<g transform="translate({x:g} {MARGIN:g})">{_image(png, self.thumb)}'
                yield _frame(self.thumb, "plain", RULE, 1.0)
                yield _words(name, 0, self.thumb[1] + 14, SOFT, "soft")
                yield _words(number(value, digits=3), 0, self.thumb[1] + 28, INK, "ink") + "</g>"
                x += self.thumb[0] + 14
        for line, text in enumerate(self._lines()):
            bold = ' font-weight="600"' if line == 0 else ""
            colour, kind = (INK, "ink") if line == 0 else (SOFT, "soft")
            yield _words(text, x, MARGIN + 11 + 15 * line, colour, kind, extra=bold)

    def _lines(self) -> list[str]:
        lines = [self.title, f"{self.answer}: {number(self.sag.full, digits=3)}"]
        if not self.pictures:
            lines.append(f"with every feature replaced: {number(self.sag.empty, digits=3)}")
        if outdone(self.sag):
            return [*lines, f"The hidden {whole_of(self.sag)} scores higher: nothing", "is to be explained under it."]
        if self.sag.vacuous:
            return [*lines, "Nothing needs to be shown for it:", f"all hidden keeps {kept(_ratio(self.sag))} of it."]
        if not self.sag.nodes:
            return [*lines, f"No set that alone keeps {percent(self.sag.p_high)}", "of it was found."]
        lines.append(f"thick frame: enough alone, {percent(self.sag.p_high)} of it or more")
        lines.append("lines: one part less; the thicker, the more it costs")
        return [*lines, "white: shown; red: hidden on the way here"] if self.pictures else lines


def _node(sag: SAG, layout: Layout, index: int, pictures: SAGPictures | None) -> str:
    node, (x, y) = sag.nodes[index], layout.places[index]
    level = level_of(sag, node)
    colour = {"good": GOOD, "mixed": MIXED, "poor": POOR}[level]
    if pictures is not None and sag.grid is not None:
        shown = f'<g class="thumb">{_image(pictures.nodes[index], layout.thumb)}{_outlines(sag, index, layout)}</g>'
    else:
        shown = _names(sag, node, layout.thumb)
    width, height = layout.thumb
    below = "" if not node.hidden_children else f" +{node.hidden_children}"
    caption = (
        f'<text y="{height + 15:g}" font-size="12"><tspan font-weight="600" fill="{colour}" class="fill {level}">'
        f'{kept(node.relative)}</tspan><tspan dx="6" fill="{SOFT}" class="soft">{number(node.value, digits=3)}{below}'
        "</tspan></text>"
    )
    name = (
        ""
        if pictures is None
        else _words(_short(set_name(node.patches, sag.grid)), 0, height + 29, SOFT, "soft", size=10.5)
    )
    frame = _frame((width, height), level, colour, 2.6 if node.root else 1.1)
    return (
        f'<g class="node{" root" if node.root else ""}" id="n{index}" transform="translate({x:g} {y:g})">'
        f"<title>{_safe(node_words(sag, index))}</title>{shown}{frame}{caption}{name}</g>"
    )


def _edge(sag: SAG, layout: Layout, index: int) -> str:
    edge = sag.edges[index]
    (x1, y1), (x2, y2) = layout.places[edge.parent], layout.places[edge.child]
    width, height = layout.thumb
    x1, y1, x2 = x1 + width / 2, y1 + height + CAPTION, x2 + width / 2
    bend = (y2 - y1) / 2
    weight = weight_of(edge.drop)
    colour, width = (("#b9b5aa", 0.9), ("#8b877c", 2.0), (POOR, 3.2))[weight - 1]
    text = f"without {patch_called(sag, edge.patch)}: {points(edge.drop)}"
    return (
        f'<path class="edge w{weight}" id="e{index}" d="M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 + bend:.1f} {x2:.1f} '
        f'{y2 - bend:.1f} {x2:.1f} {y2:.1f}" fill="none" stroke="{colour}" stroke-width="{width:g}">'
        f"<title>{_safe(text)}</title></path>"
    )


def points(drop: float) -> str:
    """Return what a removal does in points of the whole's score, with its sign: `−41 points`, `+3 points`."""
    rounded = round(-100 * drop)
    return f"{f'{rounded:+d}'.replace('-', chr(0x2212)) if rounded else '±0'} points"


def loses(drop: float) -> str:
    """Return what a removal does as a verb: `loses 41 points`, `gains 3 points`."""
    rounded = round(100 * drop)
    if not rounded:
        return "loses nothing"
    return f"{'loses' if rounded > 0 else 'gains'} {plural(abs(rounded), 'point')}"


def _outlines(sag: SAG, index: int, layout: Layout) -> str:
    """Return thin outlines of what is shown, and thick ones of each patch that an edge to this node removed."""
    assert sag.grid is not None
    width = sag.grid.size[1]
    scale = layout.thumb[0] / width
    shown = "".join(patch_path(sag.grid, patch) for patch in sag.nodes[index].patches)
    parts = [f'<path class="kept" d="{shown}" fill="none" stroke="{SHOWN}" stroke-width="{1 / scale:.3f}"/>']
    for edge in sag.edges:
        if edge.child == index:
            stroke = (1.2, 2.0, 3.0)[weight_of(edge.drop) - 1] / scale
            parts.append(
                f'<path class="lost" d="{patch_path(sag.grid, edge.patch)}" fill="none" stroke="{LOST}" '
                f'stroke-width="{stroke:.3f}"/>'
            )
    return f'<g transform="scale({scale:.5f})">{"".join(parts)}</g>'


def patch_path(grid: SAGGrid, patch: int) -> str:
    """Return the outline of a patch in pixels: its box, or along the pixels of a patch of another shape."""
    if not grid.labels:
        top, left, bottom, right = grid.boxes[patch]
        return f"M{left} {top}H{right}V{bottom}H{left}Z"
    inside = _pixels(grid, patch)
    height, width = grid.size
    parts = []
    for row in range(height + 1):
        crossings = [
            column
            for column in range(width)
            if ((row - 1) * width + column in inside and row > 0) != (row < height and row * width + column in inside)
        ]
        parts += [f"M{start} {row}h{length}" for start, length in _spans(crossings)]
    for column in range(width + 1):
        crossings = [
            row
            for row in range(height)
            if (column > 0 and row * width + column - 1 in inside)
            != (column < width and row * width + column in inside)
        ]
        parts += [f"M{column} {start}v{length}" for start, length in _spans(crossings)]
    return "".join(parts)


def _pixels(grid: SAGGrid, patch: int) -> set[int]:
    found: set[int] = set()
    position = 0
    for label, length in zip(grid.labels[::2], grid.labels[1::2], strict=True):
        if label == patch:
            found.update(range(position, position + length))
        position += length
    return found


def _spans(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return rising numbers as runs (start, length)."""
    found: list[tuple[int, int]] = []
    for value in numbers:
        if found and sum(found[-1]) == value:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((value, 1))
    return found


def _names(sag: SAG, node: SAGNode, thumb: tuple[float, float]) -> str:
    shown = [patch_name(patch, sag.grid) for patch in node.patches]
    lines = shown if len(shown) <= 3 else [*shown[:2], f"and {len(shown) - 2} more"]
    step = thumb[1] / (len(lines) + 1)
    words = [
        _words(
            _short(text, _LETTERS + 8),
            thumb[0] / 2,
            step * (line + 1) + 4,
            INK,
            "ink",
            extra=' text-anchor="middle"',
            size=11,
        )
        for line, text in enumerate(lines)
    ]
    return f'<rect class="box" width="{thumb[0]:g}" height="{thumb[1]:g}" fill="#f5f3ec"/>{"".join(words)}'


def _image(png: bytes, size: tuple[float, float]) -> str:
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<image width="{size[0]:g}" height="{size[1]:g}" preserveAspectRatio="none" image-rendering="pixelated" '
        f'href="data:image/png;base64,{data}"/>'
    )


def _frame(size: tuple[float, float], level: str, colour: str, width: float) -> str:
    half = width / 2
    return (
        f'<rect class="frame {level}" x="{-half:g}" y="{-half:g}" width="{size[0] + width:g}" '
        f'height="{size[1] + width:g}" fill="none" stroke="{colour}" stroke-width="{width:g}"/>'
    )


def _words(text: str, x: float, y: float, colour: str, kind: str, *, extra: str = "", size: float = 12) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{colour}"{extra}>{_safe(text)}</text>'


def _short(text: str, letters: int = _LETTERS) -> str:
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"


def _safe(text: str) -> str:
    return escape(printable(text).replace("\n", " "), quote=True)


def _ratio(sag: SAG) -> float:
    return sag.empty / sag.full if sag.full else 1.0
