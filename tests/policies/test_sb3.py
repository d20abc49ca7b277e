"""Files of Stable-Baselines3: rebuilt without running anything in them, they choose as the model itself does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moorelens.envs import play
from moorelens.policies import LoadedPolicy, PolicyPlayer, open_policy
from moorelens.policies.sb3 import from_sb3
from moorelens.testing import check_policy
from tests.policies import sb3_models
from tests.policies.sb3_models import TRAININGS

STEPS = 1000


@pytest.fixture(scope="module", params=TRAININGS, ids=lambda name: name.replace(" ", "-"))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Any]:
    path, model = TRAININGS[request.param].train(tmp_path_factory.mktemp("sb3"))
    return request.param, path, model


def opened(name: str, path: Path) -> LoadedPolicy:
    return open_policy(f"sb3:{path}", env=TRAININGS[name].env)


def choices(loaded: LoadedPolicy) -> Any:
    """Play greedily until there are enough steps."""
    count = 1
    while True:
        played = play(loaded.request, range(count), PolicyPlayer(loaded.policy))
        if len(played.actions) >= STEPS:
            return played
        count *= 2


def predicted(model: Any, name: str, played: Any) -> list[int]:
    """What the model itself does on the same observations, told where episodes start and nothing else."""
    actions, state = [], None
    for first, end in zip(played.offsets[:-1], played.offsets[1:], strict=True):
        frames = played.frames[played.frame_index[first:end]]
        for step, observation in enumerate(sb3_models.seen_by_sb3(model, TRAININGS[name], frames)):
            start = np.array([step == 0])
            action, state = model.predict(observation, state=state, episode_start=start, deterministic=True)
            actions.append(action[0])
    return [int(a) if np.ndim(a) == 0 else int(np.ravel_multi_index(tuple(a), (3, 2))) for a in actions]


def test_greedy_actions_are_those_of_predict(trained: tuple[str, Path, Any]) -> None:
    name, path, model = trained
    played = choices(opened(name, path))
    theirs = predicted(model, name, played)
    assert len(theirs) >= STEPS
    assert played.actions.tolist() == theirs
    assert len(set(theirs)) > 1


def test_it_keeps_the_contract_of_a_policy(trained: tuple[str, Path, Any]) -> None:
    name, path, _ = trained
    check_policy(opened(name, path).policy)


def test_a_live_model_is_the_same_policy(trained: tuple[str, Path, Any]) -> None:
    name, path, model = trained
    read, (live, request) = opened(name, path), from_sb3(model, TRAININGS[name].env)
    assert request == read.request
    assert live.spec == read.policy.spec
    seeds = range(3)
    ours, theirs = (play(request, seeds, PolicyPlayer(p, record=("logits",))) for p in (read.policy, live))
    assert ours.actions.tolist() == theirs.actions.tolist()
    assert np.allclose(ours.extras["logits"], theirs.extras["logits"], atol=1e-5)
