"""A training that watches its own machine grow: numbers in the logger, a page at the end, and nothing else changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import msgspec
import pytest
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

from moorelens.errors import OptionError
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.config import QuantiseConfig
from moorelens.pipelines import GrowthPlan, MachineCallback
from moorelens.reports.growth import Training

PLAN = GrowthPlan(
    episodes=3,
    held_out=3,
    quantise=QuantiseConfig(
        sizes=((3, 3),), rounds=1, episodes=2, restarts=0, pretrain_updates=30, selection_episodes=2, practice_steps=60
    ),
)


class Kept(KVWriter):
    """Keeps what a logger writes."""

    def __init__(self) -> None:
        self.written: list[tuple[int, dict[str, Any]]] = []

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        self.written.append((step, dict(key_values)))

    def close(self) -> None:
        """Nothing to close."""


def recurrent(env: Any) -> Any:
    options: dict[str, Any] = {"n_steps": 64, "batch_size": 64, "n_epochs": 1, "seed": 0, "device": "cpu"}
    return RecurrentPPO("MlpLstmPolicy", env, policy_kwargs={"lstm_hidden_size": 6, "net_arch": []}, **options)


def task() -> gymnasium.Env[Any, Any]:
    return gymnasium.make("CartPole-v1", max_episode_steps=40)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, MachineCallback, Kept, Path]:
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("growth")
    model, kept = recurrent(DummyVecEnv([task])), Kept()
    model.set_logger(Logger(None, [kept]))
    callback = MachineCallback("CartPole-v1", every=100, out=out, plan=PLAN)
    model.learn(192, callback=callback)
    return model, callback, kept, out


def test_a_machine_is_extracted_every_so_many_steps_and_at_the_end(watched: Any) -> None:
    _, callback, _, out = watched
    assert [stage.growth.steps for stage in callback.stages] == [100, 192]
    rows = msgspec.json.decode((out / "growth.json").read_bytes(), type=Training).checkpoints
    assert list(rows) == [stage.growth for stage in callback.stages]
    for row in rows:
        machine = decode_machine((out / f"machine-{row.steps}.json").read_bytes())
        assert (machine.n_states, machine.n_symbols) == (row.states, row.symbols)
        assert row.loss == pytest.approx((row.policy or 0) - (row.machine or 0))


def test_the_logger_has_every_number(watched: Any) -> None:
    _, callback, kept, _ = watched
    logged = [(step, values) for step, values in kept.written if "machine/states" in values]
    assert [step for step, _ in logged] == [100, 192]
    for (_, values), stage in zip(logged, callback.stages, strict=True):
        for name in ("states", "decisions", "loss", "gain", "reactivity", "open_loop"):
            assert values[f"machine/{name}"] == getattr(stage.growth, name)


def test_the_page_shows_each_machine_and_what_changed(watched: Any) -> None:
    _, callback, _, out = watched
    html = (out / "growth.html").read_text(encoding="utf-8")
    assert "<script" not in html and "RecurrentPPO" in html
    assert callback.stages[0].changes == "" and callback.stages[1].changes.splitlines()[0] in html
    for stage in callback.stages:
        assert f"<h3>{stage.growth.steps} steps</h3>" in html
        assert stage.svg is None or "<svg" in stage.svg


def test_the_training_is_what_it_would_have_been(watched: Any) -> None:
    model = recurrent(DummyVecEnv([task]))
    model.learn(192)
    for name, weight in model.policy.state_dict().items():
        assert torch.equal(weight, watched[0].policy.state_dict()[name]), name


def test_stacks_and_statistics_come_from_the_model(tmp_path: Path) -> None:
    callback = MachineCallback("CartPole-v1", every=10_000, out=tmp_path, plan=PLAN)
    recurrent(VecFrameStack(VecNormalize(DummyVecEnv([task])), 2)).learn(64, callback=callback)
    (stage,) = callback.stages
    assert stage.growth.note == "" and stage.growth.states is not None


def test_what_cannot_be_a_machine_is_said_on_the_page_and_the_training_goes_on(tmp_path: Path) -> None:
    callback = MachineCallback("Acrobot-v1", every=10_000, out=tmp_path, plan=PLAN)
    PPO("MlpPolicy", DummyVecEnv([task]), n_steps=32, batch_size=32, device="cpu").learn(32, callback=callback)
    (row,) = json.loads((tmp_path / "growth.json").read_text())["checkpoints"]
    assert row["states"] is None and "must fit its environment" in row["note"]
    assert "must fit its environment" in (tmp_path / "growth.html").read_text()


def test_tensorboard_gets_them_too(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    model = PPO(
        "MlpPolicy", DummyVecEnv([task]), n_steps=32, batch_size=32, device="cpu", tensorboard_log=str(tmp_path)
    )
    model.learn(32, callback=MachineCallback("CartPole-v1", every=32, out=tmp_path / "out", plan=PLAN))
    (folder,) = tmp_path.glob("PPO_*")
    found = events.EventAccumulator(str(folder)).Reload()
    assert "machine/states" in found.Tags()["scalars"]


def test_every_step_at_most() -> None:
    with pytest.raises(OptionError, match="every=0"):
        MachineCallback("CartPole-v1", every=0, out="x")
