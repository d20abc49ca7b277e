"""The choice of roots that share few patches, against trying every choice."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moorelens.errors import OptionError
from moorelens.saliency.sets.diversity import diverse
from moorelens.saliency.sets.records import MSE
from tests.saliency.sets.set_functions import bits


def roots(seed: int, count: int) -> list[MSE]:
    generator = torch.Generator().manual_seed(seed)
    found: dict[int, MSE] = {}
    while len(found) < count:
        size = int(torch.randint(1, 5, (1,), generator=generator))
        chosen = bits(*torch.randperm(9, generator=generator)[:size].tolist())
        value = round(float(torch.rand(1, generator=generator)), 3)
        found[chosen] = MSE(bits=chosen, value=value, relative=value, minimal="subset")
    return list(found.values())


def best_by_trying(pool: list[MSE], overlap: int, count: int | None) -> tuple[int, float]:
    best: tuple[int, float] = (0, 0.0)
    for size in range(1, (count or len(pool)) + 1):
        for some in combinations(pool, size):
            if all((a.bits & b.bits).bit_count() <= overlap for a, b in combinations(some, 2)):
                best = max(best, (size, sum((mse.value for mse in some), 0.0)))
    return best


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), overlap=st.integers(0, 2), count=st.sampled_from([None, 1, 2, 3]))
def test_the_choice_is_the_best_of_all(seed: int, overlap: int, count: int | None) -> None:
    pool = roots(seed, 10)
    found = diverse(pool, overlap=overlap, count=count)
    size, total = best_by_trying(pool, overlap, count)
    assert len(found.chosen) == size
    assert sum(mse.value for mse in found.chosen) == pytest.approx(total)
    assert found.exact and found.pool == 10
    for i, first in enumerate(found.chosen):
        assert found.overlaps[i][i] == first.size
        for j, second in enumerate(found.chosen):
            assert i == j or found.overlaps[i][j] == (first.bits & second.bits).bit_count() <= overlap


def test_confidence_decides_between_choices_of_equal_number() -> None:
    """The first set by index would be taken by a search that only counts."""
    pool = [
        MSE(bits=chosen, value=value, relative=value, minimal="subset")
        for chosen, value in [(bits(0, 1), 0.90), (bits(0, 2), 0.99), (bits(3, 4), 0.95)]
    ]
    assert [mse.value for mse in diverse(pool, overlap=0).chosen] == [0.99, 0.95]


def test_many_roots_are_chosen_greedily_and_it_is_said() -> None:
    pool = roots(1, 70)
    found = diverse(pool, overlap=1, count=3)
    assert not found.exact and found.pool == 70 and len(found.chosen) == 3


def test_64_roots_take_no_time() -> None:
    found = diverse(roots(5, 64), overlap=1)
    assert found.exact


def test_no_roots_give_no_choice_and_wrong_settings_an_error() -> None:
    assert diverse([]).chosen == ()
    with pytest.raises(OptionError, match="overlap"):
        diverse([], overlap=-1)
    with pytest.raises(OptionError, match="count"):
        diverse([], count=0)
