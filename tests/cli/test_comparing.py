"""`compare` prints one table, with the seconds that stand in no file; the pipeline stands in here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moorelens.pipelines import compare as pipeline
from moorelens.pipelines.compare_config import CompareConfig
from moorelens.pipelines.compare_table import Comparison, Row
from moorelens.stats import Estimate
from tests.cli.support import refused, run


def row(name: str, **facts: Any) -> Row:
    half = Estimate(mean=0.5, low=0.4, high=0.6, n=20)
    loss = Estimate(mean=-1.25, low=-2.0, high=0.5, n=20)
    given: dict[str, Any] = {"tuned": True, "symbols_of": None, "size": (8, 8), "kept": True} | facts
    return Row(
        name=name, returns=half, loss=loss, network_loss=loss, fidelity=half, decided=half, states=1234, symbols=56,
        transitions=9000, folded=7, **given,
    )  # fmt: skip


FOUND = Comparison(
    policy="zoo:p",
    env="E-v1",
    seeds={"held_out": (1, 2)},
    returns=Estimate(mean=500.0, low=500.0, high=500.0, n=20, bound=0.15),
    copies=0,
    rows=(row("qbn"), row("kmeans-raw", tuned=False, kept=False), row("aalpy", symbols_of="qbn", size=None, kept=None)),
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[CompareConfig]:
    calls: list[CompareConfig] = []

    def stand_in(config: CompareConfig, *, progress: Any) -> pipeline.CompareResult:
        calls.append(config)
        seconds = {"qbn": 61.5, "kmeans-raw": 3.0, "aalpy": 0.4}
        found = None if config.max_minutes else FOUND
        left_out = ("table",) if config.max_minutes else ()
        return pipeline.CompareResult(
            folder=Path(config.out or ""), comparison=found, seconds=seconds, left_out=left_out
        )

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "run_compare", stand_in)
    return calls


def test_the_table_fits_a_terminal_and_names_the_files(
    asked: list[CompareConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    shell = run(capsys, "compare", "zoo:p", "--quantisers", "qbn,kmeans-raw,aalpy", "--preset", "quick", "--quiet")
    assert shell.code == 0 and asked[0].quantisers == "qbn,kmeans-raw,aalpy"
    lines = shell.out.splitlines()
    assert lines[0] == "zoo:p in E-v1: return 500 on 20 held-out games"
    table = lines[1:5]
    assert all(len(line) <= 80 for line in table) and len({len(line) for line in table}) == 1
    assert table[1].split()[:3] == ["qbn", "yes", "-1.2"] and table[1].endswith("61.5")
    assert table[2].startswith("kmeans-raw") and " no " in table[2]
    assert table[3].startswith("aalpy on qbn")
    assert "No size of kmeans-raw kept the return" in shell.out
    assert "runs/compare-p/compare.csv" in lines


def test_json_has_the_seconds_of_each_row(asked: list[CompareConfig], capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, "compare", "zoo:p", "--json").out)
    assert found["format"] == "moorelens.compare/1"
    assert [(row["name"], row["seconds"]) for row in found["rows"]] == [
        ("qbn", 61.5),
        ("kmeans-raw", 3.0),
        ("aalpy", 0.4),
    ]


def test_what_a_time_limit_left_out_is_said(asked: list[CompareConfig], capsys: pytest.CaptureFixture[str]) -> None:
    shell = run(capsys, "compare", "zoo:p", "--max-minutes", "1")
    assert "left out for want of time: table" in shell.err and "the same command goes on" in shell.out
    assert run(capsys, "compare", "zoo:p", "--max-minutes", "1", "--json").out == "null\n"


@pytest.mark.parametrize("words", [["--quantisers", "vq"], ["--quantisers", "aalpy"], ["--repeats", "2"]])
def test_a_wrong_request_is_refused_in_one_sentence(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    refused(run(capsys, "compare", "zoo:p", *words))
