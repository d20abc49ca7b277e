"""Fine-tuning: what is learned from, what is not, and that a restored training goes on as if never stopped."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from moorelens.envs.rollouts import Rollouts
from moorelens.fsm import finetune
from moorelens.fsm.config import QuantiseConfig
from moorelens.fsm.finetune import FineTuning, cosine, decision_loss, masked_mean
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.quantisers.files import write_quantisers
from moorelens.fsm.reading import FeatureReader
from moorelens.fsm.segments import Practice, Segments, draw
from moorelens.fsm.sequences import Sequences, padded, sequences_of, watch
from moorelens.policies.base import identity
from tests.fsm.small_networks import small_policy, small_qbn, words_as_rollouts

POLICY = small_policy(seed=3)
LENGTHS = (7, 12, 1, 9)
FEATURES = [3 * torch.rand(n, 4, generator=torch.Generator().manual_seed(n)) for n in LENGTHS]
CONFIG = QuantiseConfig(segment=5, batch=8, learning_rate=1e-2)


def sequences(*, extra_steps: int = 0, extra_episodes: int = 0, junk: float = 0.0) -> Sequences:
    """Four episodes of 7, 12, 1 and 9 steps, padded by zeros or junk to any size."""
    shape = (max(LENGTHS) + extra_steps, len(LENGTHS) + extra_episodes)
    features, mask = torch.full((*shape, 4), junk), torch.zeros(shape, dtype=torch.bool)
    for column, episode in enumerate(FEATURES):
        features[: len(episode), column] = episode
        mask[: len(episode), column] = True
    states, logits = watch(POLICY, features)
    outside = ~mask[..., None]
    return Sequences(
        features=features,
        states=torch.where(outside, junk, states),
        logits=torch.where(outside, junk, logits),
        mask=mask,
    )


def fresh(*, config: QuantiseConfig = CONFIG, seed: int = 0) -> FineTuning:
    quantisers = {
        "state": small_qbn(8, 4, seed=seed, gain=6.0),
        "observation": small_qbn(4, 3, output="relu6", seed=seed + 1, gain=6.0),
    }
    network = MooreMachineNetwork(POLICY, observation=quantisers["observation"], state=quantisers["state"])
    return FineTuning(network, quantisers, config)


logit_rows = st.lists(
    st.tuples(*[st.floats(-8, 8, width=32)] * 6, st.booleans()), min_size=1, max_size=8
)  # student (3), teacher (3), mask


class TestDecisionLoss:
    @given(logit_rows, st.sampled_from(["kl", "mse"]))
    def test_it_is_the_masked_mean_of_the_definition(self, rows: list[Any], objective: str) -> None:
        student, teacher = (torch.tensor([row[part] for row in rows]) for part in (slice(0, 3), slice(3, 6)))
        mask = torch.tensor([row[6] for row in rows])
        distances = []
        for row in rows:
            if row[6]:
                p, q = (np.exp(np.array(row[part]) - max(row[part])) for part in (slice(3, 6), slice(0, 3)))
                p, q = p / p.sum(), q / q.sum()
                distances.append(float(np.sum(p * np.log(p / q)) if objective == "kl" else np.mean((q - p) ** 2)))
        expected = sum(distances) / len(distances) if distances else 0.0
        assert abs(float(decision_loss(student, teacher, mask=mask, objective=objective)) - expected) < 1e-5

    @settings(max_examples=50)
    @given(logit_rows, st.integers(0, 5), st.floats(-8, 8, width=32), st.sampled_from(["kl", "mse"]))
    def test_padding_never_changes_it(self, rows: list[Any], more: int, junk: float, objective: str) -> None:
        student, teacher = (torch.tensor([row[part] for row in rows]) for part in (slice(0, 3), slice(3, 6)))
        mask = torch.tensor([row[6] for row in rows])
        plain = decision_loss(student, teacher, mask=mask, objective=objective)

        def padded(x: Tensor, value: float) -> Tensor:
            return torch.cat([torch.where(mask[:, None], x, value), torch.full((more, 3), value)])

        wide = decision_loss(
            padded(student, junk),
            padded(teacher, -junk),
            mask=torch.cat([mask, torch.zeros(more, dtype=torch.bool)]),
            objective=objective,
        )
        assert abs(float(wide) - float(plain)) < 1e-6

    def test_time_and_batch_are_averaged_alike(self) -> None:
        generator = torch.Generator().manual_seed(0)
        student, teacher = (torch.randn(5, 4, 3, generator=generator) for _ in range(2))
        mask = torch.rand(5, 4, generator=generator) < 0.6
        for objective in ("kl", "mse"):
            flat = decision_loss(student.flatten(0, 1), teacher.flatten(0, 1), mask=mask.flatten(), objective=objective)
            assert torch.allclose(decision_loss(student, teacher, mask=mask, objective=objective), flat)

    @pytest.mark.parametrize("objective", ["kl", "mse"])
    def test_the_gradient_comes_from_the_teachers_probabilities(self, objective: str) -> None:
        student = torch.tensor([[0.3, -0.2, 1.0]], dtype=torch.float64).requires_grad_()
        teacher = torch.tensor([[2.0, 0.5, -1.0]], dtype=torch.float64)
        mask = torch.tensor([True])

        def gradient(teacher: Tensor) -> Tensor:
            loss = decision_loss(student, teacher, mask=mask, objective=objective)
            (found,) = torch.autograd.grad(loss, student)
            return found

        p, q = teacher.softmax(-1), student.detach().softmax(-1)
        if objective == "kl":
            expected = q - p
        else:
            error = 2 * (q - p) / 3
            expected = q * (error - (error * q).sum())
        assert torch.allclose(gradient(teacher), expected, atol=1e-12)
        assert torch.allclose(gradient(teacher + 5.0), expected, atol=1e-12), "equal probabilities, equal gradient"
        assert not torch.allclose(gradient(3 * teacher), expected, atol=1e-3), "not from the greedy action alone"
        assert gradient(student.detach()).abs().max() < 1e-12, "nothing to learn where the probabilities agree"

    def test_nothing_but_padding_is_no_loss(self) -> None:
        assert float(masked_mean(torch.full((4,), math.inf), torch.zeros(4, dtype=torch.bool))) == 0.0


class TestSequences:
    def test_they_are_the_episodes_side_by_side(self) -> None:
        generator = np.random.default_rng(0)
        steps = sum(LENGTHS)
        plain = words_as_rollouts([[0] * n for n in LENGTHS])
        rollouts = Rollouts(
            frames=generator.normal(size=(steps - 3, 4)).astype(np.float32),
            frame_index=generator.integers(0, steps - 3, steps).astype(np.int32),
            **{
                name: getattr(plain, name)
                for name in ("actions", "rewards", "offsets", "terminated", "truncated", "seeds")
            },
        )
        reader = FeatureReader(POLICY)
        for episodes in (None, [2, 0]):
            found = sequences_of(POLICY, rollouts, reader=reader, episodes=episodes)
            chosen = range(4) if episodes is None else episodes
            assert found.mask.shape == found.features.shape[:2] == (12 if episodes is None else 7, len(chosen))
            for column, episode in enumerate(chosen):
                span = slice(int(rollouts.offsets[episode]), int(rollouts.offsets[episode + 1]))
                state = POLICY.initial_state(1)
                assert found.mask[:, column].sum() == LENGTHS[episode] and bool(
                    found.mask[: LENGTHS[episode], column].all()
                )
                for t, frame in enumerate(rollouts.frame_index[span]):
                    with torch.no_grad():
                        features = POLICY.features(torch.tensor(rollouts.frames[frame])[None])
                        state = POLICY.core(features, state)
                        logits = POLICY.heads(state)[0]
                    assert torch.allclose(found.features[t, column], features[0], atol=1e-6)
                    assert torch.allclose(found.states[t, column], state[0], atol=1e-6)
                    assert torch.allclose(found.logits[t, column], logits[0], atol=1e-5)
            assert not found.states.requires_grad and not found.logits.requires_grad

    @given(st.lists(st.integers(0, 6), max_size=4), st.integers(1, 3))
    def test_rows_are_padded_to_the_longest_episode(self, lengths: list[int], digits: int) -> None:
        offsets = np.cumsum([0, *lengths])
        rows = np.arange(1, 1 + offsets[-1] * digits, dtype=np.int8).reshape(-1, digits)
        side = padded(torch.from_numpy(rows), lengths)
        assert side.dtype == torch.int8 and side.shape == (max(lengths, default=0), len(lengths), digits)
        for column, (start, stop) in enumerate(pairwise(offsets.tolist())):
            assert np.array_equal(side[: stop - start, column], rows[start:stop])
            assert not side[stop - start :, column].any()

    def test_no_episodes_are_no_steps(self) -> None:
        rollouts = words_as_rollouts([[0]])
        found = sequences_of(POLICY, rollouts, reader=FeatureReader(POLICY), episodes=[])
        assert found.features.shape == (0, 0, 4) and found.states.shape == (0, 0, 8) and found.logits.shape == (0, 0, 3)


def slow_learning(*, calls: int, config: QuantiseConfig) -> Any:
    """Spec-fsm 2.5 on short segments, written out: masked means, clipped Adam, a running mean of the weights."""
    state_qbn, observation_qbn = (small_qbn(8, 4, gain=6.0), small_qbn(4, 3, output="relu6", seed=1, gain=6.0))
    parameters = [*observation_qbn.parameters(), *state_qbn.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=0.5 * config.learning_rate)
    means = [p.detach().clone() for p in parameters]
    played, generator = sequences(), torch.Generator().manual_seed(0)
    losses: list[list[float]] = []
    for _ in range(calls):
        losses.append([])
        codes = torch.stack([state_qbn.encode(row) for row in played.states])
        for _ in range(config.updates):
            batch = draw(
                Practice(sequences=played, codes=codes), count=config.batch, length=config.segment, generator=generator
            )
            total, real = torch.zeros(()), 0
            for n in range(config.batch):
                state = state_qbn.decode(batch.before[n : n + 1]).detach()
                if batch.beginning[n]:
                    state = state_qbn.relaxed(POLICY.initial_state(1))
                for t in range(config.segment):
                    state = state_qbn.relaxed(POLICY.core(observation_qbn.relaxed(batch.features[t, n : n + 1]), state))
                    if batch.mask[t, n] and (t >= config.warm_up or batch.beginning[n]):
                        p, q = batch.logits[t, n].softmax(0), POLICY.heads(state)[0][0].softmax(0)
                        decision = (p * (p / q).log()).sum() if config.objective == "kl" else ((p - q) ** 2).mean()
                        away = (state[0] - batch.states[t, n]).square().mean()
                        total, real = total + decision + config.state_weight * away, real + 1
            loss = total / real
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, config.clip)
            optimiser.step()
            for mean, parameter in zip(means, parameters, strict=True):
                mean.copy_(config.averaging * mean + (1 - config.averaging) * parameter.detach())
            losses[-1].append(float(loss.detach()))
    return [float(np.mean(found)) for found in losses], means


def learn(tuning: FineTuning, played: Sequences | None = None, *, updates: int = 4, seed: int = 0) -> float:
    """Learn from the policy's own episodes alone."""
    own = tuning.own(sequences() if played is None else played)
    return tuning.learn([(own, 1.0)], updates=updates, rate=1.0, generator=torch.Generator().manual_seed(seed))


class TestFineTuning:
    @pytest.mark.parametrize("objective", ["kl", "mse"])
    def test_it_is_the_definition(self, objective: Any) -> None:
        options: Any = {"segment": 5, "batch": 7, "updates": 3, "warm_up": 2, "averaging": 0.7}
        config = QuantiseConfig(learning_rate=1e-2, objective=objective, **options)
        tuning, generator = fresh(config=config), torch.Generator().manual_seed(0)
        losses = [
            tuning.learn([(tuning.own(sequences()), 1.0)], updates=3, rate=0.5, generator=generator) for _ in range(3)
        ]
        slow_losses, slow_means = slow_learning(calls=3, config=config)
        assert np.allclose(losses, slow_losses, atol=1e-5)
        averaged = tuning.averaged()
        found = [*averaged["observation"].parameters(), *averaged["state"].parameters()]
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(found, slow_means, strict=True))

    @pytest.mark.parametrize("objective", ["kl", "mse"])
    def test_what_stands_in_the_padding_is_not_learned_from(self, objective: Any) -> None:
        config = QuantiseConfig(segment=5, batch=16, objective=objective)
        clean, dirty = fresh(config=config), fresh(config=config)
        learn(clean)
        learn(dirty, sequences(extra_steps=20, extra_episodes=3, junk=2.5))
        assert clean.state() == dirty.state()

    def test_every_source_has_its_share_of_a_batch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tuning, counts = fresh(config=QuantiseConfig(segment=5, batch=16)), list[tuple[int, int]]()
        own, other = tuning.own(sequences()), tuning.own(sequences(extra_episodes=1))

        def spy(practice: Practice, *, count: int, **options: Any) -> Segments:
            counts.append(([own, other].index(practice), count))
            return draw(practice, count=count, **options)

        monkeypatch.setattr(finetune, "draw", spy)
        for shares in ((0.25, 0.75), (0.0, 1.0)):
            generator = torch.Generator().manual_seed(0)
            tuning.learn(list(zip((own, other), shares, strict=True)), updates=1, rate=1.0, generator=generator)
        assert counts == [(0, 4), (1, 12), (1, 16)]

    def test_it_learns(self) -> None:
        tuning = fresh(config=QuantiseConfig(segment=12, batch=16, learning_rate=3e-3))
        losses = [learn(tuning, updates=10, seed=number) for number in range(12)]
        assert losses[-1] < 0.7 * losses[0]

    def test_the_policy_is_left_alone(self) -> None:
        POLICY.zero_grad(set_to_none=True)
        before = identity(POLICY)
        tuning = fresh()
        learn(tuning)
        assert identity(POLICY) == before
        assert all(parameter.grad is None for parameter in POLICY.parameters())

    def test_both_quantisers_learn(self) -> None:
        tuning = fresh()
        before = tuning.averaged()
        learn(tuning)
        after = tuning.averaged()
        for name, qbn in after.items():
            assert all(not torch.equal(t, before[name].tensors()[key]) for key, t in qbn.tensors().items()), name

    def test_nothing_to_learn_from_changes_nothing(self) -> None:
        tuning = fresh()
        before, generator = tuning.state(), torch.Generator().manual_seed(0)
        empty = Sequences(
            features=torch.zeros(0, 2, 4),
            states=torch.zeros(0, 2, 8),
            logits=torch.zeros(0, 2, 3),
            mask=torch.zeros(0, 2, dtype=torch.bool),
        )
        for sources in ([], [(tuning.own(empty), 1.0)]):
            assert tuning.learn(sources, updates=3, rate=1.0, generator=generator) == 0.0
        assert learn(tuning, updates=0) == 0.0
        assert tuning.state() == before

    def test_no_global_generator_is_touched(self) -> None:
        before = torch.get_rng_state()
        learn(fresh())
        assert torch.equal(torch.get_rng_state(), before)

    def test_the_rate_falls_along_half_a_cosine(self) -> None:
        assert cosine(0, 10) == 1.0 and abs(cosine(5, 10) - 0.525) < 1e-12
        assert abs(cosine(10, 10) - 0.05) < 1e-12 and cosine(12, 10) == cosine(10, 10)


class TestStopping:
    @given(before=st.integers(0, 2), after=st.integers(1, 2))
    @settings(max_examples=6)
    def test_a_restored_training_goes_on_bit_by_bit(self, before: int, after: int) -> None:
        whole = fresh()
        for number in range(before):
            learn(whole, seed=number)
        saved = whole.state()
        again = fresh(seed=50)
        again.restore(saved)
        assert again.state() == saved
        for number in range(before, before + after):
            assert learn(whole, seed=number) == learn(again, seed=number)
        assert whole.state() == again.state() != saved
        assert write_quantisers(whole.averaged()) == write_quantisers(again.averaged())

    def test_a_trained_one_can_go_back_to_the_beginning(self) -> None:
        tuning = fresh()
        beginning = tuning.state()
        learn(tuning)
        tuning.restore(beginning)
        assert tuning.state() == beginning, "the optimiser has forgotten as well"


class TestRunningMean:
    def test_at_first_it_is_the_weights(self) -> None:
        tuning = fresh()
        for name, qbn in tuning.averaged().items():
            original = (
                small_qbn(8, 4, gain=6.0) if name == "state" else small_qbn(4, 3, output="relu6", seed=1, gain=6.0)
            )
            assert write_quantisers({name: qbn}) == write_quantisers({name: original})

    def test_it_is_a_copy_that_cannot_be_trained(self) -> None:
        tuning = fresh()
        kept = tuning.averaged()
        before = write_quantisers(kept)
        learn(tuning)
        assert write_quantisers(kept) == before
        assert not any(parameter.requires_grad for qbn in kept.values() for parameter in qbn.parameters())
