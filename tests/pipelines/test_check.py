"""Checking a run: verdicts that a reader of `trace.csv` can follow, and mistakes in one sentence."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from moorelens.cli.main import main
from moorelens.errors import OptionError, RunFolderError
from moorelens.pipelines.check import Checked, run_check
from moorelens.pipelines.extract import run_extract
from moorelens.pipelines.run_config import CheckConfig
from tests.pipelines import small


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check")
    small.published(folder / "model.p")
    run_extract(small.explaining(folder / "model.p", folder / "run"))
    return folder / "run"


@pytest.fixture(scope="module")
def rows(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((run / "trace.csv").read_text())))


def checked(run: Path, property_: str, **define: Any) -> Checked:
    return run_check(CheckConfig(run=str(run), property=property_, define=define))


@pytest.mark.parametrize(
    "truth",
    [
        "always reward = 1",
        "always t < 15",
        "eventually last",
        "after not first, `push left` or `push right`",
        "never `push left` and push_right",
        "always cart_position < 5",
        "after `last`, terminated or truncated",
        "after previous last, first",
    ],
)
def test_what_is_true_of_every_game_holds(run: Path, truth: str) -> None:
    found = checked(run, truth)
    assert found.holds and found.fails == 0 and found.counterexample is None
    assert found.episodes == 3


def test_a_counterexample_is_a_recorded_episode(run: Path, rows: list[dict[str, str]]) -> None:
    found = checked(run, "always early", early="t < 4")
    assert not found.holds and found.fails == 3
    breach = found.counterexample
    assert breach is not None
    assert (breach.episode, breach.steps, breach.since) == (0, 5, 4)
    own = [row for row in rows if row["episode"] == "0"][breach.since : breach.steps]
    assert [(f"o{row['symbol']}", f"S{row['state']}", row["action"]) for row in own] == [
        (step.symbol, step.state, step.action) for step in breach.shown
    ]
    machine = json.loads((run / "machine.json").read_bytes())
    assert breach.seed == machine["meta"]["seeds"][0]


def test_decisions_and_states_are_those_of_the_trace(run: Path, rows: list[dict[str, str]]) -> None:
    seen = {row["state"] for row in rows}
    for state in sorted(seen):
        assert not checked(run, f"never S{state}").holds
    deciding = any(row["decision"] == "1" and row["t"] != "0" for row in rows)
    assert checked(run, "never decision and not first").holds != deciding


def test_a_mistake_is_pointed_at(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OptionError, match=r"character 8 \('FIER'\)"):
        checked(run, "always FIER")
    assert main(["check", str(run), "always FIER"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert main(["check", str(run), "early", "--define", '{"early": 3}']) == 2
    with pytest.raises(RunFolderError):
        checked(run.parent, "first")


def test_the_command(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(run), "always reward = 1"]) == 0
    assert "holds in 3 recorded episodes" in capsys.readouterr().out
    assert main(["check", str(run), "never t = 12", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["format"] == "moorelens.check/1" and not found["holds"]
    assert main(["check", str(run), "never (t = 6 or t > 6)"]) == 1
    told = capsys.readouterr().out
    assert "shortest: episode 0" in told and max(map(len, told.splitlines())) <= 80
