"""The page on attention graphs runs as printed, and its picture is what the named command draws."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from moorelens.saliency.sets.sag import SAG
from moorelens.saliency.sets.text import sag_dnf

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "attention-graphs.md").read_text(encoding="utf-8")


def test_the_example_runs_and_finds_what_it_says() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(program, names)
    sag = names["sag"]
    assert isinstance(sag, SAG)
    said = re.search(r"sag_dnf\(sag\) +# (.*)", program)
    assert said is not None and sag_dnf(sag) == said[1]
    drawn = ET.fromstring((DOCS / "img/attention-graph.svg").read_text(encoding="utf-8"))
    nodes = [part for part in drawn.iter() if (part.get("class") or "").startswith("node")]
    assert len(nodes) == len(sag.nodes)
    assert len([part for part in nodes if part.get("class") == "node root"]) == len(sag.roots)
