"""The report as PDF, set by Typst: the same content as the HTML, vector drawings, a summary of one page first."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from moorelens.reports.data import ActionMark, MachineView, ReportData
from moorelens.reports.figures import FONT, action_mark, silent_mark
from moorelens.reports.format import listed
from moorelens.reports.page import BranchEntry, DecisionEntry, Page, build_page
from moorelens.reports.svg import clean_svg
from moorelens.reports.typesetting import Files, typeset

_TEMPLATE = "report.typ"
# Room on a sheet of A3 in points, what a caption takes of it, and how far a drawing may shrink: as in the template.
_A3 = (1035.0, 694.0)
_CAPTION = 71.0
_LEAST_SCALE = 0.45
_STEPS = ("trim", "bisimulation", "edges", "classes", "chains", "loops", "tags")
_SKELETON = "skeleton"


def render_pdf(data: ReportData) -> bytes:
    """Return `report.pdf`, the same bytes for the same data, fonts and version of Typst.

    Raises MissingToolError where Typst is not installed.
    """
    content, files = pdf_content(data)
    return typeset(_TEMPLATE, content, files)


def pdf_content(data: ReportData) -> tuple[dict[str, Any], Files]:
    """Return what the Typst template reads: all texts, and the drawings they name."""
    page = build_page(data)
    files: Files = {}
    content: dict[str, Any] = {
        "title": page.title,
        "name": page.name,
        "env": data.subject.env,
        "headline": page.headline,
        "facts": page.facts,
        "notes": data.notes,
        "verdicts": [{**asdict(verdict), "word": verdict.word} for verdict in page.verdicts],
        "tables": {key: asdict(table) for key, table in page.tables.items()},
        "marks": _marks(data, files),
        "machine-number": page.machine_number,
        "views": [_view(view, place, files) for place, view in enumerate(paper_views(data))],
        "views-left": _left_out(data),
        "returns-plot": _drawing("returns.svg", page.returns_plot, files),
        "returns-number": page.returns_number,
        "decisions": [_decision(entry, place, data, files) for place, entry in enumerate(page.decisions)],
        "decisions-left": page.decisions_left,
        "no-decisions": page.no_decisions,
        "episodes": _episodes(page, files),
        "methods": page.methods,
        "sources": [_dashed(source) for source in page.sources],
    }
    return content, files


def _dashed(entry: Any) -> dict[str, Any]:
    """Return the fields of a dataclass with the names Typst prefers: dashes for underscores."""
    return {field.name.replace("_", "-"): getattr(entry, field.name) for field in fields(entry)}


def _marks(data: ReportData, files: Files) -> dict[str, dict[str, str]]:
    marks: dict[str, dict[str, str]] = {}
    for mark in (*data.actions, silent_mark()):
        name = f"mark{mark.index}.svg"
        files[name] = action_mark(mark).encode("utf-8")
        marks[str(mark.index)] = {"file": name, "name": mark.name or "action"}
    return marks


def paper_views(data: ReportData) -> tuple[MachineView, ...]:
    """Return the drawings that are printed: every form of the machine, the steps between them left to the screen.

    What does not fit a sheet of A3 with readable letters is left out, the reduced machine for its decision skeleton
    where there is one.
    """
    by_key = {view.key: view for view in data.views}
    forms = [view for view in data.views if _is_form(view)]
    kept = []
    for view in forms:
        if view.svg is None or _fits(view):
            kept.append(view)
        elif view is forms[0]:
            kept.append(by_key.get(_SKELETON, view))
    return tuple(kept)


def _is_form(view: MachineView) -> bool:
    return view.key not in (*_STEPS, _SKELETON) and view.whole_of is None


def _left_out(data: ReportData) -> str | None:
    """Return which forms are not printed, and where they are."""
    printed = {view.key for view in paper_views(data)}
    missing = [view.title.lower() for view in data.views if _is_form(view) and view.key not in printed]
    if not missing:
        return None
    return f"Too large for paper, and drawn in report.html: the machine {listed(missing)}."


def _fits(view: MachineView) -> bool:
    """Return whether a drawing fits a sheet of A3 beside its caption without shrinking below `_LEAST_SCALE`."""
    size = clean_svg(view.svg or "")[1]
    long, short = sorted((size.width, size.height), reverse=True)
    wide = size.width > size.height
    room = (_A3[0], _A3[1] - _CAPTION) if wide else (_A3[0] - _CAPTION, _A3[1])
    return min(room[0] / long, room[1] / short) >= _LEAST_SCALE


def _view(view: MachineView, place: int, files: Files) -> dict[str, Any]:
    entry: dict[str, Any] = {"title": view.title, "caption": view.caption, "note": view.note, "file": None}
    if view.svg is None:
        return entry
    svg, size = clean_svg(view.svg, font=FONT)
    name = f"view{place}.svg"
    files[name] = svg.encode("utf-8")
    states = f"{len(view.states)} states and {len(view.edges)} edges"
    return {
        **entry,
        "file": name,
        "width": size.width,
        "height": size.height,
        "alt": f"{view.title}: {states}.",
        "states": len(view.states),
    }


def _drawing(name: str, svg: str | None, files: Files) -> dict[str, str] | None:
    if svg is None:
        return None
    files[name] = svg.encode("utf-8")
    return {"file": name, "alt": "Return of each player on each held-out game."}


def _decision(entry: DecisionEntry, place: int, data: ReportData, files: Files) -> dict[str, Any]:
    return {
        **_dashed(entry),
        "mark": _mark_key(entry.mark),
        "branches": [_branch(branch, data) for branch in entry.branches],
        "dwell": _drawing(f"dwell{place}.svg", entry.dwell, files),
        "saliency": _drawing(f"saliency{place}.svg", entry.saliency, files),
    }


def _branch(entry: BranchEntry, data: ReportData) -> dict[str, Any]:
    pictures = []
    for key, caption in entry.pictures:
        picture = data.pictures[key]
        # Typst's virtual files must be text, so the bytes of a PNG travel as numbers.
        pictures.append({"png": list(picture.png), "alt": picture.alt or caption, "caption": caption})
    return {
        **_dashed(entry),
        "mark": _mark_key(entry.mark),
        "features": [asdict(feature) for feature in entry.features],
        "pictures": pictures,
    }


def _mark_key(mark: ActionMark) -> str:
    return str(mark.index)


def _episodes(page: Page, files: Files) -> list[dict[str, str]]:
    entries = []
    for place, episode in enumerate(page.episodes):
        name = f"episode{place}.svg"
        files[name] = episode.strip.encode("utf-8")
        entries.append({"file": name, "caption": episode.caption})
    return entries
