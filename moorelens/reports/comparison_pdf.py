"""The comparison of two reports as PDF: a summary of one page first, the same words and numbers as the HTML."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from moorelens.reports.comparison import contents
from moorelens.reports.data import ReportData
from moorelens.reports.figures import FONT, action_mark
from moorelens.reports.pdf import paper_views
from moorelens.reports.svg import clean_svg
from moorelens.reports.typesetting import Files, typeset

# The numbers of the first page: what was asked first.
_FIRST = (
    "returns.policy.mean", "returns.reduced.mean", "loss.reduced.mean", "fidelity.teacher_forced_policy",
    "sizes.machine.states", "sizes.reduced.states", "sizes.folded.states", "decisions.structural",
)  # fmt: skip


def render_comparison_pdf(first: ReportData, second: ReportData) -> bytes:
    """Return the comparison as PDF, the same bytes for the same data, fonts and version of Typst.

    Raises MissingToolError where Typst is not installed.
    """
    found, files = contents(first, second), Files()
    both = (first, second)
    content: dict[str, Any] = {
        "title": f"{found['names'][0]} and {found['names'][1]}: policy reports compared",
        "names": found["names"],
        "subjects": [f"{data.subject.policy} on {data.subject.env}" for data in both],
        "remarks": found["remarks"],
        "answers": [(answer.question, answer.answer) for answer in found["answers"]],
        "rows": [{**asdict(row), "first-page": row.path in _FIRST} for row in found["rows"]],
        "drawings": [_drawing(data, side, files) for side, data in enumerate(both)],
        "captions": [_caption(data) for data in both],
        "marks": [_marks(data, side, files) for side, data in enumerate(both)],
        "decisions": found["decisions"],
        "verdicts": [
            {"question": question, "sides": [_verdict(one) for one in sides]} for question, *sides in found["verdicts"]
        ],
    }
    return typeset("comparison.typ", content, files)


def _verdict(verdict: Any) -> dict[str, Any] | None:
    return None if verdict is None else {"level": verdict.level, "word": verdict.word, "answer": verdict.answer}


def _drawing(data: ReportData, side: int, files: Files) -> dict[str, Any] | None:
    views = paper_views(data)
    if not views or views[0].svg is None:
        return None
    svg, size = clean_svg(views[0].svg, font=FONT)
    name = f"machine{side}.svg"
    files[name] = svg.encode("utf-8")
    alt = f"{views[0].title}: {len(views[0].states)} states and {len(views[0].edges)} edges."
    return {"file": name, "width": size.width, "height": size.height, "alt": alt}


def _caption(data: ReportData) -> str:
    views = paper_views(data)
    return views[0].caption if views else ""


def _marks(data: ReportData, side: int, files: Files) -> list[dict[str, str]]:
    marks = []
    for mark in data.actions:
        name = f"mark{side}-{mark.index}.svg"
        files[name] = action_mark(mark).encode("utf-8")
        marks.append({"file": name, "name": mark.name or "action"})
    return marks
