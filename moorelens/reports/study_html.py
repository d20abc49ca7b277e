"""The page of a study: one HTML file without a script, nothing loaded, nothing sent."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

from moorelens.reports.format import count, listed, number, plural
from moorelens.reports.html import environment
from moorelens.reports.study import MAPPED, CountSummary, CrosstestSummary, StudyHead
from moorelens.reports.study_figures import landscape_svg, matrix_svg, measures_svg
from moorelens.reports.study_tables import p_text, study_tables
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
    style, policy = _style()
    words = _count_words(summary) if isinstance(summary, CountSummary) else _crosstest_words(summary)
    text = environment().get_template("study.html.j2").render(
        style=style,
        policy=policy,
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


def findings(summary: CountSummary | CrosstestSummary) -> list[tuple[str, str]]:
    """Return what the numbers say, as (question, answer in a sentence), differences that may be chance included."""
    return _count_findings(summary) if isinstance(summary, CountSummary) else _crosstest_findings(summary)


_QUESTIONS = {
    "sub_explanations": "Which model needs parts jointly (has many sub-explanations)?",
    "disjoint": "Which model is content with any of several parts (has more MSEs that share nothing)?",
    "mean_size": "Which model needs more patches?",
}


def _nothing(summary: CountSummary) -> str:
    """Say why no picture is compared: the budget where searches ended by it, else the pictures."""
    if any(searches.search_cut for searches in summary.searches):
        return "Nothing: the budget ended the searches before a set that is enough was found; allow more (--budget)."
    return "Nothing: no picture can be explained under every model."


def _count_findings(summary: CountSummary) -> list[tuple[str, str]]:
    names = [model.name for model in summary.head.models]
    found = []
    if not summary.compared:
        return [("What is compared?", _nothing(summary))]
    for measure in summary.measures:
        if measure.key not in _QUESTIONS:
            continue
        ranked = sorted(zip(names, measure.models, strict=True), key=lambda pair: -pair[1].mean.mean)
        words = listed([f"{name} {number(one.mean.mean)} (median {number(one.median)})" for name, one in ranked])
        clear = [f"{test.first} from {test.second}" for test in measure.tests if test.p_holm < 0.05]
        told = "no pair can be told apart (Holm, 5 %)" if not clear else f"told apart (Holm, 5 %): {listed(clear)}"
        found.append((_QUESTIONS[measure.key], f"{words}; {told}." if len(names) > 1 else f"{words}."))
    cut = sum(one.count_cut or one.search_cut for one in summary.searches)
    if cut:
        found.append(
            (
                "Was anything cut short?",
                f"In {plural(sum(one.search_cut for one in summary.searches), 'search', 'searches')} and "
                f"{plural(sum(one.count_cut for one in summary.searches), 'count')} the budget ended; these numbers "
                "are lower bounds, and a model with larger sets loses more by that.",
            )
        )
    return found


def _crosstest_findings(summary: CrosstestSummary) -> list[tuple[str, str]]:
    if not summary.compared:
        return [("What is compared?", "Nothing: in every picture the map of some model means nothing.")]
    insertion = summary.matrices[0]
    names = [model.name for model in summary.head.models]
    random = [one for one in summary.transfers if one.map == "random"]
    better = [one.judge for one in random if one.difference.mean > 0 and one.p_holm < 0.05]
    found = [
        (
            "Is a map worth more to its own model than chance?",
            f"To {listed(better)}: yes." if better else "To none of them at 5 % (Holm).",
        )
    ]
    if better and len(better) < len(names):
        rest = [name for name in names if name not in better]
        found[0] = (found[0][0], f"{found[0][1]} To {listed(rest)}: not at 5 % (Holm).")
    lines = []
    for column, judge in enumerate(names):
        others = [(insertion.relative[row][column], names[row]) for row in range(len(names)) if row != column]
        if others:
            best, name = max(others)
            test = next(one for one in summary.transfers if one.judge == judge and one.map == name)
            lines.append(f"{judge} gets {number(100 * best)} % of its own from {name} (p {p_text(test.p_holm)})")
    if lines:
        found.append(("Whose map serves a model best, after its own?", f"{'; '.join(lines)}."))
    return found


def _style() -> tuple[str, str]:
    """Return the style sheet, and the Content-Security-Policy of a page that has it and no script."""
    assets = resources.files("moorelens.reports") / "assets"
    style = "".join((assets / name).read_text("utf-8") for name in ("report.css", "study.css"))
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    allowed = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'"
    return style, f"{allowed}; base-uri 'none'; form-action 'none'"


def _figures(summary: CountSummary | CrosstestSummary) -> list[tuple[str, str, str]]:
    if isinstance(summary, CountSummary):
        words = "Mean with its 95 % interval (mark and line), and median (stroke), of each model."
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
            "Counts grow as two to the power of a set's size, so one large set can dominate a mean: read the medians.",
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
