"""What a job can be told, what it cannot, and what is recorded of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from moorelens.errors import OptionError
from moorelens.pipelines.config import Budget, DemoConfig, ExplainConfig, budget, default_out, file_name, recorded


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("episodes", 0),
        ("episodes", -3),
        ("held_out", 0),
        ("repeats", 0),
        ("seed", -1),
        ("noops", -1),
        ("sticky", 1.5),
        ("sticky", -0.1),
        ("sticky", float("nan")),
        ("max_minutes", 0.0),
        ("max_minutes", -1.0),
        ("max_minutes", float("nan")),
        ("max_minutes", float("inf")),
    ],
)
def test_values_that_no_job_can_use_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=f"--{name.replace('_', '-')} must be"):
        ExplainConfig(policy="zoo:x", **{name: value})


@pytest.mark.parametrize(
    ("preset", "atari", "expected"),
    [
        ("quick", False, (32, 20, 1)),
        ("quick", True, (6, 5, 1)),
        ("standard", False, (64, 100, 1)),
        ("standard", True, (12, 20, 1)),
        ("thorough", False, (200, 500, 5)),
        ("thorough", True, (30, 100, 5)),
    ],
)
def test_the_presets_are_those_of_the_design(preset: Any, atari: bool, expected: tuple[int, int, int]) -> None:
    episodes, held_out, repeats = expected
    found = budget(ExplainConfig(policy="zoo:x", preset=preset), atari=atari)
    assert found == Budget(episodes=episodes, held_out=held_out, repeats=repeats)


def test_options_replace_numbers_of_the_preset() -> None:
    config = ExplainConfig(policy="zoo:x", preset="quick", episodes=3, repeats=2)
    assert budget(config, atari=False) == Budget(episodes=3, held_out=20, repeats=2)


@pytest.mark.parametrize(
    ("policy", "folder"),
    [
        ("zoo:cartpole", "runs/explain-cartpole"),
        ("mmn:../shared/mmn_pong_gru32.p", "runs/explain-mmn_pong_gru32"),
        ("mmn:C:\\models\\a b.p", "runs/explain-a-b"),
        ("sb3:best_model.zip", "runs/explain-best_model"),
        ("python:pkg.mod:make", "runs/explain-pkg.mod-make"),
        ("runs/train-E-0/policy.safetensors", "runs/explain-train-E-0"),
        ("runs/train-E-0/best.safetensors", "runs/explain-best"),
        ("/policy.safetensors", "runs/explain-policy"),
        ("mmn:..", "runs/explain-policy"),
    ],
)
def test_the_folder_is_named_after_the_policy(policy: str, folder: str) -> None:
    assert default_out("explain", policy) == folder


def test_what_is_recorded_says_what_and_not_where() -> None:
    here = ExplainConfig(policy="mmn:/home/a/x.p", out="/tmp/r", force=True, max_minutes=3.0, names="/home/a/n.json")
    there = ExplainConfig(policy="mmn:x.p", names="n.json")
    assert recorded(here) == recorded(there)
    assert "/" not in str(recorded(here))
    assert recorded(ExplainConfig(policy="/home/a/p.safetensors"))["policy"] == "p.safetensors"
    assert recorded(ExplainConfig(policy="python:a.b:c"))["policy"] == "python:a.b:c"


def test_a_trained_policy_is_called_after_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every training writes a policy.safetensors."""
    (tmp_path / "train-E-0/x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "train-E-0")
    for place in (".", str(tmp_path / "train-E-0"), "../train-E-0", "x/.."):
        policy = f"{place}/policy.safetensors"
        found = recorded(ExplainConfig(policy=policy))["policy"]
        assert found == "train-E-0/policy.safetensors"
        assert file_name(found) == "train-E-0"
    assert file_name("policy.safetensors") == "policy", "as older runs recorded it"


@pytest.mark.parametrize("config", [ExplainConfig(policy="zoo:x", sticky=0.25, env_kwargs={"a": [1]}), DemoConfig()])
def test_a_config_is_json_and_comes_back(config: ExplainConfig | DemoConfig) -> None:
    assert msgspec.json.decode(msgspec.json.encode(config), type=type(config)) == config


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="sed"):
        msgspec.convert({"policy": "zoo:x", "sed": 1}, type=ExplainConfig)
