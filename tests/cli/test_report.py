"""`moorelens report`: a report set again from its data, two compared, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import msgspec
import numpy as np
import pytest

from moorelens.cli.main import main
from moorelens.fsm.automata.build import build_machine
from moorelens.fsm.automata.exchange.machine_json import encode_machine
from moorelens.reports.data import encode_report_data
from moorelens.reports.growth import Growth, Training
from moorelens.reports.html import render_html
from moorelens.reports.schema import load_schema
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
    assert (tmp_path / "cart-and-cart.pdf").read_bytes().startswith(b"%PDF")


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """A training's folder as `MachineCallback` leaves it: a machine, none, and another."""
    folder = tmp_path / "growth"
    folder.mkdir()
    for steps, states in ((100, 3), (300, 5)):
        codes = np.arange(40).reshape(-1, 1) % states
        machine, _ = build_machine(
            start_codes=np.full((1, 1), -1), state_codes=codes, symbol_codes=codes % 2, actions=codes[:, 0] % 2,
            offsets=np.array([0, 40]), terminated=np.ones(1, dtype=bool), truncated=np.zeros(1, dtype=bool),
            action_names=("left", "right"),
        )  # fmt: skip
        (folder / f"machine-{steps}.json").write_bytes(encode_machine(machine))
    checkpoints = (
        Growth(steps=100, states=3, symbols=2, decisions=0, policy=9.0, machine=8.0, loss=1.0),
        Growth(steps=200, note="The policy answered with NaN."),
        Growth(steps=300, states=5, symbols=2, decisions=0, policy=19.0, machine=18.0, loss=1.0),
    )
    training = Training(policy="PPO", env="CartPole-v1", settings="Small.", checkpoints=checkpoints)
    (folder / "growth.json").write_bytes(msgspec.json.encode(training))
    return folder


def test_a_training_is_reported_from_its_folder(
    training: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    jsonschema.validate(json.loads((training / "growth.json").read_text()), load_schema("growth"))
    assert main(["report", str(training)]) == 0
    assert capsys.readouterr().out.split() == ["growth-report.html", "growth-report.pdf"]
    page = (tmp_path / "growth-report.html").read_text("utf-8")
    for words in ("PPO", "CartPole-v1", "The policy answered with NaN.", "3 states became 5"):
        assert words in page
    assert page.count("<svg") >= 2
    assert (tmp_path / "growth-report.pdf").read_bytes().startswith(b"%PDF")


def test_a_damaged_training_is_one_sentence(training: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(training), str(run)]) == 2
    assert "is a training" in capsys.readouterr().err
    (training / "machine-300.json").unlink()
    assert main(["report", str(training)]) == 2
    assert "machine-300.json" in capsys.readouterr().err
    (training / "growth.json").write_bytes(b"\xff[1, 2")
    assert main(["report", str(training)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("moorelens: ")
    assert error.count("\n") == 1


def test_another_file_is_replaced_only_when_told(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.html"
    out.write_text("mine")
    assert main(["report", str(run), "--out", str(out)]) == 2
    assert out.read_text() == "mine"
    assert main(["report", str(run), "--out", str(out), "--force"]) == 0
    assert out.read_bytes().startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a", "b", "c"],
        ["{run}", "--out", "x.txt"],
        ["{run}", "{run}", "--out", "x.png"],
        ["{run}", "--film-mb", "-1"],
        ["missing"],
    ],
)
def test_a_wrong_request_is_one_sentence(arguments: list[str], run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", *(word.format(run=run) for word in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("moorelens: ")
    assert error.count("\n") == 1


def beyond_numbers(data: bytes) -> bytes:
    """Report data with a return that no axis can hold."""
    found = json.loads(data)
    found["seed_returns"][0]["values"][0] = 1e308
    return json.dumps(found).encode()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"garbage",
        lambda data: data[:3000],
        lambda data: b"{}",
        lambda data: data.replace(b"<svg", b"<nosvg"),
        beyond_numbers,
    ],
)
def test_damaged_data_is_one_sentence_that_names_the_file(
    damage: Callable[[bytes], bytes],
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "report-data.json").write_bytes(damage((run / "report-data.json").read_bytes()))
    assert main(["report", str(broken)]) == 2
    error = capsys.readouterr().err
    assert "broken/report-data.json" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("*.html"))


def test_a_folder_of_an_image_run_is_refused_with_the_way_to_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["image", "occlusion", "--pictures", "1", "--steps", "2", "--window", "28", "--out", "run", "-q"]
    assert main(asked) == 0
    capsys.readouterr()
    assert main(["report", "run"]) == 2
    error = capsys.readouterr().err
    assert "`moorelens image occlusion`" in error and "run/index.html" in error and error.count("\n") == 1
    (tmp_path / "run/index.html").unlink()
    assert main(asked) == 0
    assert (tmp_path / "run/index.html").is_file()
