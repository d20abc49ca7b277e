"""`moorelens report`: a report set again from its data, two compared, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moorelens.cli.main import main
from moorelens.reports.data import encode_report_data
from moorelens.reports.html import render_html
from tests.reports.samples import cart_pole_report


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "cart"
    folder.mkdir()
    (folder / "report-data.json").write_bytes(encode_report_data(cart_pole_report()))
    return folder


def test_a_report_is_set_again_beside_the_run_and_not_in_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"files": ["cart-report.html", "cart-report.pdf"]}
    assert (tmp_path / "cart-report.html").read_bytes() == render_html(cart_pole_report())
    assert (tmp_path / "cart-report.pdf").read_bytes().startswith(b"%PDF")
    assert [path.name for path in run.iterdir()] == ["report-data.json"]


def test_two_runs_are_compared(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(run), str(run / "report-data.json")]) == 0
    assert "two policies compared" in (tmp_path / "cart-and-cart.html").read_text("utf-8")


def test_another_file_is_replaced_only_when_told(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.html"
    out.write_text("mine")
    assert main(["report", str(run), "--out", str(out)]) == 2
    assert out.read_text() == "mine"
    assert main(["report", str(run), "--out", str(out), "--force"]) == 0
    assert out.read_bytes().startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize(
    "arguments", [[], ["a", "b", "c"], ["{run}", "--out", "x.txt"], ["{run}", "{run}", "--out", "x.pdf"], ["missing"]]
)
def test_a_wrong_request_is_one_sentence(arguments: list[str], run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", *(word.format(run=run) for word in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("moorelens: ")
    assert error.count("\n") == 1
