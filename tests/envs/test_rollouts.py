"""Playing seeded episodes and recording them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from moorelens.envs import EnvironmentRequest, Rollouts, describe, open_episodes, play
from moorelens.envs.rollouts import concatenate
from moorelens.errors import EnvironmentFailure, EnvironmentRequestError, InvariantError, OptionError

# The folder may or may not be a package, depending on how the tests are run.
BROKEN = "python:" + ".".join([*__name__.split(".")[:-1], "broken_environments"])
CONTROL = ["CartPole-v1", "Acrobot-v1", "LunarLander-v3"]


class Scripted:
    """Chooses from a table of random actions by row and step, so that a row's actions do not depend on the batch."""

    def __init__(self, actions: int, names: list[int]) -> None:
        self.tables = [np.random.default_rng(name).integers(actions, size=1100) for name in names]

    def start(self, n: int) -> dict[str, Any]:
        return {"t": np.zeros(n, dtype=int)}

    def act(self, state: dict[str, Any], rows: Any, observations: Any) -> Any:
        chosen = np.array([self.tables[row][state["t"][row]] for row in rows])
        state["t"][rows] += 1
        return chosen

    def recorded(self, state: dict[str, Any]) -> dict[str, Any]:
        return {}


def slow_episode(env_id: str, seed: int, actions: Any) -> tuple[list[Any], list[float], bool, bool]:
    env = gymnasium.make(env_id)
    observation, _ = env.reset(seed=seed)
    seen, rewards = [], []
    for action in actions:
        seen.append(observation)
        observation, reward, terminated, truncated, _ = env.step(int(action))
        rewards.append(float(reward))
        if terminated or truncated:
            env.close()
            return seen, rewards, terminated, truncated
    raise AssertionError("the episode did not end")


@pytest.mark.parametrize("env_id", CONTROL)
def test_a_recording_is_what_gymnasium_gives_step_by_step(env_id: str) -> None:
    request = EnvironmentRequest(id=env_id)
    spec = describe(request)
    seeds = [3, 1, 4]
    player = Scripted(len(spec.action_names), seeds)
    rollouts = play(request, seeds, player)
    for n, seed in enumerate(seeds):
        seen, rewards, terminated, truncated = slow_episode(env_id, seed, player.tables[n])
        steps = slice(rollouts.offsets[n], rollouts.offsets[n + 1])
        assert np.array_equal(rollouts.frames[rollouts.frame_index[steps]], np.array(seen, dtype=np.float32))
        assert rollouts.rewards[steps].tolist() == rewards
        assert (bool(rollouts.terminated[n]), bool(rollouts.truncated[n])) == (terminated, truncated)
        assert rollouts.returns[n] == np.array(rewards).sum()
    alone = play(request, seeds[2:], Scripted(len(spec.action_names), seeds[2:]))
    last = slice(rollouts.offsets[2], rollouts.offsets[3])
    assert np.array_equal(alone.frames[alone.frame_index], rollouts.frames[rollouts.frame_index[last]])


def test_rollouts_are_equal_byte_for_byte_and_survive_the_round_trip() -> None:
    request = EnvironmentRequest(id="CartPole-v1")
    first = play(request, [0, 1], Scripted(2, [0, 1]))
    again = play(request, [0, 1], Scripted(2, [0, 1]))
    assert first.to_bytes() == again.to_bytes()
    assert Rollouts.from_bytes(first.to_bytes()).to_bytes() == first.to_bytes()
    with pytest.raises(ValueError, match="read-only"):
        first.actions[0] = 1


def test_names_and_limits_of_the_control_tasks() -> None:
    spec = describe(EnvironmentRequest(id="CartPole-v1"))
    assert spec.action_names == ("push left", "push right")
    assert spec.feature_names is not None and spec.feature_names[2] == "pole angle"
    assert (spec.kind, spec.max_steps, spec.observation_dtype) == ("control", 500, "float32")
    assert describe(EnvironmentRequest(id="MountainCar-v0")).observation_shape == (2,)
    named = EnvironmentRequest(id="CartPole-v1", action_names=("left", "right"))
    assert describe(named).action_names == ("left", "right")


def test_max_steps_truncates() -> None:
    rollouts = play(EnvironmentRequest(id="Acrobot-v1"), [0, 1], Scripted(3, [0, 1]), max_steps=7)
    assert rollouts.lengths.tolist() == [7, 7]
    assert rollouts.truncated.all() and not rollouts.terminated.any()


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"id": "NoSuchTask-v0"}, "Gymnasium can build"),
        ({"id": ""}, "needs an id"),
        ({"id": "Pendulum-v1"}, "discrete"),
        ({"id": "Blackjack-v1"}, "one array of numbers"),
        ({"id": "CartPole-v1", "kwargs": {"no_such": 1}}, "no_such"),
        ({"id": "CartPole-v1", "sticky": 0.25}, "belong to Atari"),
        ({"id": "ALE/Pong-v5", "sticky": 2.0}, r"lies in \[0, 1\]"),
        ({"id": "CartPole-v1", "action_names": ("one",)}, "names file"),
        ({"id": f"{BROKEN}:nothing"}, "cannot be imported"),
        ({"id": "python:no.such.module:factory"}, "cannot be imported"),
        ({"id": f"{BROKEN}:raises"}, "raised RuntimeError: no licence"),
        ({"id": f"{BROKEN}:returns_a_number"}, "returned a int"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_sentence(request_: dict[str, Any], says: str) -> None:
    with pytest.raises(EnvironmentRequestError, match=says):
        describe(EnvironmentRequest(**request_))


@pytest.mark.parametrize(
    ("fault", "says"),
    [("dies", "raised OSError: gone"), ("nan", "not finite"), ("shape", "of shape"), ("reward", "reward nan")],
)
def test_an_environment_that_breaks_names_seed_and_step(fault: str, says: str) -> None:
    request = EnvironmentRequest(id=f"{BROKEN}:make", kwargs={"fault": fault})
    with pytest.raises(EnvironmentFailure, match=says) as caught:
        play(request, [11, 12], Scripted(2, [0, 1]))
    assert "seed 11 at step 3" in str(caught.value)


def test_no_episodes_and_no_workers_are_refused() -> None:
    with pytest.raises(EnvironmentRequestError, match="no seed"):
        open_episodes(EnvironmentRequest(id="CartPole-v1"), [])
    with pytest.raises(EnvironmentRequestError, match="worker"):
        open_episodes(EnvironmentRequest(id="CartPole-v1"), [0], workers=0)
    with pytest.raises(OptionError, match="max_steps"):
        play(EnvironmentRequest(id="CartPole-v1"), [0], Scripted(2, [0]), max_steps=0)


class Talking(Scripted):
    """Records the time of each step besides."""

    def recorded(self, state: dict[str, Any]) -> dict[str, Any]:
        return {"t": state["t"][:1].copy()}


def test_recordings_are_joined_episode_by_episode_with_each_frame_once() -> None:
    request = EnvironmentRequest(id="CartPole-v1")
    parts = [play(request, seeds, Scripted(2, seeds)) for seeds in ([3, 1], [4], [1, 5])]
    whole = concatenate(parts)
    assert whole.seeds.tolist() == [3, 1, 4, 1, 5]
    episodes = [(part, n) for part in parts for n in range(len(part.seeds))]
    for place, (part, n) in enumerate(episodes):
        here = slice(whole.offsets[place], whole.offsets[place + 1])
        there = slice(part.offsets[n], part.offsets[n + 1])
        assert np.array_equal(whole.frames[whole.frame_index[here]], part.frames[part.frame_index[there]])
        for name in ("actions", "rewards"):
            assert np.array_equal(getattr(whole, name)[here], getattr(part, name)[there])
        assert (whole.terminated[place], whole.truncated[place]) == (part.terminated[n], part.truncated[n])
    assert len({frame.tobytes() for frame in whole.frames}) == len(whole.frames)
    # Seed 1 is played twice with the same actions: its frames are kept once, in the order of first sight.
    assert len(whole.frames) < sum(len(part.frames) for part in parts)
    assert (np.diff(np.unique(whole.frame_index, return_index=True)[1]) > 0).all()


def test_joined_at_once_or_played_at_once_is_the_same_recording() -> None:
    request, seeds = EnvironmentRequest(id="CartPole-v1"), [3, 1, 4]
    together = play(request, seeds, Scripted(2, seeds))
    parts = [play(request, [seed], Scripted(2, [seed])) for seed in seeds]
    assert concatenate(parts).to_bytes() == together.to_bytes()
    assert concatenate([together]).to_bytes() == together.to_bytes()


def test_what_players_recorded_is_joined_too_and_must_agree() -> None:
    request = EnvironmentRequest(id="CartPole-v1")
    parts = [play(request, [seed], Talking(2, [seed])) for seed in (0, 1)]
    assert concatenate(parts).extras["t"].tolist() == [t + 1 for part in parts for t in range(len(part.actions))]
    for wrong in ([], [parts[0], play(request, [2], Scripted(2, [2]))]):
        with pytest.raises(InvariantError, match="record them alike"):
            concatenate(wrong)
