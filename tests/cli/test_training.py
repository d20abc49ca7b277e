"""`train`: options become a training, its settings are the task's but for what is given, and the result is said."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from moorelens.cli.config import TrainOptions
from moorelens.cli.training import train_config
from moorelens.policies.training.config import TrainConfig, defaults_for
from tests.cli.support import refused, run


def test_options_are_the_training_config() -> None:
    assert train_config(TrainOptions(env="CartPole-v1")) == TrainConfig(env="CartPole-v1")
    options = TrainOptions(
        env="E-v0", steps=9, seed=3, cell="lstm", units=8, target=1.5, max_minutes=2.0, out="o", force=True
    )
    assert train_config(options) == TrainConfig(
        env="E-v0", steps=9, seed=3, cell="lstm", units=8, target=1.5, max_minutes=2.0
    )


def test_ppo_settings_replace_the_tasks() -> None:
    config = train_config(TrainOptions(env="Acrobot-v1", ppo={"gamma": 0.9}))
    assert config.ppo is not None
    assert config.ppo.gamma == 0.9
    assert config.ppo.n_envs == defaults_for("Acrobot-v1").ppo.n_envs


def test_every_field_of_a_training_can_be_said_on_the_command_line() -> None:
    assert set(TrainConfig.__struct_fields__) <= set(TrainOptions.__struct_fields__)


def test_a_short_training_stops_in_order_and_goes_on(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    common = ["train", "CartPole-v1", "--out", out, "--units", "4", "--quiet"]
    stopped = run(capsys, *common, "--steps", "4096", "--max-minutes", "0.0001")
    assert stopped.code == 0
    assert "the same command goes on" in stopped.err
    shell = run(capsys, *common, "--steps", "4096", "--json")
    assert shell.code == 0
    assert json.loads(shell.out)["steps"] >= 4096
    assert "moorelens explain" in run(capsys, *common, "--steps", "4096").out


def test_an_environment_that_does_not_exist(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    refused(run(capsys, "train", "NoSuchEnv-v0", "--out", str(tmp_path / "run"), "--quiet"))


def test_a_setting_beside_a_policy_to_begin_with_leaves_the_others_of_such_trainings() -> None:
    asked = train_config(TrainOptions(env="ALE/Pong-v5", start="zoo:pong-pupil", ppo={"learning_rate": 5e-5}))
    usual = defaults_for("ALE/Pong-v5", started=True).ppo
    assert asked.ppo == msgspec.structs.replace(usual, learning_rate=5e-5) and usual.settled
