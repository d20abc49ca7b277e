"""Estimates beside the slow definition of what they estimate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorelens import stats
from moorelens.errors import InvariantError
from moorelens.stats import Estimate, estimate, paired_difference, rule_of_three, share_of, wilson

FINITE = st.floats(-1e6, 1e6)


def slow_bootstrap(values: list[float], seed: int) -> tuple[float, float]:
    """Resample one by one, sort the means, and read off the 2.5 % and 97.5 % points."""
    rng = np.random.default_rng(seed)
    means: list[float] = sorted(
        sum(values[i] for i in rng.integers(0, len(values), len(values))) / len(values) for _ in range(10_000)
    )

    def point(share: float) -> float:
        position: float = share * (len(means) - 1)
        below = math.floor(position)
        return means[below] + (position - below) * (means[below + 1] - means[below])

    return point(0.025), point(0.975)


def test_the_interval_is_the_percentile_bootstrap() -> None:
    values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0]
    fast, slow = estimate(values, seed=3), slow_bootstrap(values, seed=3)
    assert fast.mean == pytest.approx(25 / 7)
    assert (fast.low, fast.high) == pytest.approx(slow)
    assert fast.n == 7
    assert fast.bound is None


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        found = estimate(rng.normal(2.0, 1.0, size=60))
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 2.0 <= found.high
    assert 180 <= hits <= 199


def test_one_value_has_no_interval() -> None:
    assert estimate([21.0]) == Estimate(mean=21.0, low=None, high=None, n=1)


def test_equal_values_have_a_rule_of_three_limit() -> None:
    assert estimate([500.0] * 30) == Estimate(mean=500.0, low=500.0, high=500.0, n=30, bound=0.1)
    assert rule_of_three(2) == 1.0
    assert rule_of_three(100, confidence=0.99) == pytest.approx(0.04605, abs=1e-5)


@given(st.lists(FINITE, min_size=2, max_size=20), st.integers(0, 5))
def test_the_interval_lies_within_the_values_and_is_reproducible(values: list[float], seed: int) -> None:
    found = estimate(values, seed=seed)
    assert found == estimate(values, seed=seed)
    assert found.low is not None
    assert found.high is not None
    slack = 1e-9 * max(1.0, *map(abs, values))
    assert min(values) - slack <= found.low <= found.high <= max(values) + slack


def test_a_long_sample_is_resampled_in_pieces_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "_CHUNK", 5_000)
    found = estimate(np.arange(2_000) % 2)
    assert (found.low, found.high) == pytest.approx((0.478, 0.522), abs=0.004)


@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=10))
def test_a_paired_difference_is_the_estimate_of_the_differences(pairs: list[tuple[float, float]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    assert paired_difference(first, second) == estimate([a - b for a, b in pairs])


def test_pairing_matters() -> None:
    policy = [100.0, 200.0, 300.0, 400.0]
    machine = [99.0, 199.0, 299.0, 399.0]
    assert paired_difference(policy, machine) == Estimate(mean=1.0, low=1.0, high=1.0, n=4, bound=0.75)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (1, 1, 0.2065, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilson_intervals_of_the_literature(successes: int, n: int, low: float, high: float) -> None:
    found = wilson(successes, n)
    assert found.mean == successes / n
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf"), 1.0]])
def test_what_cannot_be_estimated_is_refused(values: list[float]) -> None:
    with pytest.raises(InvariantError):
        estimate(values)


def test_unpaired_values_and_impossible_counts_are_refused() -> None:
    with pytest.raises(InvariantError, match="4 against 3"):
        paired_difference([1, 2, 3, 4], [1, 2, 3])
    for successes, n in [(1, 0), (3, 2), (-1, 2)]:
        with pytest.raises(InvariantError):
            wilson(successes, n)


def slow_share(counts: list[int], totals: list[int], seed: int) -> tuple[float, float]:
    """Draw episodes with their counts and totals together, one set at a time, and divide the sums."""
    rng = np.random.default_rng(seed)
    shares = []
    for _ in range(10_000):
        drawn = rng.integers(0, len(totals), len(totals)).tolist()
        shares.append(sum(counts[i] for i in drawn) / sum(totals[i] for i in drawn))
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(low), float(high)


def test_a_share_is_over_steps_and_its_interval_over_episodes() -> None:
    counts, totals = [9, 1, 30, 4, 0], [10, 10, 30, 5, 20]
    found = share_of(counts, totals, seed=2)
    assert found.mean == pytest.approx(44 / 75)
    assert (found.low, found.high) == pytest.approx(slow_share(counts, totals, seed=2))
    assert found.n == 5
    # Taken step by step, 75 steps would look far more certain than 5 episodes are.
    narrow = wilson(44, 75)
    assert None not in (found.low, found.high, narrow.low, narrow.high)
    assert found.high - found.low > 2 * (narrow.high - narrow.low)  # type: ignore[operator]


def test_a_share_of_one_episode_has_no_interval_and_equal_shares_have_a_limit() -> None:
    assert share_of([3], [4]) == Estimate(mean=0.75, low=None, high=None, n=1)
    assert share_of([1, 2, 3], [2, 4, 6]) == Estimate(mean=0.5, low=0.5, high=0.5, n=3, bound=1.0)


def test_empty_episodes_have_no_share() -> None:
    assert share_of([1, 0, 3], [2, 0, 4]) == share_of([1, 3], [2, 4])
    with pytest.raises(InvariantError, match="nothing was played"):
        share_of([0, 0], [0, 0])


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8), st.integers(0, 3))
def test_the_interval_of_a_share_lies_between_0_and_1(pairs: list[tuple[int, int]], seed: int) -> None:
    counts, totals = [min(pair) for pair in pairs], [max(pair) + 1 for pair in pairs]
    found = share_of(counts, totals, seed=seed)
    assert found == share_of(counts, totals, seed=seed)
    assert 0.0 <= found.mean <= 1.0
    if found.low is not None and found.high is not None:
        assert -1e-12 <= found.low <= found.high <= 1.0 + 1e-12
