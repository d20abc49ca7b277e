"""Learning from rewards with a policy to begin with, whose feature net stays as it is and sees every frame once."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
import torch

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.workers import AtariBatch
from moorelens.errors import OptionError, PolicyError
from moorelens.policies.base import to_input
from moorelens.policies.load import open_policy
from moorelens.policies.networks import GRUPolicy
from moorelens.policies.training.atari_vec import AtariVecEnv
from moorelens.policies.training.config import PPOSettings, TrainConfig, defaults_for
from moorelens.policies.training.settled import Seen
from moorelens.policies.training.trainer import Trainer, private_random_state

START = "zoo:pong-pupil"
FEW = PPOSettings(n_envs=2, n_steps=8, batch_size=16, n_epochs=1, settled=True, sharpness=3.0, plain=2)


def training(**changes: object) -> Trainer:
    settings = msgspec.structs.replace(FEW, **changes)
    return Trainer(TrainConfig(env="ALE/Pong-v5", units=64, steps=64, start=START, ppo=settings))


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    with private_random_state():
        yield


def begun() -> GRUPolicy:
    policy = open_policy(START).policy
    assert isinstance(policy, GRUPolicy)
    return policy


def test_games_are_seen_as_features() -> None:
    request, policy = EnvironmentRequest(id="ALE/Freeway-v5", noops=5), open_policy("zoo:freeway").policy
    assert isinstance(policy, GRUPolicy)
    games = AtariVecEnv(request, 2, first_seed=10)
    seen = Seen(AtariVecEnv(request, 2, first_seed=10), policy, device=torch.device("cpu"))
    assert seen.observation_space.shape == (policy.spec.feature_size,)

    def features(frames: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return policy.features(to_input(frames)).numpy()

    assert np.allclose(seen.reset(), features(games.reset()), atol=1e-5)
    for _ in range(3000):
        frames, _, done, infos = games.step(np.array([1, 0]))
        found = seen.step(np.array([1, 0]))
        if done.any():
            break
    assert np.allclose(found[0], features(frames), atol=1e-5) and np.array_equal(found[2], done)
    row = int(np.flatnonzero(done)[0])
    last = features(infos[row]["terminal_observation"][None])[0]
    assert np.allclose(found[3][row]["terminal_observation"], last, atol=1e-5)


def test_every_nth_game_is_plain_and_so_is_the_one_after_it() -> None:
    request = EnvironmentRequest(id="ALE/Freeway-v5", sticky=1.0)
    without = msgspec.structs.replace(request, sticky=0.0)
    games = AtariVecEnv(request, 3, first_seed=4, plain=3)
    alone = AtariBatch([request, request, without], [4, 5, 6])
    assert np.array_equal(games.reset(), alone.reset())
    rows = np.arange(3)
    for _ in range(2100):
        # A sticky game that always repeats stays with the first action, which is none; the plain one crosses the road.
        observations, _, done, infos = games.step(np.array([1, 1, 1]))
        step = alone.step(rows, np.array([1, 1, 1]))
        if done.any():
            assert all(np.array_equal(infos[row]["terminal_observation"], step.observations[row]) for row in rows[done])
            break
        assert np.array_equal(observations, step.observations)
    later = [
        AtariBatch([of], [seed]).reset()[0] for of, seed in zip([request, request, without], (7, 8, 9), strict=True)
    ]
    assert all(np.array_equal(observations[row], later[row]) for row in rows[done])
    assert games._requests[2].sticky == 0.0


def test_the_feature_net_stays_and_the_rest_learns() -> None:
    trainer, first = training(), begun()
    before = trainer.policy()
    for name, tensor in first.tensors().items():
        if not name.startswith("critic"):
            factor = 3.0 if name.startswith("actor") else 1.0
            assert torch.allclose(before.tensors()[name], factor * tensor), name
    trainer.advance()
    after = trainer.policy()
    for name, tensor in after.tensors().items():
        if not name.startswith("critic"):
            assert torch.equal(tensor, before.tensors()[name]) == name.startswith("body"), name
    trainer.close()


def test_at_first_it_chooses_as_the_policy_it_begins_with() -> None:
    trainer, first = training(), begun()
    frames = torch.rand(5, 1, 80, 80, generator=torch.Generator().manual_seed(0))
    state = torch.rand(5, 64, generator=torch.Generator().manual_seed(1)) - 0.5
    with torch.no_grad():
        ours, theirs = (
            policy.heads(policy.core(policy.features(frames), state))[0] for policy in (trainer.policy(), first)
        )
    assert torch.allclose(ours, 3.0 * theirs, atol=1e-4) and torch.equal(ours.argmax(dim=1), theirs.argmax(dim=1))
    trainer.close()


def test_the_critic_learns_first_and_faster() -> None:
    trainer = training(critic_first=0.25, critic_rate=10.0)
    policy = trainer._model.policy
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    trainer.advance()
    moved = {name for name, tensor in policy.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved and all(name.startswith(("lstm_critic", "value_net")) for name in moved)
    trainer.advance()
    now = policy.state_dict()
    assert not torch.equal(now["action_net.weight"], before["action_net.weight"]), "a quarter of the steps is over"
    assert [group.get("multiple") for group in policy.optimizer.param_groups] == [None, 10.0]
    rates = {group["lr"] for group in policy.optimizer.param_groups}
    assert len(rates) == 1, "stable-baselines3 sees one learning rate"
    # Adam's first step is the learning rate, whatever the gradient.
    trainer.close()
    fresh = training(critic_rate=10.0, max_grad_norm=1e9)
    bias = fresh._model.policy.value_net.bias
    start, step = bias.detach().clone(), 10.0 * fresh.settings.learning_rate
    fresh.advance()
    assert torch.allclose((bias - start).abs(), torch.full_like(start, step), rtol=0.05)
    fresh.close()


def test_a_surprised_critic_does_not_shrink_what_the_actor_learns() -> None:
    """`clip_apart`: the norm holds for each of the two, and Adam's step follows from what is left."""
    trainer = training(clip_apart=True, max_grad_norm=0.5)
    optimiser = trainer._model.policy.optimizer
    acting, valuing = (group["params"] for group in optimiser.param_groups)
    for parameter in acting:
        parameter.grad = torch.full_like(parameter, 1e-5)
    for parameter in valuing:
        parameter.grad = torch.full_like(parameter, 1e3)
    optimiser.step()
    assert all(torch.equal(parameter.grad, torch.full_like(parameter, 1e-5)) for parameter in acting)
    norm = torch.sqrt(sum(parameter.grad.square().sum() for parameter in valuing))
    assert abs(float(norm) - 0.5) < 1e-4 and trainer._model.max_grad_norm == np.inf
    trainer.close()


def test_it_goes_on_from_a_checkpoint() -> None:
    trainer = training(critic_rate=2.0)
    trainer.advance()
    saved = trainer.save()
    again = training(critic_rate=2.0)
    again.restore(saved)
    assert again.steps == trainer.steps == 16
    theirs = again._model.policy.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in trainer._model.policy.state_dict().items())
    again.advance()
    assert again.steps == 32
    trainer.close()
    again.close()


def test_a_checkpoint_brings_its_feature_net() -> None:
    """What the training began with may be another file by now: games are seen by the net that is kept."""
    trainer = training()
    saved = trainer.save()
    with torch.no_grad():
        for parameter in trainer._network.body.parameters():
            parameter.zero_()
    trainer.restore(saved)
    first, seen = begun().body.state_dict(), trainer._network.body.state_dict()
    assert all(torch.equal(tensor, seen[name]) for name, tensor in first.items())
    trainer.close()


def test_what_cannot_be_begun_with_is_refused() -> None:
    with pytest.raises(OptionError, match="name one with --start"):
        Trainer(TrainConfig(env="ALE/Pong-v5", steps=64, ppo=FEW))
    for wrong, says in (({"start": "zoo:freeway"}, "trained on ALE/Pong-v5"), ({"units": 32}, "pass --units 64.")):
        options: dict[str, object] = {"units": 64, "start": START} | wrong
        with pytest.raises(PolicyError, match=says):
            Trainer(TrainConfig(env="ALE/Pong-v5", steps=64, ppo=FEW, **options))  # type: ignore[arg-type]


def test_a_policy_of_another_environment_is_named() -> None:
    with pytest.raises(PolicyError, match="zoo:pong-pupil is of another kind"):
        Trainer(TrainConfig(env="CartPole-v1", units=64, start=START))


def test_atari_policies_that_begin_with_one_keep_its_feature_net_unless_told_otherwise() -> None:
    assert defaults_for("ALE/Pong-v5", started=True).ppo.settled and not defaults_for("ALE/Pong-v5").ppo.settled
    assert defaults_for("ALE/Pong-v5", started=True).target == 18.0
    assert defaults_for("CartPole-v1", started=True) == defaults_for("CartPole-v1")
