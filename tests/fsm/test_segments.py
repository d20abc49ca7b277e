"""Segments of episodes: where they begin, what memory stands before them, and where they end."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moorelens.fsm.segments import Practice, draw, side_by_side
from moorelens.fsm.sequences import Sequences

LENGTHS = (3, 1, 5)


def practice(lengths: tuple[int, ...] = LENGTHS) -> Practice:
    """Every number says where it stands: 10 times the episode plus the step, 1 added to that in codes."""
    steps = torch.arange(max(lengths, default=0))[:, None]
    names = 10 * torch.arange(len(lengths))[None] + steps
    played = Sequences(
        features=names[..., None].float(),
        states=names[..., None].float() + 0.25,
        logits=names[..., None].float() + 0.5,
        mask=steps < torch.tensor(lengths)[None],
    )
    return Practice(sequences=played, codes=(names[..., None] + 1).to(torch.int8))


@given(st.integers(1, 12), st.integers(1, 8), st.integers(0, 1000))
def test_a_segment_goes_on_from_any_step_to_the_end_of_its_episode(count: int, length: int, seed: int) -> None:
    found = draw(practice(), count=count, length=length, generator=torch.Generator().manual_seed(seed))
    assert found.mask.shape == (length, count) and bool(found.mask[0].all()), "each has at least its first step"
    for n in range(count):
        episode, first = divmod(int(found.features[0, n]), 10)
        real = min(length, LENGTHS[episode] - first)
        assert found.mask[:, n].tolist() == [True] * real + [False] * (length - real)
        assert found.features[:real, n, 0].tolist() == [10 * episode + first + t for t in range(real)]
        assert torch.equal(found.states[:real, n], found.features[:real, n] + 0.25)
        assert torch.equal(found.logits[:real, n], found.features[:real, n] + 0.5)
        assert bool(found.beginning[n]) == (first == 0)
        if first:
            assert int(found.before[n]) == 10 * episode + first, "the digits after the step before"


def test_all_steps_are_drawn_alike() -> None:
    found = draw(practice(), count=9000, length=1, generator=torch.Generator().manual_seed(0))
    times = Counter(found.features[0, :, 0].int().tolist())
    assert sorted(times) == [0, 1, 2, 10, 20, 21, 22, 23, 24] and max(abs(n - 1000) for n in times.values()) < 150


def test_the_same_generator_draws_the_same() -> None:
    one, other = (draw(practice(), count=8, length=4, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one.features, other.features) and torch.equal(one.before, other.before)


def test_side_by_side_they_are_one_batch() -> None:
    parts = [
        draw(practice(), count=count, length=4, generator=torch.Generator().manual_seed(count)) for count in (2, 3)
    ]
    whole = side_by_side(parts)
    assert whole.features.shape == (4, 5, 1) and whole.before.shape == (5, 1) and whole.beginning.shape == (5,)
    for name in ("features", "states", "logits", "mask"):
        assert torch.equal(getattr(whole, name)[:, 2:], getattr(parts[1], name))
    assert torch.equal(whole.before[:2], parts[0].before)


def test_episodes_without_a_step_are_refused() -> None:
    with pytest.raises(ValueError, match="one step or more"):
        draw(practice((0, 0)), count=1, length=2, generator=torch.Generator())
