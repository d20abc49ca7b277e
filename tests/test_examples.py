"""The examples do what their first lines say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from examples import cleanrl_lstm
from examples.corridor import Corridor
from moorelens.fsm.config import QuantiseConfig
from moorelens.pipelines.config import ExplainConfig
from moorelens.pipelines.explain import explain_stages, run_job
from moorelens.pipelines.job import open_job
from moorelens.testing import check_policy

QUANTISE = QuantiseConfig(
    sizes=((4, 6),),
    rounds=40,
    episodes=8,
    restarts=0,
    pretrain_updates=600,
    learning_rate=3e-3,
    practice_steps=400,
    selection_episodes=32,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("agent") / "corridor.pt"
    torch.save(cleanrl_lstm.train().state_dict(), path)
    return path


def test_the_corridor_can_only_be_solved_by_remembering() -> None:
    seen = {}
    for seed in range(8):
        env = Corridor()
        first, _ = env.reset(seed=seed)
        for _ in range(env.length):
            last, *_ = env.step(0)
        seen[env.side] = (first["image"].tobytes(), last["image"].tobytes())
    assert len(seen) == 2
    assert len({first for first, _ in seen.values()}) == 2 and len({last for _, last in seen.values()}) == 1


def test_an_agent_in_the_manner_of_cleanrl_goes_through_explain(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanrl_lstm, "FILE", trained)
    check_policy(cleanrl_lstm.policy())
    config = ExplainConfig(
        policy="python:examples.cleanrl_lstm:policy",
        env="python:examples.corridor:make",
        out=str(tmp_path),
        preset="quick",
        episodes=12,
        held_out=12,
    )
    job = dataclasses.replace(open_job(config), quantise=QUANTISE)
    summary = run_job(job, "explain", explain_stages(job), progress=None).summary
    assert summary is not None and summary.returns.policy is not None and summary.returns.machine is not None
    best = 1.0 - 0.01 * 4
    assert summary.returns.policy.mean == pytest.approx(best)
    assert summary.returns.machine.mean == pytest.approx(best)
    # The junction looks the same for both sides: a table from what is seen to what is done misses half of the turns.
    assert summary.memory.memory_gain is not None and summary.memory.memory_gain > 0.05
