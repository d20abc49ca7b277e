"""A policy at the wheel: evaluated in chunks that change no bit, each image once, and never silently out of range."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.playing import play
from moorelens.errors import PolicyFailure
from moorelens.policies.base import to_input
from moorelens.policies.batching import ChunkedFunction, _plan, evaluate_in_chunks
from moorelens.policies.config import Architecture
from moorelens.policies.networks import GRUPolicy, LSTMPolicy, build_network, initialise
from moorelens.policies.players import PolicyPlayer
from moorelens.policies.reading import FeatureReader, features_of

CARTPOLE = EnvironmentRequest(id="CartPole-v1")


def fresh(*, shape: tuple[int, ...] = (4,)) -> GRUPolicy | LSTMPolicy:
    image = len(shape) > 1
    policy = build_network(
        env_id="CartPole-v1",
        observation_shape=shape,
        observation_dtype="uint8" if image else "float32",
        action_names=("push left", "push right"),
        architecture=Architecture(body="conv" if image else "mlp", sizes=(32, 32, 16, 8) if image else (16, 8)),
    )
    initialise(policy, generator=torch.Generator().manual_seed(0), actor_gain=1.0)
    return policy


@pytest.mark.parametrize("shape", [(4,), (1, 80, 80)])
def test_chunks_of_other_sizes_are_used_only_where_no_bit_changes(shape: tuple[int, ...]) -> None:
    features = fresh(shape=shape).features
    rows = torch.rand(21, *shape, generator=torch.Generator().manual_seed(0))
    several = ChunkedFunction(features, chunk=2, sizes=(3, 4, 8), call_cost=2)
    for count in (1, 2, 3, 5, 7, 16, 21):
        assert torch.equal(several(rows[:count])[0], evaluate_in_chunks(features, rows[:count], chunk=2)[0])


def test_a_size_that_changes_a_bit_is_never_used() -> None:
    seen: list[int] = []

    def depends_on_the_batch(rows: Tensor) -> Tensor:
        seen.append(len(rows))
        return rows + (1e-6 if len(rows) == 4 else 0.0)

    several = ChunkedFunction(depends_on_the_batch, chunk=2, sizes=(4, 8), call_cost=2)
    rows = torch.arange(13.0)[:, None]
    assert several(rows[:2])[0].tolist() == rows[:2].tolist()
    assert seen == [2]  # nothing is tried before it is needed
    several(rows)
    seen.clear()
    assert several(rows)[0].tolist() == rows.tolist()
    assert sum(seen) >= 13 and 8 in seen and 4 not in seen


def test_what_is_rounded_is_judged_before_it_is_rounded() -> None:
    def before(rows: Tensor) -> Tensor:
        return rows + (1e-6 if len(rows) == 4 else 0.0)

    seen: list[int] = []

    def rounded(rows: Tensor) -> Tensor:
        seen.append(len(rows))
        return before(rows).round()

    rows = torch.arange(4.0)[:, None]
    for judged, sizes in ((None, [4]), (before, [2, 2])):
        several = ChunkedFunction(rounded, chunk=2, sizes=(4,), call_cost=2, unrounded=judged)
        several(rows)
        seen.clear()
        several(rows)
        assert seen == sizes
    codes = torch.zeros(5, 3, dtype=torch.int8)
    several = ChunkedFunction(lambda codes: codes.float() * 2, chunk=2, sizes=(4,), call_cost=2)
    assert several(codes)[0].shape == (5, 3)


def test_calls_are_planned_at_the_least_cost() -> None:
    def cost(calls: tuple[int, ...]) -> int:
        return sum(calls) + 2 * len(calls)

    for rows in range(1, 14):
        plans = [
            calls
            for length in range(1, 8)
            for calls in itertools.combinations_with_replacement((2, 4, 8), length)
            if sum(calls) >= rows
        ]
        found = _plan(rows, (2, 4, 8), 2)
        assert sum(found) >= rows and cost(found) == min(map(cost, plans))
    for rows in (40, 5000):
        assert rows <= sum(_plan(rows, (2, 4, 8), 2)) < rows + 2


def test_images_are_looked_up_and_vectors_are_not() -> None:
    policy = fresh(shape=(1, 80, 80))
    images = np.random.default_rng(0).integers(0, 256, (7, 1, 80, 80), dtype=np.uint8)
    reader = FeatureReader(policy)
    assert reader.numbers(images[[3, 3, 0]]).tolist() == [0, 0, 1]
    assert reader.numbers(images).tolist() == [1, 2, 3, 0, 4, 5, 6]
    assert torch.equal(reader.features(images), features_of(policy, images))
    assert torch.equal(reader.features(images[2:3]), features_of(policy, images[2:3]))
    assert reader.features(images[:0]).shape == features_of(policy, images[:0]).shape == (0, 200)
    many = np.random.default_rng(1).integers(0, 256, (300, 1, 8, 8), dtype=np.uint8)
    small = fresh(shape=(1, 8, 8))
    grown = FeatureReader(small)
    parts = [grown.features(many[start : start + 60]) for start in range(0, 300, 60)]
    assert torch.equal(torch.cat(parts), features_of(small, many))
    with torch.no_grad():
        assert torch.allclose(torch.cat(parts), small.features(to_input(many)), atol=1e-5)


def test_a_reader_can_be_shared_and_changes_nothing() -> None:
    policy = fresh()
    reader = FeatureReader(policy)
    alone = play(CARTPOLE, [0, 1], PolicyPlayer(policy, record=("hidden",)))
    shared = play(CARTPOLE, [0, 1], PolicyPlayer(policy, record=("hidden",), features=reader))
    assert shared.to_bytes() == alone.to_bytes()


@pytest.mark.parametrize("greedy", [True, False])
def test_a_policy_that_answers_nan_in_mid_game_ends_the_game(greedy: bool) -> None:
    policy = fresh()
    heads, steps = policy.heads, []

    def diverging(state: Tensor) -> tuple[Tensor, Tensor | None]:
        steps.append(len(state))
        logits, value = heads(state)
        return (logits if len(steps) < 12 else torch.full_like(logits, float("nan"))), value

    policy.heads = diverging  # type: ignore[method-assign]
    with pytest.raises(PolicyFailure, match="CartPole-v1 gave NaN or infinity in episode 0") as caught:
        play(CARTPOLE, [0, 1], PolicyPlayer(policy, greedy=greedy))
    assert caught.value.exit_code == 1
