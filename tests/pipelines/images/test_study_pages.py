"""What a study writes for people and papers: valid against its schema, self-contained, and every string escaped."""

from __future__ import annotations

import html
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import jsonschema
import msgspec
import pytest

from moorelens.pipelines.images.study import run_count, run_crosstest
from moorelens.pipelines.images.study_config import CountConfig, CrosstestConfig
from moorelens.reports.schema import load_schema
from moorelens.reports.study import CountSummary, CrosstestSummary, Measure, SearchFacts, decode_study, encode_study
from moorelens.reports.study_figures import landscape_svg
from moorelens.reports.study_html import Example, Shown, render_study
from moorelens.reports.study_tables import study_table_files, study_tables
from moorelens.reports.study_words import findings, nothing_compared, ranking
from moorelens.saliency.studies.embedding import Landscape
from moorelens.saliency.studies.statistics import paired_tests, spread
from moorelens.stats import Estimate

sys.path.insert(0, str(Path(__file__).parent))
from study_world import make_world


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    make_world(folder, count=2)
    common = {"models": "spots:either,spots:both", "images": "pictures", "baseline": "grey"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delitem(sys.modules, "spots", raising=False)
        run_count(msgspec.convert({**common, "grid": 3, "p_low": 0.6, "out": "count"}, CountConfig))
        cross = {**common, "cells": 6, "explainer": "occlusion", "settings": {"size": 4}, "out": "crosstest"}
        run_crosstest(msgspec.convert(cross, CrosstestConfig))
    sys.modules.pop("spots", None)
    return folder


@pytest.mark.parametrize("kind", ["count", "crosstest"])
def test_summaries_validate_against_the_shipped_schemas(made: Path, kind: str) -> None:
    document = msgspec.json.decode((made / kind / "summary.json").read_bytes())
    jsonschema.validate(document, load_schema(f"image-{kind}"))
    assert document["format"] == f"moorelens.image-{kind}/1"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "more": 1}, load_schema(f"image-{kind}"))
    text = (made / kind / "summary.json").read_text()
    assert str(made) not in text
    assert str(made) not in (made / kind / "manifest.json").read_text()


@pytest.mark.parametrize("kind", ["count", "crosstest"])
def test_pages_load_nothing(made: Path, kind: str) -> None:
    page = (made / kind / "report.html").read_text("utf-8")
    assert page.lstrip().startswith("<!DOCTYPE html>")
    assert "Content-Security-Policy" in page
    assert "default-src 'none'" in html.unescape(page)
    assert "<script" not in page
    assert " style=" not in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert re.findall(r"https?://[^\s\"<]+", page) == ["http://www.w3.org/2000/svg"] * page.count("<svg")
    assert page.count("<img ") == page.count(' alt="')


@pytest.mark.parametrize("name", ["count/measures.svg", "crosstest/matrix.svg"])
def test_drawings_are_svg_that_names_every_model(made: Path, name: str) -> None:
    root = ET.fromstring((made / name).read_text("utf-8"))
    words = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"either", "both"} <= words
    assert root.get("aria-label")


def test_two_models_have_no_map_and_the_page_says_why(made: Path) -> None:
    summary = decode_study((made / "crosstest" / "summary.json").read_bytes(), CrosstestSummary)
    assert summary.landscape is None and not (made / "crosstest" / "map.svg").exists()
    page = (made / "crosstest" / "report.html").read_text("utf-8")
    assert "No map of the models is drawn" in page and "Map of the models" not in page


def test_three_models_have_a_map_that_names_them() -> None:
    found = Landscape(points=((0.1, 0.0), (-0.1, 0.0), (0.0, 0.1)), shown=1.0, negative=0.0)
    words = {element.text for element in ET.fromstring(landscape_svg(found, ["a", "b", "c"])).iter()}
    assert {"a", "b", "c"} <= words


def test_tables_explain_the_rows_that_are_there_and_nothing_has_a_sign(made: Path) -> None:
    summary = decode_study((made / "crosstest" / "summary.json").read_bytes(), CrosstestSummary)
    assert "truth" not in study_tables(summary)["insertion"].note
    assert (
        "truth" in study_tables(msgspec.structs.replace(summary, rows=(*summary.rows[:-1], "truth")))["insertion"].note
    )
    tiny = Estimate(mean=-1e-5, low=-2e-5, high=3e-5, n=2)
    nothing = msgspec.structs.replace(summary.transfers[0], difference=tiny, median=1e-6)
    cells = study_tables(msgspec.structs.replace(summary, transfers=(nothing,)))["transfers"].rows[0]
    assert [cell.text for cell in cells[2:5]] == ["0.000", "0.000 to 0.000", "0.000"]


def test_tables_are_written_in_three_forms(made: Path) -> None:
    for kind, keys in (
        ("count", {"measures", "tests", "histogram", "searches"}),
        ("crosstest", {"insertion", "deletion", "relative", "transfers", "models"}),
    ):
        names = {path.name for path in (made / kind / "tables").iterdir()}
        assert names == {f"{key}.{ending}" for key in keys for ending in ("csv", "tex", "md")}
    markdown = (made / "count" / "tables" / "measures.md").read_text()
    assert "|  | both | 2 | 2 to 2 | 2 | 2 to 2 |" in markdown
    assert r"\toprule" in (made / "crosstest" / "tables" / "insertion.tex").read_text()


def hostile(made: Path) -> CountSummary:
    summary = decode_study((made / "count" / "summary.json").read_bytes(), CountSummary)
    evil = '<script>alert("x")</script>'
    first = msgspec.structs.replace(summary.head.models[0], name=evil, reference=evil)
    head = msgspec.structs.replace(
        summary.head, models=(first, summary.head.models[1]), source=evil, skipped=((evil, evil),)
    )
    return msgspec.structs.replace(summary, head=head)


def test_names_from_outside_are_escaped(made: Path) -> None:
    summary = hostile(made)
    example = Example(title="<b>title</b>", pictures=(Shown(caption='"><img src=x>', png=b"\x89PNG"),))
    page = render_study(summary, (example,)).decode()
    assert "<script" not in page
    assert "<b>title" not in page
    assert "<img src=x" not in page
    assert page == render_study(summary, (example,)).decode()
    files = study_table_files(summary)
    assert all(b"\n" in data for data in files.values())


def test_a_summary_survives_its_file(made: Path) -> None:
    data = (made / "count" / "summary.json").read_bytes()
    summary = decode_study(data, CountSummary)
    assert encode_study(summary) == data
    assert [table.number for table in study_tables(summary).values()] == [1, 2, 3, 4]


def test_nothing_compared_names_the_budget_where_that_was_it() -> None:
    facts = SearchFacts(blind=0, none=6, search_cut=6, count_cut=0, capped=0, evaluated=50.0)
    cut = cast(CountSummary, SimpleNamespace(searches=(facts,)))
    whole = cast(CountSummary, SimpleNamespace(searches=(msgspec.structs.replace(facts, search_cut=0),)))
    assert "--budget" in nothing_compared(cut) and "--budget" not in nothing_compared(whole)


def test_medians_lead_and_means_that_turn_the_order_are_said_to_mislead() -> None:
    few = [4.0, 5, 5, 6, 6, 6, 7, 2000]
    many = [30.0, 31, 33, 34, 35, 36, 38, 40]
    values = {"or": few, "and": many}
    measure = Measure(
        key="sub_explanations", title="Sub-explanations", unit="sets",
        models=tuple(spread(one) for one in values.values()), tests=paired_tests(values),
    )  # fmt: skip
    said = ranking(measure, ["or", "and"])
    assert said.startswith(
        "and 34.5 (31 to 38) and or 6 (5 to 7): medians, whose 95\u202f% intervals put and above or. Their"
    )
    assert said.endswith("have another order, which a few pictures make: believe the medians.")
    steady = {"or": few[:-1], "and": many[:-1]}
    measure = msgspec.structs.replace(
        measure, models=tuple(spread(one) for one in steady.values()), tests=paired_tests(steady)
    )
    assert "The paired test of the means (Holm, 5\u202f%) tells or from and apart." in ranking(measure, ["or", "and"])


def test_a_class_that_dropped_out_is_named(made: Path) -> None:
    summary = decode_study((made / "count" / "summary.json").read_bytes(), CountSummary)
    assert (summary.head.shown, summary.of_class) == ((2, 2), (2, 2))
    assert findings(summary)[3] == ("Which pictures are compared?", "4 of 4 pictures.")
    blind = msgspec.structs.replace(summary.searches[0], blind=5)
    lost = msgspec.structs.replace(
        summary,
        head=msgspec.structs.replace(summary.head, shown=(5, 4), pictures=9, correct=8),
        compared=1, of_class=(0, 1), searches=(blind, summary.searches[1]),
    )  # fmt: skip
    assert findings(lost)[3][1] == (
        "1 of 9 pictures; none is left of red (5 shown); fewer than half of blue (1 of 4). Left out: 1 that some model "
        "gets wrong; those whose class a model names with nothing shown (either 5)."
    )
    crossed = decode_study((made / "crosstest" / "summary.json").read_bytes(), CrosstestSummary)
    assert crossed.of_class == (2, 2) and findings(crossed)[-1][1] == "4 of 4 pictures."
