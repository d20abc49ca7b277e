"""The tables of a study, filled once for the page, for papers (CSV, LaTeX) and for text (Markdown)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from moorelens.reports.format import MINUS, count, number, share, signed, span
from moorelens.reports.paper_tables import FOLDER, table_csv, table_latex, text
from moorelens.reports.study import CountSummary, CrosstestSummary, Matrix, Measure
from moorelens.reports.tables import Cell, Column, Table
from moorelens.stats import Estimate


def study_tables(summary: CountSummary | CrosstestSummary) -> dict[str, Table]:
    """Return the tables of a study by key, numbered in the order of the page."""
    made = _count_tables(summary) if isinstance(summary, CountSummary) else _crosstest_tables(summary)
    kept = [table for table in made if table[3]]
    return {
        key: Table(key=key, number=place, title=title, columns=columns, rows=tuple(rows), note=note)
        for place, (key, title, columns, rows, note) in enumerate(kept, start=1)
    }


def study_table_files(summary: CountSummary | CrosstestSummary) -> dict[str, bytes]:
    """Return `tables/KEY.csv`, `.tex` and `.md` for every table."""
    files: dict[str, bytes] = {}
    for key, table in study_tables(summary).items():
        files[f"{FOLDER}{key}.csv"] = table_csv(table)
        files[f"{FOLDER}{key}.tex"] = table_latex(table)
        files[f"{FOLDER}{key}.md"] = markdown(table).encode("utf-8")
    return files


def markdown(table: Table) -> str:
    """Return a table in Markdown."""
    rows = [[column.title for column in table.columns]]
    rows += [["---:" if column.align == "right" else "---" for column in table.columns]]
    rows += [[text(cell.text).replace("|", "\\|") for cell in row] for row in table.rows]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"{text(table.title)}.", "", *lines, *(["", text(table.note)] if table.note else []), ""])


_Made = tuple[str, str, tuple[Column, ...], list[tuple[Cell, ...]], str]


def _count_tables(summary: CountSummary) -> list[_Made]:
    names = [model.name for model in summary.head.models]
    return [
        (
            "measures",
            f"What {count(summary.compared)} pictures have under each model",
            _columns("measure", "model!", "median", "95 % interval", "mean", "95 % interval"),
            [row for measure in summary.measures for row in _measure_rows(measure, names)],
            "MSE: a set of patches that keeps the probability and loses it without any one of its patches. "
            "Sub-explanations: what is left of MSEs while patches are taken away and enough of it is kept, each set "
            "counted once.",
        ),
        (
            "tests",
            "Pairs of models on the same pictures",
            _columns("measure", "first!", "second!", "first \u2212 second", "95 % interval", "median", "p", "p (Holm)"),
            [row for measure in summary.measures for row in _test_rows(measure)],
            "Sign-flip test of the mean difference; p (Holm) is corrected for the pairs of a measure, not for the "
            "measures.",
        ),
        (
            "histogram",
            "Sub-explanations by the share of the full probability that they keep, mean over pictures",
            _columns("model", *_bin_titles(summary.bins)),
            [
                (_words(name), *(_estimated(cell) for cell in line))
                for name, line in zip(names, summary.histogram, strict=False)
            ],
            "",
        ),
        (
            "truth",
            "What decides the class, and the MSEs",
            _columns("model", "patches on it", "meet a cause", "meet every cause"),
            [
                (_words(name), *(_estimated(found, share) for found in (one.on_truth, one.meet_any, one.meet_all)))
                for name, one in zip(names, summary.truth or (), strict=False)
            ],
            "Shares of the patches of MSEs that show part of a planted cause, and of MSEs that do; with intervals.",
        ),
        (
            "searches",
            "How the searches went",
            _columns("model", "right", "blind", "no MSE", "search cut", "count cut", "most MSEs", "sets evaluated"),
            [
                (
                    _words(model.name),
                    _whole(model.right),
                    *(_whole(n) for n in (one.blind, one.none, one.search_cut, one.count_cut, one.capped)),
                    _value(one.evaluated),
                )
                for model, one in zip(summary.head.models, summary.searches, strict=True)
            ],
            _search_note(summary),
        ),
    ]  # fmt: skip


def _search_note(summary: CountSummary) -> str:
    head = summary.head
    return (
        f"In pictures: right, of all {count(head.pictures)}; the others of the {count(head.correct)} that every model "
        f"gets right. Blind: with nothing shown the model still gives the class {head.settings['p_low']:.0%} of its "
        "probability or more, so that its parts say nothing. Cut: ended by the budget, so that the numbers are lower "
        "bounds. Most MSEs: the search ended because it had found as many as were asked for."
    )


def _measure_rows(measure: Measure, names: Sequence[str]) -> list[tuple[Cell, ...]]:
    return [
        (
            _words(measure.title if place == 0 else ""),
            _words(name),
            _value(one.median),
            _words(span(one.median_low, one.median_high)),
            _value(one.mean.mean),
            _words(_between(one.mean)),
        )
        for place, (name, one) in enumerate(zip(names, measure.models, strict=True))
    ]


def _test_rows(measure: Measure) -> list[tuple[Cell, ...]]:
    return [
        (
            _words(measure.title if place == 0 else ""),
            _words(test.first),
            _words(test.second),
            Cell(text=signed(test.difference.mean), value=test.difference.mean),
            _words(_between(test.difference)),
            Cell(text=signed(test.median), value=test.median),
            Cell(text=p_text(test.p), value=test.p),
            Cell(text=p_text(test.p_holm), value=test.p_holm),
        )
        for place, test in enumerate(measure.tests)
    ]


def _crosstest_tables(summary: CrosstestSummary) -> list[_Made]:
    names = [model.name for model in summary.head.models]
    notes = {
        "insertion": "The region is inserted into the baseline; a large area: it suffices.",
        "deletion": "The region is deleted from the picture; a small area: it is needed.",
    }
    made: list[_Made] = [
        (
            matrix.mode,
            f"Area under the {matrix.mode} curve: whose map (rows), who judges (columns)",
            _columns("map", *names),
            [
                (_words(row), *(_estimated(cell, three) for cell in line))
                for row, line in zip(summary.rows, matrix.area, strict=True)
            ],
            f"Mean over {count(summary.compared)} pictures with 95 % intervals. {notes[matrix.mode]} random: cells in "
            f"random order{'; truth: what decides the class' if 'truth' in summary.rows[len(names) :] else ''}.",
        )
        for matrix in summary.matrices
    ]
    made += [_relative(matrix, summary.rows, names) for matrix in summary.matrices[:1]]
    return [*made, _transfer_table(summary), _models(summary)]


def _relative(matrix: Matrix, rows: Sequence[str], names: Sequence[str]) -> _Made:
    return (
        "relative",
        "Insertion relative to the judge's own map",
        _columns("map", *names),
        [
            (_words(row), *(Cell(text=three(value), value=value) for value in line))
            for row, line in zip(rows, matrix.relative, strict=True)
        ],
        "Above 1: the judge gets more from that map than from its own.",
    )


def _transfer_table(summary: CrosstestSummary) -> _Made:
    return (
        "transfers",
        "What a judge gets from its own map more than from another, by insertion",
        _columns("judge", "other map!", "own \u2212 other", "95 % interval", "median", "p", "p (Holm)"),
        [
            (
                _words(one.judge),
                _words(one.map),
                Cell(text=_signed_three(one.difference.mean), value=one.difference.mean),
                _words(_between_three(one.difference)),
                Cell(text=_signed_three(one.median), value=one.median),
                Cell(text=p_text(one.p), value=one.p),
                Cell(text=p_text(one.p_holm), value=one.p_holm),
            )
            for one in summary.transfers
        ],
        "Sign-flip test of the mean difference on the same pictures, corrected for all rows of this table.",
    )


def _models(summary: CrosstestSummary) -> _Made:
    return (
        "models",
        "The models",
        _columns("model", "right", "map means nothing"),
        [
            (_words(model.name), _whole(model.right), _whole(none))
            for model, none in zip(summary.head.models, summary.unexplainable, strict=True)
        ],
        f"In pictures: right, of all {count(summary.head.pictures)}; of the {count(summary.head.correct)} that every "
        "model gets right, those in which it loses too little by the baseline for a map to mean anything.",
    )


def _bin_titles(bins: Sequence[float]) -> list[str]:
    ends = [*(f"{edge:.0%}" for edge in bins[1:]), None]
    return [f"{low:.0%} to {high}" if high else f"{low:.0%} and up" for low, high in zip(bins, ends, strict=True)]


def _columns(*titles: str) -> tuple[Column, ...]:
    """Return columns; the first, and those marked by `!`, hold words."""
    return tuple(
        Column(title=title.rstrip("!"), align="left" if place == 0 or title.endswith("!") else "right")
        for place, title in enumerate(titles)
    )


def _words(words: str) -> Cell:
    return Cell(text=words)


def _value(value: float) -> Cell:
    return Cell(text=number(value), value=value)


def _whole(value: int) -> Cell:
    return Cell(text=count(value), value=value)


def _estimated(found: Estimate, written: Callable[[float], str] = number) -> Cell:
    interval = "" if found.low is None or found.high is None else f" ({written(found.low)} to {written(found.high)})"
    return Cell(text=f"{written(found.mean)}{interval}", value=found.mean)


def _between(found: Estimate) -> str:
    return span(found.low, found.high)


def three(value: float) -> str:
    """Return a number with three decimals, and without a minus before nothing."""
    return f"{round(value, 3) + 0.0:.3f}".replace("-", MINUS)


def _signed_three(value: float) -> str:
    return f"+{three(value)}" if round(value, 3) > 0 else three(value)


def _between_three(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return "\u2013"
    return f"{three(found.low)} to {three(found.high)}"


def p_text(value: float) -> str:
    """Return a p-value: 0.43, 0.012, <0.001."""
    if value < 0.001:
        return "<0.001"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
