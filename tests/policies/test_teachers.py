"""Teachers that read the emulator's memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.description import describe
from moorelens.envs.workers import AtariBatch
from moorelens.policies.config import Architecture
from moorelens.policies.networks import build_network, initialise
from moorelens.policies.training.imitation import see_contrast
from moorelens.policies.training.ram_ppo import train_teacher
from moorelens.policies.training.teachers import ram_teacher
from moorelens.policies.training.views import boxing_features, boxing_turned, pong_features


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


STEERED = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}


def steering(name: str) -> tuple[int, int, bool]:
    """Where an action's name steers, across and down, and whether it presses the button."""
    words = name.split()
    moves = [STEERED[word] for word in words if word in STEERED]
    return sum(x for x, _ in moves), sum(y for _, y in moves), "fire" in words


def test_the_boxing_teacher_sees_the_same_from_all_four_sides() -> None:
    rng = np.random.default_rng(0)
    rams = rng.integers(0, 72, (50, 5, 128)).astype(np.uint8)
    rams[:, :, 32:36] = 30  # white at (30, 1), where the ring begins, black a little to the right of it and below
    rams[:, :, 33] += rng.integers(12, 30, (50, 1)).astype(np.uint8)
    rams[:, :, 34], rams[:, :, 35] = 1, 1 + rng.integers(1, 30, (50, 1))
    actions = rng.integers(0, 18, (50, 4))
    seen, names = boxing_features(rams, actions), describe(EnvironmentRequest(id="ALE/Boxing-v5")).action_names
    assert seen.shape == (50, 48)
    for across, down in ((1, -1), (-1, 1), (-1, -1)):
        other = rams.copy()
        if across < 0:
            other[:, :, 32:34] = 139 - rams[:, :, 32:34]
        if down < 0:
            other[:, :, 34:36] = 90 - rams[:, :, 34:36]
            # The other arms, and what they have met.
            other[:, :, [47, 49, 51, 53, 55, 57, 59, 61]] = rams[:, :, [49, 47, 53, 51, 57, 55, 61, 59]]
        meant = boxing_turned(other)
        for taken, name in zip(meant[0].tolist(), names, strict=True):
            x, y, button = steering(name)
            assert steering(names[taken]) == (across * x, down * y, button)
        assert np.allclose(boxing_features(other, meant[0][actions]), seen, atol=1e-6)


def played(game: str, steps: int) -> tuple[float, set[int]]:
    """What a teacher's first choices score in so many steps of a sticky game, and which actions it took."""
    teacher = ram_teacher(f"ALE/{game}-v5")
    request = EnvironmentRequest(id=f"ALE/{game}-v5", sticky=0.25, noops=30)
    count = len(describe(request).action_names)
    batch = AtariBatch(request, [1], frames=False)
    batch.reset()
    row = np.array([0])
    rams, past = np.repeat(batch.rams(row)[:, None], 5, axis=1), np.zeros((1, 4), dtype=np.intp)
    scored, taken = 0.0, set()
    for _ in range(steps):
        judged = teacher.choose(rams, past)
        assert judged.shape == (1, count)
        assert judged.dtype == np.float32 and judged.sum() == pytest.approx(1.0, abs=1e-5)
        action = judged.argmax(axis=1)
        taken.add(int(action[0]))
        scored += float(batch.step(row, action).rewards[0])
        rams = np.concatenate([batch.rams(row)[:, None], rams[:, :-1]], axis=1)
        past = np.concatenate([action[:, None], past[:, :-1]], axis=1)
    return scored, taken


def test_the_pong_teacher_scores_against_the_machine() -> None:
    assert played("Pong", 1500)[0] > 0  # a player that stands still loses 21 points in that time


@pytest.mark.parametrize(
    ("game", "steps", "enough", "actions"),
    [
        ("Boxing", 300, 30, set(range(18))),
        ("Bowling", 700, 60, {0, 1, 2}),
        ("Breakout", 600, 15, {0, 1, 2, 3}),
        ("ChopperCommand", 600, 500, {1, 10, 13}),
        ("SpaceInvaders", 400, 150, {0, 1, 2, 3}),
    ],
)
def test_a_teacher_plays_well(game: str, steps: int, enough: float, actions: set[int]) -> None:
    scored, taken = played(game, steps)
    assert scored >= enough and taken <= actions


def test_the_space_invaders_teacher_stands_beside_a_column_and_never_under_it() -> None:
    teacher, rams = ram_teacher("ALE/SpaceInvaders-v5"), np.zeros((3, 5, 128), dtype=np.uint8)
    rams[:, :, 26], rams[:, :, 17], rams[:, :, 30] = 40, 36, 180  # columns at 40, 56, ...; no saucer
    rams[:, :, 18:24] = 0b111111
    rams[:, :, 24] = np.array([2, 2, 0])[:, None]  # going right, right, left
    rams[:, :, 28] = np.array([45, 40, 45])[:, None]
    # Beside a column: fire. Under it: go right. When they go left, the place is 6 to the left of the next column.
    assert teacher.choose(rams, np.zeros((3, 4), dtype=np.intp)).argmax(axis=1).tolist() == [1, 2, 2]
    rams[:, 0, 30], rams[:, 1, 30] = 85, 86  # a saucer that goes left
    rams[:, :, 28] = np.array([65, 63, 78])[:, None]  # it will be 20 further: fire; wait there; the gap is to the left
    assert teacher.choose(rams, np.zeros((3, 4), dtype=np.intp)).argmax(axis=1).tolist() == [1, 1, 3]


def test_the_breakout_teacher_hardly_cares_where_pressing_and_waiting_are_as_good() -> None:
    teacher, rams = ram_teacher("ALE/Breakout-v5"), np.zeros((3, 5, 128), dtype=np.uint8)
    rams[:, 0, 99], rams[:, 1, 99], rams[:, 0, 101], rams[:, 1, 101] = 120, 120, 170, 166  # falls straight down
    rams[:, :, 72] = np.array([112, 105, 90])[:, None]  # below it, at the limit, far to the left
    below, limit, far = teacher.choose(rams, np.zeros((3, 4), dtype=np.intp))
    assert below[0] > 0.8 and far[2] > 0.9
    assert abs(limit[0] - limit[2]) < 0.05
    rams[:, 0, 101] = 0  # no ball: fire
    assert teacher.choose(rams, np.zeros((3, 4), dtype=np.intp)).argmax(axis=1).tolist() == [1, 1, 1]


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
