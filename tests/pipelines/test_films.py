"""A recorded game is played again by its actions, and its screens are those of the game that was recorded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.episodes import open_episodes
from moorelens.envs.playing import play
from moorelens.pipelines.films import _seen

PLAIN = EnvironmentRequest(id="ALE/Pong-v5")
NOOPS = msgspec.structs.replace(PLAIN, noops=9)


class Waggler:
    """Takes each action in turn."""

    def start(self, n: int) -> Any:
        return SimpleNamespace(steps=0)

    def act(self, state: Any, rows: Any, observations: Any) -> Any:
        state.steps += 1
        return np.full(len(rows), state.steps % 3, dtype=np.intp)


@pytest.fixture(scope="module")
def recorded() -> tuple[Any, Any]:
    """A job and the machines of a run, as far as films look at them: one plain game and one with no-op starts."""
    games = [play(request, [seed], Waggler(), max_steps=30) for request, seed in ((PLAIN, 0), (NOOPS, 1))]
    frames = np.concatenate([game.frames for game in games])
    index = np.concatenate([games[0].frame_index, games[1].frame_index + len(games[0].frames)])
    offsets, actions = np.array([0, 30, 60]), np.concatenate([game.actions for game in games])
    played = SimpleNamespace(frames=frames, frame_index=index, seeds=np.array([0, 1]), offsets=offsets, actions=actions)
    traces = SimpleNamespace(offsets=offsets, actions=actions)
    job = SimpleNamespace(request=PLAIN, fitting=NOOPS, atari=True, env=SimpleNamespace(feature_names=None))
    return job, SimpleNamespace(played=played, traces=traces)


@pytest.mark.parametrize(("number", "request_", "seed"), [(0, PLAIN, 0), (1, NOOPS, 1)])
def test_the_screens_are_those_of_the_game(
    recorded: tuple[Any, Any], number: int, request_: EnvironmentRequest, seed: int
) -> None:
    job, machines = recorded
    film = list(_seen(job, machines, number))
    assert len(film) == 30
    batch: Any = open_episodes(request_, [seed])
    batch.reset()
    assert np.array_equal(film[0], batch.screens(np.array([0]))[0])
    for step in range(10):
        batch.step(np.array([0]), np.array([(step + 1) % 3]))
    assert np.array_equal(film[10], batch.screens(np.array([0]))[0])
    batch.close()


def test_a_game_that_goes_another_way_shows_what_the_network_saw(recorded: tuple[Any, Any]) -> None:
    job, machines = recorded
    changed = np.array(machines.played.frames)
    changed[machines.played.frame_index[20]] ^= 1
    played = SimpleNamespace(**(vars(machines.played) | {"frames": changed}))
    film = list(_seen(job, SimpleNamespace(played=played, traces=machines.traces), 0))
    assert len(film) == 30
    assert film[0].shape[:2] == (80, 80), "the input of the network, not another game's screen"
