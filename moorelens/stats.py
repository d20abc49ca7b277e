"""Means with their uncertainty: bootstrap intervals, paired differences and proportions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from moorelens.errors import InvariantError

RESAMPLES = 10_000
_CHUNK = 1_000_000  # numbers drawn at once: 8 MB


class Estimate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mean of `n` values and the interval that holds the true mean with the stated confidence.

    `low` and `high` are None where one value says nothing about its spread. Where all values are equal the interval
    has no width, and `bound` is the rule-of-three limit: the share of future values that may differ (at 95 %: 3 /
    n).
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    bound: float | None = None


def estimate(values: ArrayLike, *, seed: int = 0, confidence: float = 0.95) -> Estimate:
    """Estimate the mean of `values` (n,) with a percentile bootstrap interval of 10 000 resamples (efron1979bootstrap).

    The same values, seed and confidence give the same numbers. Raises: InvariantError where there is no value, or
    one that is not finite.
    """
    sample = _sample(values)
    n = len(sample)
    if n == 1:
        return Estimate(mean=float(sample[0]), low=None, high=None, n=1)
    if np.all(sample == sample[0]):
        value = float(sample[0])
        return Estimate(mean=value, low=value, high=value, n=n, bound=rule_of_three(n, confidence=confidence))
    means = _resampled_means(sample, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(mean=float(sample.mean()), low=float(low), high=float(high), n=n)


def paired_difference(reference: ArrayLike, other: ArrayLike, *, seed: int = 0, confidence: float = 0.95) -> Estimate:
    """Estimate the mean of `reference - other` (n,), position by position: both played the same seeds in one order.

    Raises: InvariantError where the two differ in length, are empty, or hold a value that is not finite.
    """
    first, second = _sample(reference), _sample(other)
    if len(first) != len(second):
        raise InvariantError(
            f"Paired values belong to the same seeds, and there are {len(first)} against {len(second)}: play both on "
            "all."
        )
    return estimate(first - second, seed=seed, confidence=confidence)


def share_of(counts: ArrayLike, totals: ArrayLike, *, seed: int = 0, confidence: float = 0.95) -> Estimate:
    """Estimate a share from `counts (n,)` of `totals (n,)` per episode; episodes, not steps, are resampled.

    Steps of one episode resemble each other, so an interval over steps would be too narrow. Empty episodes are left
    out. Raises: InvariantError where nothing was counted.
    """
    part, whole = _sample(counts), _sample(totals)
    part, whole = part[whole > 0], whole[whole > 0]
    n = len(whole)
    if n == 0:
        raise InvariantError("A share needs something to be a share of, and every total is 0: nothing was played.")
    mean = float(part.sum() / whole.sum())
    if n == 1:
        return Estimate(mean=mean, low=None, high=None, n=1)
    shares = part / whole
    if np.all(shares == shares[0]):
        return Estimate(mean=mean, low=mean, high=mean, n=n, bound=rule_of_three(n, confidence=confidence))
    rng = np.random.default_rng(seed)
    ratios = np.empty(RESAMPLES)
    rows = max(1, _CHUNK // n)
    for begin in range(0, RESAMPLES, rows):
        chosen = rng.integers(0, n, size=(min(rows, RESAMPLES - begin), n))
        ratios[begin : begin + len(chosen)] = part[chosen].sum(axis=1) / whole[chosen].sum(axis=1)
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(mean=mean, low=float(low), high=float(high), n=n)


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> Estimate:
    """Estimate a proportion with Wilson's score interval (wilson1927probable), which holds at 0 and n successes too.

    Raises: InvariantError unless 0 <= successes <= n and n > 0.
    """
    if not 0 <= successes <= n or n == 0:
        raise InvariantError(f"A proportion needs 0 <= successes <= n and n > 0, not {successes} of {n}.")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, z2 = successes / n, z * z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # At the ends the formula gives 0 and 1 but for rounding.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Estimate(mean=share, low=low, high=high, n=n)


def rule_of_three(n: int, *, confidence: float = 0.95) -> float:
    """Return the share of differing values that `n` equal ones cannot exclude: 3 / n at 95 % (hanley1983nothing)."""
    three = 3.0 if confidence == 0.95 else -math.log(1 - confidence)
    return min(1.0, three / n)


def _sample(values: ArrayLike | Sequence[float]) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=np.float64).reshape(-1)
    if sample.size == 0:
        raise InvariantError("An estimate needs at least one value, and there is none: nothing was played or measured.")
    if not np.isfinite(sample).all():
        raise InvariantError(
            "An estimate needs finite values, and some are NaN or infinite: look at what measured them."
        )
    return sample


def _resampled_means(sample: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    n = len(sample)
    means = np.empty(RESAMPLES)
    rows = max(1, _CHUNK // n)
    for begin in range(0, RESAMPLES, rows):
        count = min(rows, RESAMPLES - begin)
        means[begin : begin + count] = sample[rng.integers(0, n, size=(count, n))].mean(axis=1)
    return means
