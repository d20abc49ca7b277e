"""SVG that may stand inside a page: rebuilt from an allow-list, so nothing in it can load, run or link."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass

from moorelens.errors import InvariantError
from moorelens.text import printable

_NAMESPACE = "{http://www.w3.org/2000/svg}"
_ELEMENTS = frozenset(
    {"svg", "g", "title", "text", "tspan", "path", "polygon", "polyline", "ellipse", "circle", "rect", "line"}
)
_ATTRIBUTES = frozenset({
    "id", "class", "transform", "viewBox", "width", "height", "points", "d", "cx", "cy", "rx", "ry", "r", "x", "y",
    "x1", "y1", "x2", "y2", "fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "fill-opacity",
    "opacity", "text-anchor", "font-size", "font-family", "font-weight", "font-style", "stroke-linecap",
    "stroke-linejoin",
})  # fmt: skip
_TITLED = frozenset({"graph", "node", "edge", "cluster"})


@dataclass(frozen=True, kw_only=True)
class Size:
    """Width and height in points."""

    width: float
    height: float


def clean_svg(
    svg: str,
    *,
    labels: Mapping[str, str] | None = None,
    font: str | None = None,
    role: str | None = None,
    still: bool = False,
) -> tuple[str, Size]:
    """Return `svg` rebuilt from known elements and attributes, and its size.

    Elements with an id in `labels` can be reached by keyboard and carry that name; Graphviz's own titles go. `font`
    replaces every font family; a `still` drawing keeps no ids, so that two of a kind can share a page. Raises
    InvariantError where `svg` is not SVG.
    """
    try:
        root = ET.fromstring(svg)
    except ET.ParseError as error:
        raise InvariantError(f"A drawing in a report must be SVG, but this one cannot be read ({error}).") from error
    if root.tag != f"{_NAMESPACE}svg":
        raise InvariantError(f"A drawing in a report must be SVG, but this one is {root.tag!r}.")
    clean = _rebuilt(root, labels=labels or {}, font=font)
    if still:
        for element in clean.iter():
            element.attrib.pop("id", None)
    size = _size(root)
    for name in ("width", "height"):
        clean.attrib.pop(name, None)
    clean.set("viewBox", clean.get("viewBox", f"0 0 {size.width:g} {size.height:g}"))
    clean.set("xmlns", _NAMESPACE[1:-1])
    if role is not None:
        clean.set("role", role)
    if role == "img":
        clean.set("aria-label", "A machine as a graph; its states are listed in its own report.")
    return ET.tostring(clean, encoding="unicode"), size


def _rebuilt(element: ET.Element, *, labels: Mapping[str, str], font: str | None) -> ET.Element:
    clean = ET.Element(
        _local(element), {name: value for name, value in element.attrib.items() if _allowed(name, value)}
    )
    if font is not None and "font-family" in clean.attrib:
        clean.set("font-family", font)
    clean.text, clean.tail = element.text, element.tail
    if "graph" in element.get("class", "").split():
        # Graphviz names the whole graph, the same in every drawing, and a page holds several.
        clean.attrib.pop("id", None)
    label = labels.get(element.get("id", ""))
    if label is not None:
        clean.attrib |= {"tabindex": "0", "role": "button", "aria-label": printable(label)}
    titled = bool(_TITLED & set(element.get("class", "").split()))
    for child in element:
        # Comments and processing instructions have no string tag; Graphviz titles name its internal ids.
        if not isinstance(child.tag, str) or _local(child) not in _ELEMENTS or (titled and _local(child) == "title"):
            continue
        clean.append(_rebuilt(child, labels=labels, font=font))
    return clean


def _local(element: ET.Element) -> str:
    return str(element.tag).removeprefix(_NAMESPACE)


def _allowed(name: str, value: str) -> bool:
    return name in _ATTRIBUTES and "url(" not in value.lower()


def _size(root: ET.Element) -> Size:
    box = root.get("viewBox", "").split()
    if len(box) == 4:
        return Size(width=float(box[2]), height=float(box[3]))
    width, height = (root.get(name, "0").removesuffix("pt").removesuffix("px") for name in ("width", "height"))
    return Size(width=float(width), height=float(height))
