"""Recurrent PPO with native networks: the adapter is exact, checkpoints hold everything, slices add up."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from sb3_contrib.common.recurrent.type_aliases import RNNStates

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.playing import play
from moorelens.envs.workers import AtariBatch
from moorelens.errors import OptionError, PolicyError, RunFolderError
from moorelens.pipelines.train import run_train
from moorelens.policies.base import identity, to_input
from moorelens.policies.load import open_policy
from moorelens.policies.networks import initialise
from moorelens.policies.players import PolicyPlayer
from moorelens.policies.training.atari_vec import AtariVecEnv
from moorelens.policies.training.card import decode_card
from moorelens.policies.training.config import (
    HELD_OUT_SEEDS,
    SELECTION_SEEDS,
    ImitationSettings,
    PPOSettings,
    TrainConfig,
)
from moorelens.policies.training.curve import curve_csv, curve_svg
from moorelens.policies.training.imitation import Imitator
from moorelens.policies.training.kinds import open_training
from moorelens.policies.training.sb3_policy import NativeRecurrentPolicy
from moorelens.policies.training.segments import Segments, Step
from moorelens.policies.training.teachers import ram_teacher
from moorelens.policies.training.trainer import Trainer, private_random_state
from moorelens.policies.training.value import discounted_returns, fit_value

TINY = PPOSettings(n_envs=2, n_steps=32, batch_size=32, n_epochs=2)


def tiny(**changes: object) -> TrainConfig:
    return TrainConfig(**({"env": "CartPole-v1", "steps": 256, "evaluate_every": 128, "ppo": TINY} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_sequences_through_the_adapter_are_native_steps_with_resets(cell: str) -> None:
    trainer = Trainer(tiny(cell=cell))
    policy: NativeRecurrentPolicy = trainer._model.policy
    native = policy.native()
    generator = torch.Generator().manual_seed(0)
    count, length = 3, 7
    observations = torch.randn(count * length, 4, generator=generator)
    starts = (torch.rand(count, length, generator=generator) < 0.3).float()
    hidden, second = torch.randn(2, 1, count, 32, generator=generator)
    states = RNNStates((hidden, second), (hidden, second))
    actions = torch.zeros(count * length, dtype=torch.long)
    _, log_probs, _ = policy.evaluate_actions(observations, actions, states, starts.flatten())
    for n in range(count):
        parts = [hidden[0, n], second[0, n]] if cell == "lstm" else [hidden[0, n]]
        state = torch.cat(parts)[None]
        for t in range(length):
            state = state * (1 - starts[n, t])
            state = native.core(native.features(observations[None, n * length + t]), state)
            logits, _ = native.heads(state)
            expected = torch.log_softmax(logits, dim=1)[0, 0]
            assert torch.allclose(log_probs[n * length + t], expected, atol=1e-5)
    trainer.close()


def test_a_checkpoint_holds_everything_that_training_needs() -> None:
    with private_random_state():
        first = Trainer(tiny())
        first.advance()
        first.evaluate()
        data = first.save()
        again = Trainer(tiny())
        again.restore(data)
        assert again.save() == data
        assert (again.steps, again.curve, again.best) == (first.steps, first.curve, first.best)
        assert identity(again.policy()) == identity(first.policy())
        assert b"cloudpickle" not in data and b"\x80\x05" not in data[:8]
        other = Trainer(tiny(seed=1))
        with pytest.raises(RunFolderError, match="settings"):
            other.restore(data)
        with pytest.raises(RunFolderError, match="damaged"):
            other.restore(data[:-10])


def test_training_in_slices_ends_with_a_policy_and_its_card(tmp_path: Path) -> None:
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    waiting = run_train(tiny(max_minutes=1e-6), out=tmp_path / "run")
    assert not waiting.finished and waiting.card is None and waiting.steps <= 64
    outcome = run_train(tiny(), out=tmp_path / "run")
    assert outcome.finished and outcome.steps == 256
    assert torch.equal(torch_before, torch.get_rng_state())
    assert (np.random.get_state()[1] == numpy_before).all()
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"checkpoint.safetensors", "curve.csv", "curve.svg", "policy.safetensors", "card.json"} <= names
    card = decode_card((tmp_path / "run" / "card.json").read_bytes())
    assert card == outcome.card
    loaded = open_policy(str(outcome.policy))
    assert card.identity == identity(loaded.policy)
    replayed = play(loaded.request, card.held_out.seeds[:3], PolicyPlayer(loaded.policy)).returns
    assert replayed.tolist() == card.held_out.returns[:3]


def test_another_trainings_folder_is_refused_and_force_starts_over(tmp_path: Path) -> None:
    run_train(tiny(max_minutes=1e-6), out=tmp_path)
    with pytest.raises(RunFolderError, match="other"):
        run_train(tiny(seed=5), out=tmp_path)
    assert run_train(tiny(seed=5, max_minutes=1e-6), out=tmp_path, force=True).steps <= 64


def test_seeds_of_choice_and_of_report_are_disjoint() -> None:
    assert len(HELD_OUT_SEEDS) == len(SELECTION_SEEDS) == 30
    assert not set(HELD_OUT_SEEDS) & set(SELECTION_SEEDS)


@pytest.mark.parametrize("changes", [{"steps": 0}, {"steps": -1}, {"max_minutes": 0.0}, {"units": -3}, {"seed": -1}])
def test_settings_that_train_nothing_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="must be"):
        tiny(**changes)


def test_the_value_head_predicts_the_return() -> None:
    request = EnvironmentRequest(id="CartPole-v1")
    trainer = Trainer(tiny())
    policy = trainer.policy()
    initialise(policy, generator=torch.Generator().manual_seed(1), actor_gain=1.0)
    fit_value(policy, request, range(40), gamma=0.9)
    rollouts = play(request, range(40), PolicyPlayer(policy, greedy=False, seed=0, record=("values",)))
    slow = []
    for n in range(40):
        rewards = rollouts.rewards[rollouts.offsets[n] : rollouts.offsets[n + 1]]
        slow += [sum(0.9**k * r for k, r in enumerate(rewards[t:])) for t in range(len(rewards))]
    assert np.allclose(discounted_returns(rollouts, 0.9), slow)
    unexplained = np.var(rollouts.extras["values"] - slow) / np.var(slow)
    assert unexplained < 0.7
    trainer.close()


def test_a_curve_is_drawn_with_its_target() -> None:
    rows = [
        {"steps": 10.0 * i, "selection_min": 1.0, "selection_mean": 2.0 + i, "selection_max": 9.0} for i in range(3)
    ]
    svg = curve_svg(rows, title="a < b", target=8.0).decode()
    assert svg.startswith("<svg") and "a &lt; b" in svg and "stroke-dasharray" in svg


def test_the_freeway_teacher_walks_where_no_car_will_be() -> None:
    teacher = ram_teacher("ALE/Freeway-v5")
    rams, past = np.zeros((2, 5, 128), dtype=np.uint8), np.zeros((2, 4), dtype=np.intp)
    rams[:, :, 108:118] = 120  # all cars far away
    rams[:, :, 14] = 10
    assert teacher.choose(rams, past).argmax(axis=1).tolist() == [1, 1]
    rams[1, :, 108] = 44  # a car on the first lane, right in front of the second chicken
    first, second = teacher.choose(rams, past).argmax(axis=1)
    assert first == 1 and second != 1
    with pytest.raises(OptionError, match=r"exists for Bowling, .*SpaceInvaders and not for ALE/Qbert"):
        ram_teacher("ALE/Qbert-v5")


@pytest.mark.parametrize(("env", "notes"), [("ALE/Freeway-v5", 0.0), ("ALE/Pong-v5", 0.5)])
def test_an_imitation_goes_on_from_its_checkpoint(env: str, notes: float) -> None:
    small = ImitationSettings(games=2, length=8, segments=8, batches=1, batch_size=4, warm_up=1, channels=(4, 4, 4, 2))
    small = msgspec.structs.replace(small, notes=notes, plain=2)
    config = TrainConfig(env=env, teacher="ram", steps=48, evaluate_every=10**9, imitation=small)
    first = Imitator(config)
    first.advance()
    assert first.steps == 16 and np.isfinite(first.loss) and first.segments.added == 2
    data = first.save()
    again = Imitator(config)
    again.restore(data)
    assert identity(again.policy()) == identity(first.policy())
    assert all(torch.equal(tensor, tensor.half().float()) for tensor in first.policy().tensors().values())
    assert again.collector.next_seed > first.collector.next_seed - 1  # no game is played twice
    again.advance()
    assert again.steps == 32 and again.segments.added == 2
    noted = again.segments.notes[:2]  # only a teacher that is a network tells what it sees
    assert noted.any() if notes else noted.shape == (2, 8, 0)
    other = Imitator(TrainConfig(env=env, teacher="ram", seed=3, steps=48, imitation=small))
    with pytest.raises(RunFolderError, match="settings"):
        other.restore(data)


def test_a_pupil_learns_to_see_first_and_keeps_what_it_sees_when_it_learns_to_act() -> None:
    small = ImitationSettings(games=2, length=8, segments=8, batches=2, batch_size=4, warm_up=1, notes=1.0)
    small = msgspec.structs.replace(small, body="places", channels=(4, 3), settle=0.5, look_size=8)
    config = TrainConfig(env="ALE/Pong-v5", teacher="ram", steps=64, evaluate_every=10**9, imitation=small)
    pupil = Imitator(config)
    drawn = weights(pupil.network)
    pupil.advance()  # 16 of the first 32 steps
    looked = weights(pupil.network)
    assert {name.split(".")[0] for name in drawn if not torch.equal(drawn[name], looked[name])} == {"body"}
    pupil.advance()
    settled = weights(pupil.network)
    assert {name.split(".")[0] for name in drawn if not torch.equal(looked[name], settled[name])} >= {"cell", "actor"}
    pupil.advance()
    now, kept = weights(pupil.network), weights(pupil.policy())
    body = [name for name in drawn if name.startswith("body")]
    assert all(torch.equal(now[name], settled[name]) and torch.equal(kept[name], settled[name]) for name in body)
    assert not torch.equal(now["cell.weight_hh"], settled["cell.weight_hh"])
    for slot in range(6):  # of segments recorded before, at and after that moment
        seen = pupil.network.features(to_input(pupil.segments.frames[slot]))
        assert np.allclose(pupil.segments.features[slot], seen.detach().numpy(), atol=1e-5)
    again = Imitator(config)
    again.restore(pupil.save())
    again.advance()
    assert all(torch.equal(weights(again.network)[name], settled[name]) for name in body)
    with pytest.raises(OptionError, match="the teacher of ALE/Freeway-v5 has none: leave out settle"):
        Imitator(msgspec.structs.replace(config, env="ALE/Freeway-v5"))


def weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def test_segments_are_a_ring_that_favours_the_newest() -> None:
    ring = Segments(ImitationSettings(games=1, length=2, segments=4), state_size=3, actions=2, notes=1)
    for k in range(6):
        frames, labels, notes = np.full((1, 1, 80, 80), k, np.uint8), np.array([[k, 1 - k]]), np.array([[k]])
        ring.add([Step(frames, labels, notes, np.zeros((1, 0)), np.array([0.0]))] * 2, np.full((1, 3), k))
    assert ring.notes[:, 1, 0].tolist() == [4, 5, 2, 3]
    assert ring.labels[:, 0, 0].tolist() == [4, 5, 2, 3]
    drawn = ring.draw(200, np.random.default_rng(0))
    assert set(drawn.tolist()) == {0, 1, 2, 3}


def test_atari_games_follow_each_other_as_stable_baselines_expects() -> None:
    request = EnvironmentRequest(id="ALE/Freeway-v5", noops=5)
    games = AtariVecEnv(request, 2, first_seed=10)
    assert games.reset().shape == (2, 1, 80, 80)
    for _ in range(3000):
        observations, rewards, done, infos = games.step(np.array([1, 0]))
        if done.any():
            break
    row = int(np.flatnonzero(done)[0])
    assert rewards.dtype == np.float32 and infos[row]["TimeLimit.truncated"] is False
    assert np.array_equal(observations[row], AtariBatch(request, [12]).reset()[0])
    assert not np.array_equal(infos[row]["terminal_observation"], observations[row])
    games.close()


def test_rewards_train_on_frames_as_well() -> None:
    few = PPOSettings(n_envs=2, n_steps=8, batch_size=16, n_epochs=1)
    with private_random_state():
        trainer = Trainer(TrainConfig(env="ALE/Pong-v5", steps=16, ppo=few))
        before = identity(trainer.policy())
        trainer.advance()
        assert trainer.steps == 16 and identity(trainer.policy()) != before
        assert trainer.request.sticky == 0.25
        trainer.close()


def test_a_training_can_begin_with_a_policy(tmp_path: Path) -> None:
    with private_random_state():
        trainer = Trainer(tiny(start="zoo:cartpole"))
        assert np.allclose(trainer.policy().actor.weight.detach(), _actor("zoo:cartpole"))
        trainer.close()
        with pytest.raises(PolicyError, match="of another kind"):
            Trainer(tiny(start="zoo:acrobot"))
    small = ImitationSettings(games=1, length=4, segments=4, batches=0)
    config = TrainConfig(env="ALE/Freeway-v5", teacher="ram", start="zoo:freeway", steps=4, imitation=small)
    begun = Imitator(config)
    assert np.array_equal(begun.network.actor.weight.detach(), _actor("zoo:freeway"))
    # What is scored and kept are the numbers that the zoo's file could hold.
    assert np.array_equal(begun.policy().actor.weight.detach(), _actor("zoo:freeway").astype(np.float16))


def _actor(reference: str) -> np.ndarray:
    return open_policy(reference).policy.tensors()["actor.weight"].numpy()


def test_an_imitation_writes_its_curve_for_tensorboard_too(tmp_path: Path) -> None:
    small = ImitationSettings(games=1, length=4, segments=4, batches=0)
    config = TrainConfig(env="ALE/Freeway-v5", teacher="ram", steps=4, imitation=small)
    training = open_training(config, tensorboard=str(tmp_path))
    training.curve.append({})
    assert isinstance(training, Imitator)
    training._logger.record("imitation/selection_mean", 3.0)
    training._logger.dump(4)
    training.close()
    assert [path.stat().st_size > 0 for path in tmp_path.glob("events.out.*")] == [True]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("teacher", [None, "ram"])
def test_a_gpu_that_is_not_there_is_said_and_not_replaced(teacher: str | None) -> None:
    config = msgspec.convert({"env": "ALE/Pong-v5", "teacher": teacher, "device": "cuda"}, TrainConfig)
    with pytest.raises(OptionError, match="torch finds none"):
        open_training(config)


def test_an_imitation_ends_where_the_task_is_played_well_enough() -> None:
    small = ImitationSettings(games=1, length=4, segments=4, batches=0)
    training = Imitator(TrainConfig(env="ALE/Freeway-v5", teacher="ram", target=20.0, imitation=small))
    ended = []
    for mean in (19.9, 20.0):
        training.curve.append({"selection_mean": mean})
        ended.append(training.finished)
    assert ended == [False, True]
    training.close()


def test_a_row_of_the_curve_may_lack_what_was_not_measured_yet() -> None:
    assert curve_csv([{"steps": 1.0}, {"steps": 2.0, "loss": 0.5}]).decode() == "steps,loss\n1.0,\n2.0,0.5\n"
