"""Two reports on one page: twins of numbers as the summaries have them, and words that follow from both."""

from __future__ import annotations

import msgspec
import pytest

from moorelens.reports.comparison import answers, contents, difference_of_returns, remarks, render_comparison, twins
from moorelens.reports.comparison_pdf import render_comparison_pdf
from moorelens.reports.data import ReportData
from moorelens.reports.summary import RunSummary, walk_numbers
from tests.reports.test_html import Page
from tests.reports.test_pdf import squeezed, words


@pytest.fixture(scope="module")
def other(cart_pole: ReportData) -> ReportData:
    """The same policy under another name, a few points worse in every game."""
    rows = tuple(
        msgspec.structs.replace(row, values=tuple(value - 3.0 - place % 4 for place, value in enumerate(row.values)))
        for row in cart_pole.seed_returns
    )
    subject = msgspec.structs.replace(cart_pole.subject, policy_name="other", identity="sha256:other")
    return msgspec.structs.replace(cart_pole, subject=subject, seed_returns=rows)


def test_every_number_is_that_of_its_summary(cart_pole: ReportData, pong: ReportData) -> None:
    page = Page(render_comparison(cart_pole, pong))
    numbers = [dict(walk_numbers(data.summary)) for data in (cart_pole, pong)]
    shown = [attributes for _, attributes in page.tags if "data-value" in attributes]
    assert len(shown) > 30
    for attributes in shown:
        found = numbers[int(attributes["data-side"] or "")][attributes["data-path"] or ""]
        assert float(attributes["data-value"] or "nan") == found


def test_what_only_one_measured_has_no_difference(cart_pole: ReportData, pong: ReportData) -> None:
    row = next(row for row in twins(cart_pole, pong) if row.path == "returns_published.policy.mean")
    assert row.values[0] is None
    assert row.difference == "\u2013"
    assert row.texts[0] == "not measured"


def test_the_difference_is_game_by_game_and_names_the_better(cart_pole: ReportData, other: ReportData) -> None:
    found = difference_of_returns(cart_pole, other)
    assert found is not None
    assert found.mean == pytest.approx(-4.5)
    assert found.high is not None
    assert found.high < 0
    words = answers(cart_pole, other)[0].answer
    assert words.startswith(f"{cart_pole.subject.policy_name}, by 4.5")


def test_equal_play_is_called_that(cart_pole: ReportData) -> None:
    assert answers(cart_pole, cart_pole)[0].answer.startswith("Neither")
    assert any("same policy" in remark for remark in remarks(cart_pole, cart_pole))


def test_other_games_and_other_tasks_are_not_compared(cart_pole: ReportData, pong: ReportData) -> None:
    assert difference_of_returns(cart_pole, pong) is None
    assert "different tasks" in answers(cart_pole, pong)[0].answer
    seeds = msgspec.structs.replace(cart_pole.summary.seeds, held_out=(1, 2))
    moved = msgspec.structs.replace(cart_pole, summary=msgspec.structs.replace(cart_pole.summary, seeds=seeds))
    assert any("same held-out seeds" in remark for remark in remarks(cart_pole, moved))


def test_names_from_outside_stay_text_and_ids_are_unique(hostile: ReportData, hostile_names: tuple[str, ...]) -> None:
    rendered = render_comparison(hostile, hostile)
    page = Page(rendered)
    assert all(any(name in text for text in page.text) or name in "".join(page.text) for name in hostile_names)
    assert "script" not in {tag for tag, _ in page.tags}
    assert "img" not in {tag for tag, _ in page.tags}
    assert len(page.values("id")) == len(set(page.values("id")))
    assert rendered == render_comparison(hostile, hostile)


def test_the_pdf_has_the_words_and_numbers_of_the_page_and_its_first_page_is_the_summary(
    cart_pole: ReportData, other: ReportData
) -> None:
    pdf = render_comparison_pdf(cart_pole, other)
    assert pdf == render_comparison_pdf(cart_pole, other)
    whole, first = words(pdf), words(pdf, last=1)
    for answer in answers(cart_pole, other):
        assert squeezed(answer.answer) in first
    for row in twins(cart_pole, other):
        assert all(squeezed(text) in whole for text in row.texts)
    for _, *sides in contents(cart_pole, other)["verdicts"]:
        assert all(squeezed(verdict.answer) in whole for verdict in sides if verdict is not None)


def test_a_report_without_a_machine_or_with_foreign_names_is_compared_on_paper(
    cart_pole: ReportData, hostile: ReportData, hostile_names: tuple[str, ...]
) -> None:
    bare = ReportData(subject=cart_pole.subject, summary=RunSummary(policy="p", env="e"), actions=())
    assert render_comparison_pdf(bare, cart_pole).startswith(b"%PDF-")
    text = words(render_comparison_pdf(hostile, cart_pole))
    assert all(squeezed(name) in text for name in hostile_names[:2])
