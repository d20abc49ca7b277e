"""Teachers that read the emulator's memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from safetensors.torch import load

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.workers import AtariBatch
from moorelens.policies.config import Architecture
from moorelens.policies.networks import build_network, initialise
from moorelens.policies.training.imitation import see_contrast
from moorelens.policies.training.ram_ppo import train_teacher
from moorelens.policies.training.teachers import pong_features, ram_teacher


def slow_pong_features(rams: Any, actions: Any) -> list[float]:
    """One row, as the docstring says it."""
    x, y, paddle, other = (float(rams[0][i]) for i in (49, 54, 51, 50))
    live = y > 0 and rams[1][54] > 0
    vx, vy = (x - float(rams[1][49]), y - float(rams[1][54])) if live else (0.0, 0.0)
    if abs(vx) > 30 or abs(vy) > 40:  # a new ball is no movement
        vx = vy = 0.0
    steps, meets = 30.0, y if live else 125.0
    if vx > 0.5:
        steps = (188.0 - x) / vx
        meets = y + vy * steps
        while not 44.0 <= meets <= 206.0:  # reflected at the walls
            meets = 88.0 - meets if meets < 44.0 else 412.0 - meets
        steps = min(max(steps, -2.0), 30.0)
    row = [steps / 10, min(steps, 4) / 2, (meets - paddle) / 30, (y - paddle) / 60, (x - 128) / 60, (y - 125) / 60]
    row += [(paddle - 125) / 60, (other - y) / 40, vx / 8, vy / 8, float(live)]
    row += [(float(rams[k][51]) - float(rams[k + 1][51])) / 15 for k in range(4)]
    for action in actions:
        row += [float(action == k) for k in range(3)]
    return row


def test_what_the_pong_teacher_sees_is_what_its_docstring_says() -> None:
    rng = np.random.default_rng(0)
    rams = rng.integers(0, 256, (300, 5, 128)).astype(np.uint8)
    rams[:200, :, 54] = 100 + rng.integers(-6, 7, (200, 5))
    rams[:200, :, 49] = 150 + rng.integers(-3, 9, (200, 5))
    rams[::7, :, 54] = 0
    actions = rng.integers(0, 3, (300, 4))
    slow = [slow_pong_features(ram, past) for ram, past in zip(rams, actions.tolist(), strict=True)]
    assert np.allclose(pong_features(rams, actions), slow, atol=1e-4)


def test_the_pong_teacher_scores_against_the_machine() -> None:
    teacher = ram_teacher("ALE/Pong-v5")
    batch = AtariBatch(EnvironmentRequest(id="ALE/Pong-v5", sticky=0.25, noops=30), [1], frames=False)
    batch.reset()
    row = np.array([0])
    rams, past = np.repeat(batch.rams(row)[:, None], 5, axis=1), np.zeros((1, 4), dtype=np.intp)
    scored = 0.0
    for _ in range(1500):
        action = teacher.choose(rams, past).argmax(axis=1)
        scored += float(batch.step(row, action).rewards[0])
        rams = np.concatenate([batch.rams(row)[:, None], rams[:, :-1]], axis=1)
        past = np.concatenate([action[:, None], past[:, :-1]], axis=1)
    assert scored > 0  # a player that stands still loses 21 points in that time


def test_the_pong_teacher_can_be_trained_again() -> None:
    before = torch.get_rng_state()
    tensors = load(train_teacher("Pong", steps=1, seed=1, games=2, length=32))
    assert {name: tuple(t.shape) for name, t in tensors.items() if "weight" in name} == {
        "0.weight": (64, 27),
        "1.weight": (64, 64),
        "2.weight": (3, 64),
    }
    assert torch.equal(before, torch.get_rng_state())


def test_the_first_filters_do_not_see_brightness() -> None:
    policy = build_network(
        env_id="x",
        observation_shape=(1, 80, 80),
        observation_dtype="uint8",
        action_names=("a", "b"),
        architecture=Architecture(body="conv", sizes=(4, 4, 4, 2), hidden="relu"),
    )
    initialise(policy, generator=torch.Generator().manual_seed(0))
    see_contrast(policy)
    frame = torch.rand(1, 1, 80, 80) * 0.5
    inner = policy.body[0](frame)[..., 1:-1, 1:-1]
    brighter = policy.body[0](frame + 0.4)[..., 1:-1, 1:-1]
    assert torch.allclose(inner, brighter, atol=1e-5)
