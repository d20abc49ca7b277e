"""Files of Stable-Baselines3 go through the whole job, from the zip to the report."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sb3_contrib import RecurrentPPO

from moorelens.envs import play
from moorelens.fsm.config import QuantiseConfig
from moorelens.pipelines.config import ExplainConfig
from moorelens.pipelines.explain import explain_stages, run_job
from moorelens.pipelines.job import open_job
from moorelens.policies import PolicyPlayer
from tests.policies import sb3_models
from tests.policies.sb3_models import HERE, TRAININGS, Training

QUANTISE = QuantiseConfig(
    sizes=((3, 3),), rounds=1, episodes=2, restarts=0, pretrain_updates=40, selection_episodes=2, practice_steps=60
)
# 40,000 steps: eight environments and large minibatches, because padding sequences costs most of the time.
WITHOUT_VELOCITIES = Training(
    algorithm=RecurrentPPO,
    policy="MlpLstmPolicy",
    env=f"{HERE}:without_velocities",
    make=sb3_models.without_velocities,
    options={
        "n_steps": 128,
        "batch_size": 1024,
        "n_epochs": 5,
        "learning_rate": 4e-3,
        "gae_lambda": 0.8,
        "gamma": 0.98,
    },
    kwargs={"lstm_hidden_size": 32, "net_arch": [], "shared_lstm": True, "enable_critic_lstm": False},
    seed=0,
    steps=40_000,
    copies=8,
    sharpen=False,
)
EXPLAINED = {
    "two layers, separate critic": TRAININGS["two layers, separate critic"],
    "two layers, shared critic": TRAININGS["two layers, shared critic"],
    "images": TRAININGS["images"],
    "one array in a dictionary, several choices": TRAININGS["one array in a dictionary, several choices"],
    "normalised, then stacked": TRAININGS["normalised, then stacked"],
    "DQN": TRAININGS["DQN"],
    "without velocities": WITHOUT_VELOCITIES,
}


def explained(training: Training, folder: Path) -> tuple[Any, Any, Path]:
    path, model = training.train(folder / "trained")
    config = ExplainConfig(
        policy=f"sb3:{path}", env=training.env, out=str(folder / "run"), preset="quick", episodes=3, held_out=2
    )
    job = dataclasses.replace(open_job(config), quantise=QUANTISE)
    return run_job(job, "explain", explain_stages(job), progress=None), (job, model), path


@pytest.mark.parametrize("name", EXPLAINED, ids=lambda name: name.replace(" ", "-"))
def test_a_stock_zip_goes_through_explain(name: str, tmp_path: Path) -> None:
    result, (job, model), _ = explained(EXPLAINED[name], tmp_path)
    summary = result.summary
    assert summary is not None and summary.fidelity.replay == 1.0
    assert summary.policy == "sb3:model" and summary.returns.policy is not None
    html = (result.folder / "report.html").read_text(encoding="utf-8")
    assert type(model).__name__ in html
    assert ("no memory" in html) == (name == "DQN")
    if name == "without velocities":
        # Twenty steps are what a policy gets that does not balance at all.
        assert summary.returns.policy.mean > 50
        played = play(job.request, range(12), PolicyPlayer(job.loaded.policy))
        assert len(played.actions) >= 1000
        assert played.actions.tolist() == followed(model, played)


def followed(model: Any, played: Any) -> list[int]:
    actions, state = [], None
    for step, index in enumerate(played.frame_index):
        start = np.array([step in played.offsets])
        action, state = model.predict(played.frames[index][None], state=state, episode_start=start, deterministic=True)
        actions.append(int(action[0]))
    return actions


def test_a_policy_and_an_environment_in_the_current_folder(tmp_path: Path) -> None:
    """The console script finds both where it was started: the factory is called, and complains of its argument."""
    TRAININGS["PPO"].train(tmp_path)
    (tmp_path / "here.py").write_text(
        "import gymnasium\n\ndef make(limit):\n    return gymnasium.make('CartPole-v1', max_episode_steps=limit)\n"
    )
    script = Path(sys.executable).parent / "moorelens"
    wrong = ["--env", "python:here:make", "--env-kwargs", json.dumps({"wrong": 1})]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [script, "extract", "sb3:model.zip", *wrong, "--quiet"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 2 and "unexpected keyword argument 'wrong'" in done.stderr
