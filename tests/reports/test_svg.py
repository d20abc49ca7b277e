"""A drawing is rebuilt from known parts before it enters a page."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from moorelens.errors import InvariantError
from moorelens.reports.svg import clean_svg

DRAWING = """<?xml version="1.0"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<!-- made by hand -->
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="30pt" height="20pt"
     viewBox="0 0 30 20" onload="alert(1)">
  <script>alert(2)</script><style>@import "x"</style><foreignObject><p>3</p></foreignObject>
  <g id="a" class="node" onclick="alert(4)"><title>internal</title>
    <a xlink:href="javascript:alert(5)"><text x="1">inside a link</text></a>
    <ellipse cx="1" cy="2" rx="3" ry="4" fill="url(http://x/y)" stroke="#000000" style="fill:red"/>
    <text font-family="Times" x="1" y="2">left &lt;b&gt; &amp; right</text></g>
  <image href="http://x/z.png"/><use href="#a"/>
</svg>"""


def test_only_known_elements_and_attributes_remain() -> None:
    clean, size = clean_svg(DRAWING)
    root = ET.fromstring(clean)
    assert {element.tag.rpartition("}")[2] for element in root.iter()} == {"svg", "g", "ellipse", "text"}
    attributes = {name for element in root.iter() for name in element.attrib}
    assert attributes <= {"viewBox", "id", "class", "cx", "cy", "rx", "ry", "stroke", "x", "y", "font-family"}
    assert (size.width, size.height) == (30.0, 20.0)
    assert "left <b> & right" in "".join(root.itertext())
    assert not {"script", "alert", "http://x", "javascript"} & set(clean.split('"'))


def test_named_elements_can_be_reached_by_keyboard() -> None:
    clean, _ = clean_svg(DRAWING, labels={"a": 'go "left"'}, font="DejaVu Sans")
    group = ET.fromstring(clean).find("{http://www.w3.org/2000/svg}g")
    assert group is not None
    assert {name: group.get(name) for name in ("tabindex", "role", "aria-label")} == {
        "tabindex": "0",
        "role": "button",
        "aria-label": 'go "left"',
    }
    assert 'font-family="DejaVu Sans"' in clean


def test_cleaning_twice_changes_nothing_more() -> None:
    once, _ = clean_svg(DRAWING)
    assert clean_svg(once)[0] == once


@pytest.mark.parametrize("text", ["", "<svg", "<html/>", "<svg/>"])
def test_what_is_no_drawing_is_refused(text: str) -> None:
    with pytest.raises(InvariantError, match="must be SVG"):
        clean_svg(text)
