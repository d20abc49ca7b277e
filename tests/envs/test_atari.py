"""Atari games as the papers played them: preprocessing, actions, seeds, worker processes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import ale_py
import gymnasium
import msgspec
import numpy as np
import pytest

from moorelens.envs.atari import Emulators
from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.description import describe
from moorelens.envs.episodes import open_episodes
from moorelens.envs.frames import Preprocessor, ScreenMemory, prepare
from moorelens.envs.games import game_of, rom_name
from moorelens.envs.playing import play
from moorelens.envs.pool import Workers
from moorelens.envs.workers import AtariBatch, WorkerBatch
from moorelens.errors import EnvironmentFailure, EnvironmentRequestError, InvariantError
from moorelens.policies.load import open_policy
from moorelens.policies.players import PolicyPlayer

REFERENCE = Path(__file__).parents[2] / "../shared/reference"
PONG = EnvironmentRequest(id="ALE/Pong-v5")
HELD_OUT = msgspec.structs.replace(PONG, sticky=0.25, noops=30)


def slow_prepare(rgb: Any, rows: slice, columns: slice) -> Any:
    """The definition (spec-fsm 1.3), pixel by pixel where that is feasible."""
    grey = rgb[rows, columns].astype(np.float64).sum(axis=2) / 3
    low, high = grey.min(), grey.max()
    scale = 255.0 / (high - low if high > low else 1.0)
    stretched = np.floor(np.clip((grey - low) * scale, 0, 255) + 0.5).astype(np.uint8)
    return slow_triangle(slow_triangle(stretched, 80).T, 80).T


def slow_triangle(image: Any, size: int) -> Any:
    """One pass of PIL's antialiased bilinear filter along the columns, in its fixed-point arithmetic."""
    rows, columns = image.shape
    scale = columns / size
    support = max(scale, 1.0)
    out = np.zeros((rows, size), dtype=np.uint8)
    for x in range(size):
        centre = (x + 0.5) * scale
        first, last = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), columns)
        weights = [max(0.0, 1.0 - abs((i - centre + 0.5) * (1.0 / support))) for i in range(first, last)]
        fixed = [math.floor(w * (1.0 / sum(weights)) * 2**22 + 0.5) for w in weights]
        sums = sum(image[:, i].astype(np.int64) * f for i, f in zip(range(first, last), fixed, strict=True))
        out[:, x] = np.clip((sums + 2**21) >> 22, 0, 255)
    return out


@pytest.mark.parametrize("game", ["Pong", "Boxing", "Freeway", "Bowling", "SpaceInvaders", "ChopperCommand"])
def test_frames_are_prepared_as_the_papers_did(game: str) -> None:
    request = EnvironmentRequest(id=f"ALE/{game}-v5")
    batch = AtariBatch(request, [0])
    batch.reset()
    rng = np.random.default_rng(0)
    row = np.array([0])
    actions = len(describe(request).action_names)
    for t in range(60):
        step = batch.step(row, rng.integers(actions, size=1))
        if t % 12 == 0:
            expected = slow_prepare(batch.screens(row)[0], *game_of(request.id).crop)
            assert np.array_equal(step.observations[0, 0], expected)


def test_the_stretch_is_per_frame_and_in_scipys_order() -> None:
    frame = np.full((160, 160), 10.0)
    frame[:, 80:] = 20.0
    assert set(np.unique(prepare(frame))) >= {0, 255}
    assert (prepare(np.full((160, 160), 77.0)) == 0).all()  # one value only: range 0 is divided by 1
    # (x - min) * (255 / range): multiplied first, one value in a thousand would round the other way.
    ramp = np.arange(766).reshape(1, -1) / 3
    table = np.repeat(np.arange(256, dtype=np.uint8)[None], 2, axis=0)
    assert Preprocessor((slice(0, 2), slice(0, 256)))(table, lambda: np.stack([table] * 3, axis=-1)).shape == (
        1,
        80,
        80,
    )
    assert prepare(np.repeat(ramp, 80, axis=0)).shape == (80, 80)


def test_what_is_remembered_of_earlier_frames_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    remembering = [Preprocessor((slice(10, 110), slice(0, 100)), memory=memory) for memory in (None, ScreenMemory(3))]
    screen = rng.integers(0, 4, (120, 100), dtype=np.uint8)
    for t in range(40):
        if t % 8 == 7:
            screen = np.full_like(screen, t)  # one new colour only
        elif t % 3:
            top = int(rng.integers(0, 100))
            screen[top : top + t // 2] = rng.integers(0, 4 + t // 4, (len(screen[top : top + t // 2]), 100))
        colours = palette[screen]
        expected = prepare(colours[10:110].mean(axis=2))
        for prepared in remembering:
            found = prepared(screen, colours.copy)
            assert np.array_equal(found[0], expected)
            found[:] = 0  # what is handed out is not what is remembered


@pytest.mark.parametrize(
    ("game", "rows", "columns"),
    [
        ("Pong", (35, 195), (0, None)),
        ("Breakout", (35, 195), (0, None)),
        ("SpaceInvaders", (0, 195), (0, None)),
        ("Freeway", (25, 195), (10, None)),
        ("Boxing", (15, 180), (30, 130)),
        ("Bowling", (105, 172), (0, None)),
        ("Enduro", (0, 155), (10, None)),
        ("BeamRider", (30, 180), (10, None)),
        ("Qbert", (30, 190), (10, 150)),
        ("ChopperCommand", (5, 195), (0, None)),
    ],
)
def test_every_game_has_its_published_crop(game: str, rows: tuple[int, int], columns: tuple[int, int | None]) -> None:
    assert game_of(f"ALE/{game}-v5").crop == (slice(*rows), slice(*columns))


@pytest.mark.parametrize(
    ("game", "actions"),
    [
        ("Pong", ("no-op", "right fire", "left fire")),
        ("Freeway", ("no-op", "up", "down")),
        ("Bowling", ("no-op", "fire", "up", "down")),
        ("SpaceInvaders", ("no-op", "fire", "right", "left")),
        ("Breakout", ("no-op", "fire", "right", "left")),
    ],
)
def test_actions_are_the_published_ones_by_name(game: str, actions: tuple[str, ...]) -> None:
    assert describe(EnvironmentRequest(id=f"ALE/{game}-v5")).action_names == actions


def test_games_without_a_remap_have_all_their_actions() -> None:
    names = describe(EnvironmentRequest(id="ALE/ChopperCommand-v5")).action_names
    assert len(names) == len(set(names)) == 18 and "down left fire" in names
    assert rom_name("ALE/SpaceInvaders-v5") == "space_invaders"


def test_the_game_is_gymnasiums_game() -> None:
    gymnasium.register_envs(ale_py)
    theirs = gymnasium.make("ALE/Pong-v5", repeat_action_probability=0.0, frameskip=4)
    theirs.reset(seed=0)
    ours = AtariBatch(PONG, [0])
    ours.reset()
    row = np.array([0])
    rng = np.random.default_rng(1)
    for _ in range(250):
        action = int(rng.integers(3))
        screen, reward, terminated, truncated, _ = theirs.step([0, 4, 5][action])
        step = ours.step(row, np.array([action]))
        assert (step.rewards[0], step.terminated[0], step.truncated[0]) == (reward, terminated, truncated)
        assert np.array_equal(ours.screens(row)[0], screen)
    theirs.close()


class Random:
    """Chooses from a table by row and step."""

    def start(self, n: int) -> dict[str, Any]:
        return {"t": np.zeros(n, dtype=int)}

    def act(self, state: dict[str, Any], rows: Any, observations: Any) -> Any:
        chosen = [int(np.random.default_rng([row, state["t"][row]]).integers(3)) for row in rows]
        state["t"][rows] += 1
        return np.array(chosen)


def test_worker_processes_and_this_process_play_the_same_games() -> None:
    here = play(HELD_OUT, [5, 6, 7], Random(), max_steps=40)
    there = play(HELD_OUT, [5, 6, 7], Random(), max_steps=40, workers=2)
    assert here.to_bytes() == there.to_bytes()


def test_a_pool_of_workers_serves_one_batch_after_another() -> None:
    with Workers(2) as pool:
        first = play(HELD_OUT, [5, 6, 7], Random(), max_steps=20, workers=pool)
        processes = list(pool._processes)
        second = play([PONG, HELD_OUT], [5, 6], Random(), max_steps=20, workers=pool)
        assert pool._processes == processes and all(process.is_alive() for process in processes)
        assert first.to_bytes() == play(HELD_OUT, [5, 6, 7], Random(), max_steps=20).to_bytes()
        assert second.to_bytes() == play([PONG, HELD_OUT], [5, 6], Random(), max_steps=20).to_bytes()
        batch = WorkerBatch(HELD_OUT, [5, 6, 7], pool)
        with pytest.raises(InvariantError, match="one batch of games at a time"):
            WorkerBatch(HELD_OUT, [5], pool)
        batch.reset()
        alone = AtariBatch(HELD_OUT, [7])
        alone.reset()
        rows, only = np.array([2]), np.array([0])
        assert np.array_equal(batch.screens(rows), alone.screens(only))
        assert np.array_equal(batch.rams(rows), alone.rams(only))
        with pytest.raises(EnvironmentFailure, match=r"one of 0\.\.2"):
            batch.step(np.array([0, 1]), np.array([0, 9]))
        batch.step(np.array([0, 1]), np.array([0, 1]))
        processes[0].kill()
        processes[0].join()
        with pytest.raises(EnvironmentFailure, match="ended early"):
            batch.step(np.array([0, 1]), np.array([0, 1]))
        batch.close()
        assert not any(process.is_alive() for process in processes)
        # What broke is replaced by the next batch.
        assert play(PONG, [0, 1], Random(), max_steps=5, workers=pool).lengths.tolist() == [5, 5]
        with pytest.raises(ZeroDivisionError):
            play(PONG, [0, 1], Failing(), max_steps=5, workers=pool)
        assert play(PONG, [0, 1], Random(), max_steps=5, workers=pool).lengths.tolist() == [5, 5]
        processes = list(pool._processes)
    assert not any(process.is_alive() for process in processes)


class Failing:
    """A player that breaks while a group of games is being stepped."""

    def start(self, n: int) -> list[int]:
        return []

    def act(self, state: list[int], rows: Any, observations: Any) -> Any:
        state.append(len(rows))
        return np.zeros(len(rows), dtype=np.intp) if len(state) < 2 else 1 // 0


def test_every_seed_has_a_request_or_all_share_one() -> None:
    with pytest.raises(EnvironmentRequestError, match="2 for 3 seeds"):
        open_episodes([PONG, HELD_OUT], [0, 1, 2])
    with pytest.raises(EnvironmentRequestError, match="At least one worker"):
        Workers(0)


def test_seeds_matter_only_where_chance_plays() -> None:
    plain = play(PONG, [0, 1], Random_same(), max_steps=80)
    half = plain.offsets[1]
    assert np.array_equal(plain.frame_index[:half], plain.frame_index[half:])
    assert len(plain.frames) <= 80
    held_out = play(HELD_OUT, [0, 1], Random_same(), max_steps=80)
    assert not np.array_equal(held_out.frame_index[:80], held_out.frame_index[80:])


class Random_same(Random):  # noqa: N801
    """The same actions in every row."""

    def act(self, state: dict[str, Any], rows: Any, observations: Any) -> Any:
        chosen = [int(np.random.default_rng(int(state["t"][row])).integers(3)) for row in rows]
        state["t"][rows] += 1
        return np.array(chosen)


def test_a_reset_replays_the_same_game() -> None:
    batch = AtariBatch(HELD_OUT, [3])
    row, seen = np.array([0]), []
    for _ in range(2):
        frames = [batch.reset()[0]]
        frames += [batch.step(row, np.array([t % 3])).observations[0] for t in range(30)]
        seen.append(np.stack(frames))
    assert np.array_equal(seen[0], seen[1])


@pytest.mark.parametrize("sticky", [0.0, 0.25])
@pytest.mark.parametrize("game", ["Pong", "Assault", "Freeway"])
def test_an_emulator_that_was_played_before_plays_like_a_new_one(game: str, sticky: float) -> None:
    request = EnvironmentRequest(id=f"ALE/{game}-v5", sticky=sticky, noops=5)
    emulators = Emulators()
    row, seen = np.array([0]), []
    for seed, kept in ((4, None), (4, emulators), (9, emulators), (4, emulators)):
        batch = AtariBatch(request, [seed], emulators=kept)
        memories = [batch.reset(), batch.rams(row)]
        for t in range(120):
            step = batch.step(row, np.array([t * 7 % 3]))
            memories += [step.observations, batch.rams(row)]
            if step.terminated[0]:
                break
        batch.close()
        seen.append(b"".join(memory.tobytes() for memory in memories))
    assert seen[0] == seen[1] == seen[3]
    assert len(emulators._idle) == (2 if sticky else 1)


def test_only_so_many_emulators_are_kept() -> None:
    emulators = Emulators(limit=1)
    first, second = emulators.take(PONG, 0), emulators.take(PONG, 1)
    emulators.give_back(first)
    emulators.give_back(second)
    assert emulators.take(PONG, 2) is second and emulators.take(PONG, 2) not in (first, second)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"id": "ALE/NoSuchGame-v5"}, "written ALE/Name-v5"),
        ({"id": "ALE/Pong-v4"}, "written ALE/Name-v5"),
        ({"id": "ALE/Pong-v5", "kwargs": {"frameskip": 1}}, "frameskip"),
        ({"id": "ALE/Pong-v5", "kwargs": {"mode": 99}}, "mode"),
        ({"id": "ALE/Pong-v5", "noops": -1}, "0 or more"),
    ],
)
def test_games_that_cannot_be_built_are_refused(request_: dict[str, Any], says: str) -> None:
    with pytest.raises(EnvironmentRequestError, match=says):
        describe(EnvironmentRequest(**request_))


@pytest.mark.skipif(not REFERENCE.exists(), reason="the published checkpoints are not on this machine")
def test_the_published_pong_policy_wins_as_published() -> None:
    loaded = open_policy(f"mmn:{REFERENCE / 'mmn_pong_gru32.p'}", env="ALE/Pong-v5")
    rollouts = play(loaded.request, [0], PolicyPlayer(loaded.policy))
    assert rollouts.returns.tolist() == [21.0]
