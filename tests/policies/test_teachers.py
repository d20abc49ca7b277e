"""Teachers that read the emulator's memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import load

from moorelens.envs.atari import AtariEpisode
from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.description import describe
from moorelens.envs.workers import AtariBatch
from moorelens.policies.config import Architecture
from moorelens.policies.networks import build_network, initialise
from moorelens.policies.training.imitation import see_contrast
from moorelens.policies.training.pong import VALUES, PongTeacher, Rally, _futures, measure
from moorelens.policies.training.ram_ppo import train_teacher
from moorelens.policies.training.teachers import ram_teacher
from moorelens.policies.training.views import boxing_features, boxing_turned

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
    assert played("Pong", 1000)[0] >= 3  # a player that stands still loses more than 15 points in that time


def emulated(*, sticky: float, actions: list[int], seed: int = 3) -> Any:
    """Memories after each decision, (T, 128), of a game of Pong."""
    episode = AtariEpisode(EnvironmentRequest(id="ALE/Pong-v5", sticky=sticky), seed, frames=False)
    episode.reset()
    rams = [episode.ram()]
    for action in actions:
        episode.step(action)
        rams.append(episode.ram())
    return np.stack(rams)


def rally_at(rams: Any, actions: list[int], now: int) -> Rally:
    """What the teacher reads of the memories up to decision `now`."""
    return Rally(rams[now - np.arange(5)][None], np.array([[actions[now - 1 - k] for k in range(4)]]))


def test_the_pong_teacher_knows_where_the_ball_will_be_and_how_the_paddle_moves() -> None:
    rng = np.random.default_rng(1)
    actions = rng.integers(0, 3, 400).tolist()
    rams = emulated(sticky=0.0, actions=actions)
    table, missed, moved = _futures()[0], [], []
    for now in range(5, 400):
        seen, later = rally_at(rams, actions, now), rams[now + 1].astype(int)
        if seen.coming[0] and 4 <= seen.frames[0] <= 8:
            after = rally_at(rams, actions, now + 1) if now + 1 < 400 else seen
            missed.append(abs(int(seen.meets[0]) - int(after.meets[0])))
        gap, lag = int(seen.paddle[0]) - 120, int(seen.stick[0]) - 120
        if max(abs(gap), abs(lag)) < 40 and 50 < later[51] < 190:
            # The table's gap after four frames, of a ball that lands at 120.
            moved.append(int(table[2][gap + 48, lag + 48, actions[now - 1], actions[now]]) - 48 + 120 - later[51])
    assert len(missed) > 5 and max(missed) <= 4
    assert len(moved) > 100 and np.abs(moved).mean() < 1.0


def slow_worth(values: Any, *, speed: int, height: int, frames: int, gap: int, lag: int, before: int) -> list[float]:
    """The worth of each action by going through everything that can happen, for at most 7 frames to the contact."""
    turn, chances = [0, -1, 1], [0.75, 0.1875, 0.046875, 0.01171875, 0.00390625]

    def landed(gap: int, pressed: bool) -> float:
        blurred = 0.0
        for shift, weight in zip(range(-2, 3), (1, 4, 6, 4, 1), strict=True):
            place = -gap + shift
            if -2 <= place <= 16:
                slope = (place >= 1) + (place >= 5) + (place >= 9) + (place >= 13)
                blurred += weight / 16 * values[min(speed + pressed, 4) - 1, slope, height]
            else:
                blurred += weight / 16 * (-1.0 - 0.004 * max(-2 - place, place - 16))
        return blurred

    def worth(frames: int, gap: int, lag: int, before: int) -> list[float]:
        found = [0.0, 0.0, 0.0]
        for action in range(3):
            for late, chance in enumerate(chances):
                held = [before if frame < late else action for frame in range(4)]
                turned = [round(5.8 * sum(turn[taken] for taken in held[: k + 1])) for k in range(4)]
                soon = (gap + lag + turned[0]) // 2
                later = (soon + lag + turned[2]) // 2
                if frames < 4:
                    value = landed(gap if frames < 2 else soon, held[frames] > 0)
                else:
                    value = max(worth(frames - 4, later, lag + turned[3], held[3]))
                found[action] += chance * value
        return found

    return worth(frames, gap, lag, before)


def test_the_pong_teacher_plans_as_if_it_went_through_everything_that_can_happen() -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(-1, 1, (4, 5, 12)).astype(np.float32)
    teacher = PongTeacher(values)
    for frames, gap, lag, before in [(0, -5, 3, 1), (2, -9, -14, 0), (3, 1, 8, 2), (6, -12, -20, 1), (7, 4, 14, 0)]:
        plan = teacher._plan(2, 7)[frames, gap + 48, lag + 48, before]
        slow = slow_worth(values, speed=2, height=7, frames=frames, gap=gap, lag=lag, before=before)
        assert np.allclose(plan, slow, atol=2e-3)


def test_the_worth_of_returns_in_pong_can_be_measured_again() -> None:
    worth = measure(rounds=1, steps=150, games=2)
    assert worth.shape == load_file(VALUES)["values"].shape == (4, 5, 12)
    assert np.abs(worth).max() <= 1 and len(np.unique(worth)) > 2


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


def test_the_boxing_teacher_can_be_trained_again() -> None:
    before = torch.get_rng_state()
    tensors = load(train_teacher("Boxing", steps=1, seed=1, games=2, length=32))
    assert {name: tuple(t.shape) for name, t in tensors.items() if "weight" in name} == {
        "0.weight": (64, 48),
        "1.weight": (64, 64),
        "2.weight": (18, 64),
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
