"""summary.json is what the design says it is, key for key."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import msgspec
import pytest

from moorelens.errors import InvariantError, RunFolderError
from moorelens.reports.data import ReportData, encode_report_data
from moorelens.reports.schema import RECORDS, load_schema, make_schema
from moorelens.reports.summary import (
    Fidelity,
    RunSummary,
    decode_summary,
    encode_summary,
    machine_score_of,
    score_of,
    walk_numbers,
)
from moorelens.stats import estimate

PLAYERS = ["policy", "policy_stochastic", "mmn", "machine", "reduced", "folded", "pruned"]
KEYS: dict[str, list[str]] = {
    "seeds": ["fit", "selection", "held_out"],
    "returns": PLAYERS,
    "returns_published": PLAYERS,
    "returns_assisted": PLAYERS,
    "loss": ["machine", "reduced", "folded", "pruned"],
    "fidelity": [
        "replay", "teacher_forced_mmn", "teacher_forced_policy", "closed_loop", "symbol_novelty", "undefined_rate",
    ],
    "sizes": ["machine", "reduced", "folded"],
    "decisions": ["structural", "action", "semantic", "dwell", "after_pruning"],
    "memory": ["reactivity", "memory_gain", "open_loop_index", "best_tree"],
    "stability": ["repeats", "states", "decisions", "agreement", "recurring"],
    "saliency": ["decision_points", "flip_salient", "flip_other", "pairs"],
}  # fmt: skip


def written(summary: RunSummary) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(encode_summary(summary))
    return decoded


def test_an_empty_run_has_every_key_and_measured_nothing() -> None:
    content = written(RunSummary(policy="p", env="e"))
    assert list(content) == ["format", "policy", "env", *KEYS]
    assert content["format"] == "moorelens.summary/1"
    assert {key: list(content[key]) for key in KEYS} == KEYS
    assert all(value is None for key in KEYS if key != "seeds" for value in content[key].values())


def test_sizes_and_scores_have_the_keys_of_the_design(cart_pole: ReportData) -> None:
    content = written(cart_pole.summary)
    assert list(content["sizes"]["machine"]) == ["states", "symbols", "transitions", "conflicts"]
    assert list(content["sizes"]["reduced"]) == ["states", "symbols", "edges"]
    assert list(content["sizes"]["folded"]) == [
        "states", "symbols", "method", "lower_bound", "proven", "zero_evidence_merges",
    ]  # fmt: skip
    assert list(content["returns"]["policy"]) == ["mean", "low", "high", "n", "bound"]
    assert list(content["returns"]["machine"]) == ["mean", "low", "high", "n", "bound", "decided"]


def test_estimates_become_scores_without_loss() -> None:
    measured = estimate([1.0, 2.0, 4.0])
    score = machine_score_of(measured, decided=0.5)
    assert (score.mean, score.low, score.high, score.n, score.bound) == (
        measured.mean, measured.low, measured.high, measured.n, measured.bound,
    )  # fmt: skip
    assert score.decided == 0.5
    equal = score_of(estimate([500.0] * 30))
    assert equal.low == equal.high == equal.mean == 500.0
    assert equal.bound == pytest.approx(0.1)


def test_bytes_and_record_are_the_same_thing(cart_pole: ReportData) -> None:
    data = encode_summary(cart_pole.summary)
    assert decode_summary(data) == cart_pole.summary
    assert encode_summary(decode_summary(data)) == data


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_could_not_be_measured_is_never_nan(number: float) -> None:
    with pytest.raises(InvariantError, match=r"fidelity\.replay is"):
        encode_summary(RunSummary(policy="p", env="e", fidelity=Fidelity(replay=number)))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"policy": "p"}', b'{"policy": "p", "env": "e", "more": 1}'])
def test_what_is_no_summary_is_refused(data: bytes) -> None:
    with pytest.raises(RunFolderError, match=r"must follow moorelens\.summary/1"):
        decode_summary(data)


def test_flags_are_not_numbers(cart_pole: ReportData) -> None:
    paths = dict(walk_numbers(cart_pole.summary))
    assert "sizes.folded.proven" not in paths
    assert paths["sizes.machine.states"] == cart_pole.summary.sizes.machine.states  # type: ignore[union-attr]


@pytest.mark.parametrize("name", RECORDS)
def test_the_shipped_schemas_are_those_of_the_records(name: str) -> None:
    assert load_schema(name) == json.loads(make_schema(name)), "run `python -m moorelens.reports.schema FOLDER`"


def test_what_is_written_validates_against_the_shipped_schemas(cart_pole: ReportData, pong: ReportData) -> None:
    for data in (cart_pole, pong):
        jsonschema.validate(json.loads(encode_summary(data.summary)), load_schema("summary"))
        jsonschema.validate(json.loads(encode_report_data(data)), load_schema("report-data"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**msgspec.to_builtins(cart_pole.summary), "more": 1}, load_schema("summary"))
