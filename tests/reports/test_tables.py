"""Every number in a table is a number of the summary."""

from __future__ import annotations

from moorelens.reports.data import ReportData
from moorelens.reports.summary import walk_numbers
from moorelens.reports.tables import tables


def test_cells_with_a_path_show_the_number_at_that_path(cart_pole: ReportData, pong: ReportData) -> None:
    for data in (cart_pole, pong):
        numbers = dict(walk_numbers(data.summary))
        cells = [cell for table in tables(data).values() for row in table.rows for cell in row if cell.path]
        assert len(cells) > 25
        for cell in cells:
            assert cell.path is not None
            assert numbers[cell.path] == cell.value


def test_tables_are_numbered_in_order_and_rows_are_full(cart_pole: ReportData, pong: ReportData) -> None:
    for data in (cart_pole, pong):
        made = list(tables(data).values())
        assert [table.number for table in made] == list(range(1, len(made) + 1))
        assert all(len(row) == len(table.columns) for table in made for row in table.rows)


def test_empty_parts_have_no_table(cart_pole: ReportData) -> None:
    assert {"published", "assisted", "stability", "saliency"}.isdisjoint(tables(cart_pole))


def test_every_number_of_returns_loss_fidelity_and_memory_is_shown(cart_pole: ReportData) -> None:
    shown = {cell.path for table in tables(cart_pole).values() for row in table.rows for cell in row}
    for path, _ in walk_numbers(cart_pole.summary):
        block, *_, last = path.split(".")
        if block in ("fidelity", "memory") or (block in ("returns", "loss") and last == "mean"):
            assert path in shown
