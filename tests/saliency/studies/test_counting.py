"""Sub-explanations are counted as they are defined: what brute force over all subsets finds, once, and no more."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moorelens.errors import OptionError
from moorelens.saliency.sets.exact import exact_mse
from moorelens.saliency.sets.functions import SetFunction
from moorelens.saliency.sets.search import find_mse, known_sets
from moorelens.saliency.studies.counting import Counts, count_subexplanations

PATCHES = 9  # a grid of 3 x 3


def function(value: Callable[[int], float], *, count: int = PATCHES) -> SetFunction:
    return SetFunction(lambda sets: torch.tensor([value(one) for one in sets], dtype=torch.float64), count=count)


def random_function(seed: int, *, monotone: bool) -> SetFunction:
    """Values of all 512 sets at once: anything at all, or never falling when a patch is added."""
    table = np.random.default_rng(seed).random(1 << PATCHES)
    if monotone:
        for patch, one in itertools.product(range(PATCHES), range(1 << PATCHES)):
            if one >> patch & 1:
                table[one] = max(table[one], table[one ^ 1 << patch])
    table[-1] = 0.8
    return function(lambda one: float(table[one]))


def reached(v: SetFunction, mses: Sequence[int], p_low: float) -> set[int]:
    """The definition, slowly: S counts where some order of taking patches away from an MSE keeps every set above."""
    floor = p_low * v.full
    found: set[int] = set()
    for mse in mses:
        patches = [p for p in range(PATCHES) if mse >> p & 1]
        for order in itertools.permutations(patches):
            left = mse
            for patch in order:
                left ^= 1 << patch
                if float(v([left])[0]) < floor:
                    break
                found.add(left)
    return found - set(mses)


def counted(v: SetFunction, mses: Sequence[int], **settings: object) -> Counts:
    return count_subexplanations(v, known_sets(v, mses).found, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("monotone", [True, False])
@pytest.mark.parametrize("seed", range(12))
def test_counts_equal_brute_force_on_a_grid_of_3_x_3(seed: int, monotone: bool) -> None:
    v = random_function(seed, monotone=monotone)
    mses = sorted(m for m in exact_mse(v) if m.bit_count() <= 6)
    expected = reached(v, mses, 0.5)
    found = counted(v, mses)
    assert found.count == len(expected)
    assert sum(found.histogram) == found.count
    shares = [float(v([one])[0]) for one in expected]
    edges = [*found.bins, float("inf")]
    slow = [sum(a * v.full <= s < b * v.full for s in shares) for a, b in itertools.pairwise(edges)]
    assert list(found.histogram) == slow
    assert not found.exhausted


@given(st.sets(st.integers(1, (1 << PATCHES) - 1), max_size=7), st.integers(0, 2))
def test_disjoint_sets_are_the_largest_such_family(mses: set[int], overlap: int) -> None:
    v = function(lambda one: one.bit_count() / PATCHES)
    found = counted(v, sorted(mses), overlap=overlap, p_low=1.0, bins=[1.0])

    def largest(shared: int) -> int:
        families = (f for n in range(len(mses) + 1) for f in itertools.combinations(sorted(mses), n))
        fits = (len(f) for f in families if all((a & b).bit_count() <= shared for a, b in itertools.combinations(f, 2)))
        return max(fits)

    assert (found.disjoint, found.apart) == (largest(0), largest(overlap))
    assert found.mses == len(mses)
    assert found.sizes == tuple(sorted(one.bit_count() for one in mses))
    assert found.union == len({p for one in mses for p in range(PATCHES) if one >> p & 1})


def test_a_set_that_two_explanations_share_counts_once() -> None:
    # {0, 1, 2} and {1, 2, 3} both lead to {1, 2}; all sets of two patches keep 0.6 of the score, single ones nothing.
    v = function(lambda one: {2: 0.6}.get(one.bit_count(), 1.0 if one.bit_count() > 2 else 0.0))
    assert counted(v, [0b0111]).count == 3
    assert counted(v, [0b1110]).count == 3
    assert counted(v, [0b0111, 0b1110]).count == 5
    assert counted(v, [0b0111, 0b1110]).histogram == (0, 5, 0, 0, 0)


def test_what_lies_behind_a_set_that_falls_too_low_is_not_reached() -> None:
    # Every pair falls to 0.1, single patches would be back at 0.8: there is no way to them.
    v = function(lambda one: {3: 1.0, 2: 0.1, 1: 0.8}.get(one.bit_count(), 1.0 if one else 0.0))
    found = counted(v, [0b111])
    assert found.count == 0
    assert found.drop == pytest.approx(0.9)


def test_another_explanation_met_on_the_way_is_not_counted() -> None:
    v = function(lambda one: {3: 0.95, 2: 0.6, 1: 0.92}.get(one.bit_count(), 1.0 if one else 0.0))
    assert counted(v, [0b111]).count == 6
    assert counted(v, [0b111, 0b001]).count == 5


def test_and_needs_many_parts_and_or_offers_several() -> None:
    """Spec test 21 on functions whose truth is known: AND of 4 patches (each gives a share), OR of 3 patches."""
    shares = {0: 0.0, 1: 0.3, 2: 0.55, 3: 0.75, 4: 1.0}
    conjunction = function(lambda one: shares[(one & 0b1111).bit_count()])
    disjunction = function(lambda one: 1.0 if one & 0b111 else 0.0)
    both = [count_subexplanations(v, find_mse(v).found) for v in (conjunction, disjunction)]
    assert both[0].sizes == (4,)
    assert both[1].sizes == (1, 1, 1)
    assert both[0].count == 4 + 6 > both[1].count == 0
    assert both[0].disjoint == 1 < both[1].disjoint == 3


def test_drop_is_the_mean_fall_by_one_patch_from_every_set_reached() -> None:
    v = function(lambda one: one.bit_count() / 2 if one.bit_count() <= 2 else 1.0)
    assert counted(v, [0b11]).drop == pytest.approx(0.5)  # 1 -> 1/2 twice, 1/2 -> 0 twice
    assert counted(v, [0b11]).count == 2


def test_no_explanation_is_a_count_of_nothing() -> None:
    found = counted(function(lambda one: 0.5), [])
    assert (found.mses, found.count, found.union, found.disjoint) == (0, 0, 0, 0)
    assert found.drop is None
    assert found.mean_size is None


@pytest.mark.parametrize("budget", [0, 1, 5, 40])
def test_a_budget_is_kept_and_makes_the_count_a_lower_bound(budget: int) -> None:
    v = function(lambda one: 0.5 + one.bit_count() / 18)
    whole = counted(function(lambda one: 0.5 + one.bit_count() / 18), [0b111111])
    mses = known_sets(v, [0b111111])
    assert v.full == 1.0
    before = v.n_evals
    found = count_subexplanations(v, mses.found, budget=budget)
    assert found.n_evaluated == v.n_evals - before <= budget
    assert found.exhausted
    assert found.count <= min(budget, whole.count)
    assert not whole.exhausted


def test_what_the_search_has_evaluated_costs_no_budget() -> None:
    v = function(lambda one: 0.5 + one.bit_count() / 18)
    v(list(range(1 << PATCHES)))
    found = count_subexplanations(v, known_sets(v, [0b111111]).found, budget=0)
    assert (found.n_evaluated, found.exhausted) == (0, False)
    assert found.count == 63


def test_settings_that_say_nothing_are_refused() -> None:
    v = function(lambda one: 1.0)
    with pytest.raises(OptionError, match="first edge"):
        counted(v, [1], p_low=0.4)
    with pytest.raises(OptionError, match="positive"):
        counted(function(lambda one: 0.0), [1])
