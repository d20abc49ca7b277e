"""Every table of a report as CSV and LaTeX, with the numbers of the summary; and a methods text that says the truth."""

from __future__ import annotations

import csv
import io
from typing import Any

import msgspec

from moorelens.reports.data import Named, ReportData
from moorelens.reports.methods import methods_text
from moorelens.reports.paper_tables import latex, paper_tables
from moorelens.reports.summary import MachineScore
from moorelens.reports.tables import tables


def rows(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode())))


def test_every_table_has_both_files(cart_pole: ReportData, pong: ReportData) -> None:
    for data in (cart_pole, pong):
        files = paper_tables(data)
        expected = {f"tables/{key}.{ending}" for key in tables(data) for ending in ("csv", "tex")}
        assert files.keys() - {"tables/seeds.csv"} == expected


def test_numbers_in_csv_are_those_of_the_summary_in_full(cart_pole: ReportData) -> None:
    for key, table in tables(cart_pole).items():
        written = rows(paper_tables(cart_pole)[f"tables/{key}.csv"])
        assert len(written) == len(table.rows) + 1
        for row, cells in zip(written[1:], table.rows, strict=True):
            for text, cell in zip(row, cells, strict=False):
                if cell.value is not None:
                    assert float(text) == float(f"{cell.value:.10g}")
                if cell.missing:
                    assert text == ""


def test_returns_seed_by_seed(cart_pole: ReportData) -> None:
    written = rows(paper_tables(cart_pole)["tables/seeds.csv"])[1:]
    expected = [
        [entry.protocol, entry.player, str(seed), f"{value:.10g}"]
        for entry in cart_pole.seed_returns
        for seed, value in zip(entry.seeds, entry.values, strict=True)
    ]
    assert written == expected


def test_latex_is_balanced_and_shows_hostile_names_literally(hostile: ReportData) -> None:
    for name, data in paper_tables(hostile).items():
        if name.endswith(".tex"):
            text = data.decode()
            assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
            bare = text.replace(r"\{", "").replace(r"\}", "")
            assert bare.count("{") == bare.count("}")
            assert not any(0x2000 <= ord(letter) <= 0x206F for letter in text)
    assert latex("$x$ {%}") == r"\$x\$ \{\%\}"


def words(data: ReportData, **changes: Any) -> str:
    return " ".join(methods_text(msgspec.structs.replace(data, **changes)))


def named(group: str, name: str, value: str) -> Named:
    return Named(group=group, name=name, value=value)


def test_methods_say_what_was_done(cart_pole: ReportData) -> None:
    searched = (
        named("quantiser", "kind", "kmeans"),
        named("quantiser", "code digits", "4 (memory), 5 (observation)"),
        named("quantiser", "chosen after", "12 rounds"),
    )
    text = words(cart_pole, settings=searched)
    assert "k-means" in text and "4 (memory), 5 (observation)" in text and "after 12 rounds" in text
    assert "chosen on" in text and "network itself unchanged" in text
    published = words(cart_pole, settings=(named("quantiser", "source", "the policy's file"),))
    assert "came with the policy" in published
    assert "tuned" not in published and "chosen on" not in published


def test_methods_speak_only_of_what_was_done(cart_pole: ReportData) -> None:
    assert "Pruning" not in words(cart_pole) or cart_pole.summary.returns.pruned is not None
    pruned = msgspec.structs.replace(
        cart_pole.summary,
        returns=msgspec.structs.replace(
            cart_pole.summary.returns, pruned=MachineScore(mean=1.0, low=None, high=None, n=1)
        ),
    )
    settings = (
        named("pruning", "mode", "state"),
        named("pruning", "tolerance", "2.5"),
        named("pruning", "games", "30"),
    )
    text = words(cart_pole, summary=pruned, settings=settings, intervals={})
    assert "one decision left a single branch" in text and "at most 2.5 of return, over 30 games" in text
    assert "different seeds" not in words(cart_pole, stability=None)


def test_the_protocol_is_named_where_there_is_one(pong: ReportData) -> None:
    protocol = "sticky actions 0.25, no-op starts up to 30"
    assert protocol in words(pong, settings=(named("episodes", "held-out protocol", protocol),))
