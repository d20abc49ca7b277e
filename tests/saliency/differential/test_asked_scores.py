"""Scores of a policy by name: what each is, written out, and which way a digit of the memory counts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.playing import play
from moorelens.errors import OptionError
from moorelens.fsm.extract import machine_of
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.players import NetworkPlayer
from moorelens.policies.base import to_input
from moorelens.saliency.differential.analysis import Scene, memory_before
from moorelens.saliency.differential.asked_scores import asked_score, check_score
from moorelens.saliency.differential.config import memory_digit
from moorelens.saliency.policy_scores import policy_step
from tests.pipelines import small


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Some games of CartPole by a random policy with random quantisers."""
    policy = small.network()
    request = EnvironmentRequest(id="CartPole-v1")
    job = small.quantised(small.job_on(tmp_path_factory.mktemp("scores"), policy, request))
    network = MooreMachineNetwork(policy, observation=job.published["observation"], state=job.published["state"])
    player = NetworkPlayer(network)
    played = play(request, [0, 1], player, max_steps=20)
    machine, traces = machine_of(played, player=player)
    return Scene(
        network=network,
        machine=machine,
        traces=traces,
        observations=played.frames[played.frame_index],
        hidden=memory_before(policy, played),
    )


def test_names_are_read() -> None:
    assert memory_digit("memory:12") == 12 and memory_digit("action") is None and memory_digit("value") is None
    for wrong in ("memory", "memory:", "memory:x", "memory:-1", "mood", ""):
        with pytest.raises(OptionError, match=r"memory:0"):
            memory_digit(wrong)


def test_scores_are_those_of_the_policy_from_its_own_memory(scene: Scene) -> None:
    rows = np.array([3, 0, 7])
    x, baseline = (to_input(scene.observations[part]) for part in (rows, rows[::-1].copy()))
    assert scene.hidden is not None
    logits, value, state = policy_step(scene.network.policy, x, scene.hidden[torch.from_numpy(rows)])
    taken = torch.from_numpy(scene.traces.actions[rows].astype(np.int64))
    margin = logits.gather(1, taken[:, None])[:, 0] - logits.gather(1, 1 - taken[:, None])[:, 0]
    read = scene.network.state.preactivation  # type: ignore[attr-defined]
    for name, expected in (("action", margin), ("value", value), ("memory:2", None)):
        found = asked_score(scene, name, rows=rows, x=x, baseline=baseline)(x)
        if expected is not None:
            assert torch.allclose(found, expected, atol=1e-6)
        else:
            assert torch.allclose(found.abs(), read(state)[:, 2].abs(), atol=1e-6)


def test_a_digit_counts_towards_the_side_that_the_observation_moves_it_to(scene: Scene) -> None:
    rows = np.arange(10)
    x = to_input(scene.observations[rows])
    baseline = x.flip(0) * 0.5
    for digit in range(3):
        score = asked_score(scene, f"memory:{digit}", rows=rows, x=x, baseline=baseline)
        gap = score(x) - score(baseline)
        assert (gap >= -1e-6).all(), "taking away what moved the digit lowers the score"
        chosen = torch.tensor([4, 2, 4])
        assert torch.allclose(score.select(chosen)(x[chosen]), score(x)[chosen], atol=1e-6)


def test_digits_that_there_are_not_are_refused(scene: Scene) -> None:
    check_score(scene, "memory:2")
    check_score(scene, "action")
    with pytest.raises(OptionError, match="digits 0 to 2"):
        check_score(scene, "memory:3")

    class Rounded:
        """A quantiser that has codes alone."""

    rounded = dataclasses.replace(scene, network=_with_state(scene.network, Rounded()))
    with pytest.raises(OptionError, match="Rounded has no such number"):
        check_score(rounded, "memory:0")


def _with_state(network: MooreMachineNetwork, state: object) -> MooreMachineNetwork:
    found = object.__new__(MooreMachineNetwork)
    found.__dict__.update({**network.__dict__, "state": state})
    return found
