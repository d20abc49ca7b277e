"""The page of an attention graph: one HTML file with everything in it, nothing loaded, nothing sent."""

from __future__ import annotations

from typing import Any

from moorelens.reports.format import number
from moorelens.reports.html import environment
from moorelens.reports.sag_svg import SAGPictures, kept, level_of, node_words, patch_called, points, sag_svg
from moorelens.reports.sag_words import SAGSubject, findings, lede, limits, rows
from moorelens.reports.shell import shell
from moorelens.saliency.sets.sag import SAG
from moorelens.saliency.sets.text import sag_dnf, set_name


def render_sag(sag: SAG, pictures: SAGPictures | None, subject: SAGSubject, *, source: str = "sag.json") -> bytes:
    """Return the page, the same bytes for the same data; `pictures` None: patches are features of a vector.

    `source`: the file beside the page that holds its numbers.

    Every string is escaped; a Content-Security-Policy admits this file's own script and style by hash and no more.
    """
    text = environment().get_template("sag.html.j2").render(
        **shell("sag.css", script="sag.js"),
        subject=subject,
        sag=sag,
        lede=lede(sag, subject),
        granted=subject.granted,
        drawing=sag_svg(sag, pictures, title=subject.title, answer=subject.answer, paper=False),
        formula=sag_dnf(sag),
        findings=findings(sag, subject),
        limits=limits(sag, subject),
        rows=rows(sag),
        source=source,
        pictured=pictures is not None,
        payload=_payload(sag),
    )  # fmt: skip
    return text.encode("utf-8")


def _payload(sag: SAG) -> list[dict[str, Any]]:
    """Return what the script says of each node, all texts formatted."""
    found: list[dict[str, Any]] = [
        {
            "name": set_name(node.patches, sag.grid),
            "words": node_words(sag, index),
            "level": level_of(sag, node),
            "share": kept(node.relative),
            "value": number(node.value, digits=3),
            "root": node.root,
            "hidden": node.hidden_children,
            "size": len(node.patches),
            "parents": [],
            "children": [],
        }
        for index, node in enumerate(sag.nodes)
    ]
    for index, edge in enumerate(sag.edges):
        way = {"edge": index, "patch": patch_called(sag, edge.patch), "points": points(edge.drop)}
        found[edge.parent]["children"].append({**way, "node": edge.child})
        found[edge.child]["parents"].append({**way, "node": edge.parent})
    return found
