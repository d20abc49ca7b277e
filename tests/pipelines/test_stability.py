"""What repeated extractions found becomes one block of the summary and one table of the report."""

from __future__ import annotations

import msgspec
import pytest

from moorelens.pipelines.stability import Repeats, stability_of
from moorelens.reports.tables import tables
from tests.reports.samples import cart_pole_report

FOUND = Repeats(
    states=(4, 6, 5),
    decisions=(2, 3, 2),
    recurring=(0.5, None, 1.0),
    deciding=(0.25, 0.0, 0.75),
    scores=(500.0, 480.0, 499.0),
    agreements=((1.0, 0.9, 0.8), (0.9, 1.0, 0.7), (0.8, 0.7, 1.0)),
)


def test_the_block_speaks_of_the_runs_own_machine_and_the_mean_of_all() -> None:
    block, _ = stability_of(msgspec.json.encode(FOUND))
    assert (block.repeats, block.states, block.recurring) == (3, 5.0, 0.5)
    assert block.decisions == pytest.approx(7 / 3)
    assert block.agreement == pytest.approx((0.9 + 0.8 + 0.7) / 3)


def test_a_row_is_an_extraction_and_its_agreement_the_mean_over_the_others() -> None:
    _, part = stability_of(msgspec.json.encode(FOUND))
    assert [(row.states, row.recurring, row.deciding) for row in part.rows] == [
        (4, 0.5, 0.25),
        (6, None, 0.0),
        (5, 1.0, 0.75),
    ]
    assert [row.agreement for row in part.rows] == pytest.approx([0.85, 0.8, 0.75])
    assert "80 %" in part.note and "by chance" in part.note


def test_the_report_shows_one_table_with_a_gap_where_nothing_was_visited() -> None:
    _, part = stability_of(msgspec.json.encode(FOUND))
    table = tables(msgspec.structs.replace(cart_pole_report(), stability=part))["stability"]
    assert [column.title for column in table.columns][:5] == [
        "repeat",
        "states",
        "decision points",
        "recurring",
        "deciding",
    ]
