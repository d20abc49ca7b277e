"""The page of a study: one HTML file without a script, nothing loaded, nothing sent."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import Any

from moorelens.reports.format import count, number, plural
from moorelens.reports.html import environment
from moorelens.reports.shell import shell
from moorelens.reports.study import MAPPED, CountSummary, CrosstestSummary, StudyHead
from moorelens.reports.study_figures import landscape_svg, matrix_svg, measures_svg
from moorelens.reports.study_tables import study_tables
from moorelens.reports.study_words import findings
from moorelens.reports.tables import Table


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A picture as a model was shown it, as PNG, and what it is."""

    caption: str
    png: bytes


@dataclass(frozen=True, kw_only=True)
class Example:
    """One picture of the study, and what of it was shown to models."""

    title: str
    pictures: tuple[Shown, ...]


@dataclass(frozen=True, kw_only=True)
class _Words:
    kicker: str
    title: str
    lede: str
    shown: str
    limits: tuple[str, ...]


def render_study(summary: CountSummary | CrosstestSummary, examples: tuple[Example, ...]) -> bytes:
    """Return `report.html`, the same bytes for the same data; every string from outside is escaped."""
    words = _count_words(summary) if isinstance(summary, CountSummary) else _crosstest_words(summary)
    text = environment().get_template("study.html.j2").render(
        **shell("study.css"),
        words=words,
        page={"tables": {key: _unbroken(table, summary.head) for key, table in study_tables(summary).items()}},
        facts=_facts(summary.head, summary.compared),
        findings=findings(summary),
        figures=_figures(summary),
        examples=[
            {"title": one.title, "pictures": [(shown.caption, _base64(shown.png)) for shown in one.pictures]}
            for one in examples
        ],
        skipped=summary.head.skipped,
        settings=[(name.replace("_", " "), _setting(value)) for name, value in sorted(summary.head.settings.items())],
        models=[(one.name, one.reference, one.identity[:16]) for one in summary.head.models],
    )  # fmt: skip
    return text.encode("utf-8")


def _figures(summary: CountSummary | CrosstestSummary) -> list[tuple[str, str, str]]:
    if isinstance(summary, CountSummary):
        words = "Median with its 95 % interval (mark and line), and mean (stroke), of each model."
        return [("broad", measures_svg(summary, paper=False), words)] if summary.measures else []
    if not summary.compared:
        return []
    words = "Mean area, with its 95 % interval below it; a model's own map is framed."
    if len(summary.head.models) == MAPPED - 1:
        words += " No map of the models is drawn: two of them have one distance, which is in the tables, and no shape."
    figures = [("broad", matrix_svg(summary, paper=False), words)]
    if summary.landscape is not None and len(summary.head.models) >= MAPPED:
        names = [model.name for model in summary.head.models]
        found = summary.landscape
        words = "Models that serve each other lie near each other: the squared distance is twice the share of the area "
        words += "that two lose, on average, with each other's map instead of their own. "
        words += f"The plane shows {number(100 * found.shown)} % of "
        words += "the squared distances."
        if found.negative > 0.01:
            words += f" {number(100 * found.negative)} % of the weight is of directions that no plane shows."
        figures.append(("map", landscape_svg(found, names, paper=False), words))
    return figures


def _count_words(summary: CountSummary) -> _Words:
    return _Words(
        kicker="MooreLens \u00b7 sub-explanations counted",
        title="Do models need parts jointly, or any of several?",
        lede=(
            f"{plural(len(summary.head.models), 'model')} on {plural(summary.compared, 'picture')} that all of them "
            "get right and need to see: small parts of each picture that suffice for its class, and what is left of "
            "them when patches are taken away."
        ),
        shown="One MSE of each model, the smallest, over the baseline, and the share of the full probability it keeps.",
        limits=(
            "Counts grow as two to the power of a set's size, so one large set makes a mean: the medians lead here.",
            "Pictures whose class a model still names with nothing shown are left out: a model that has a favourite "
            "class is compared on fewer pictures of it.",
            "Counts depend on how many sufficient sets the search happened to find, on the baseline and on the grid, "
            "which are the same for all models; and the share of the full probability rewards a badly calibrated "
            "model.",
            "A difference between two networks is one between these weights, not yet between their architectures.",
        ),
    )


def _crosstest_words(summary: CrosstestSummary) -> _Words:
    return _Words(
        kicker="MooreLens \u00b7 heat maps cross-tested",
        title="Does what matters to one model serve another?",
        lede=(
            f"{plural(len(summary.head.models), 'model')} on {plural(summary.compared, 'picture')} that all of them "
            "get right: the regions of each model's heat map are shown to all, and the area under the probability of "
            "the label is compared."
        ),
        shown="The top tenth of each model's map over the baseline, as every model is shown it.",
        limits=(
            "A map that serves its own model badly says as much about the explainer as about the model.",
            "Pictures in which a model loses too little by the baseline for its map to mean anything are left out.",
            "Pictures that show a region in a blur are unlike what the models were trained on, the more so the "
            "smaller the region.",
            "A difference between two networks is one between these weights, not yet between their architectures.",
        ),
    )


def _facts(head: StudyHead, compared: int) -> list[tuple[str, str]]:
    return [
        ("models", str(len(head.models))),
        ("pictures", f"{count(head.pictures)} ({'bundled task' if head.bundled else 'folder'} {head.source})"),
        ("all models right", count(head.correct)),
        ("compared", count(compared)),
        ("seed", str(head.settings["seed"])),
    ]


def _unbroken(table: Table, head: StudyHead) -> Table:
    """Return a table in which the names of models keep to one line."""
    names = {model.name for model in head.models}
    rows = tuple(
        tuple(replace(cell, text=cell.text.replace("-", "\u2011")) if cell.text in names else cell for cell in row)
        for row in table.rows
    )
    columns = tuple(
        replace(column, title=column.title.replace("-", "\u2011")) if column.title in names else column
        for column in table.columns
    )
    return replace(table, rows=rows, columns=columns)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _setting(value: Any) -> str:
    if value is None:
        return "\u2013"
    return "yes" if value is True else "no" if value is False else str(value)
