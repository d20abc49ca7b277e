"""What numbers of one image each say about models: means and medians with intervals, and paired tests."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from moorelens.errors import InvariantError
from moorelens.stats import RESAMPLES, Estimate, estimate, paired_difference

Floats = npt.NDArray[np.float64]
_EXACT = 13  # up to so many differences all sign patterns are tried (8192)
_DRAWS = 10_000
_ROWS = 1_000  # sign patterns or resamples made at once


class Spread(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mean and median of `n` values with their 95 % bootstrap intervals (None where one value says nothing)."""

    mean: Estimate
    median: float
    median_low: float | None
    median_high: float | None
    n: int


class PairedTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`first` minus `second` on the same images: the mean difference with its interval, the median, and p-values.

    `p`: of a two-sided sign-flip test of the mean (exact up to 13 images, else 10 000 random patterns); `p_holm`: the
    same, corrected for all pairs compared together (holm1979simple).
    """

    first: str
    second: str
    difference: Estimate
    median: float
    p: float
    p_holm: float


def spread(values: npt.ArrayLike, *, seed: int = 0) -> Spread:
    """Return mean and median of `values (n,)` with 95 % percentile bootstrap intervals (efron1979bootstrap)."""
    sample = np.asarray(values, dtype=np.float64).reshape(-1)
    mean = estimate(sample, seed=seed)
    low, high = _median_interval(sample, seed=seed)
    return Spread(mean=mean, median=float(np.median(sample)), median_low=low, median_high=high, n=len(sample))


def paired_tests(values: Mapping[str, npt.ArrayLike], *, seed: int = 0) -> tuple[PairedTest, ...]:
    """Compare every pair of models on the same images, `values[name] (n,)`, in the order of the names.

    Raises: InvariantError where the models were not measured on equally many images.
    """
    samples = _samples(values)
    pairs = list(itertools.combinations(samples, 2))
    differences = [samples[first] - samples[second] for first, second in pairs]
    raw = [sign_flip_p(difference, seed=seed) for difference in differences]
    return tuple(
        PairedTest(
            first=first,
            second=second,
            difference=paired_difference(samples[first], samples[second], seed=seed),
            median=float(np.median(difference)),
            p=p,
            p_holm=corrected,
        )
        for (first, second), difference, p, corrected in zip(pairs, differences, raw, holm(raw), strict=True)
    )


def sign_flip_p(differences: npt.ArrayLike, *, seed: int = 0) -> float:
    """Return how often random signs give `differences (n,)` a mean at least as far from 0, the observed signs included.

    Under the hypothesis that the two models are exchangeable image by image every sign pattern is equally likely.
    """
    values = np.asarray(differences, dtype=np.float64).reshape(-1)
    values = values[values != 0]
    if len(values) == 0:
        return 1.0
    observed = abs(float(values.sum()))
    # What is equal but for the order of adding up counts as equal.
    least = observed - 1e-9 * float(np.abs(values).sum())
    if len(values) <= _EXACT:
        patterns = np.arange(1 << len(values))[:, None] >> np.arange(len(values)) & 1
        signs: Floats = 1.0 - 2.0 * patterns.astype(np.float64)
        return float(np.mean(np.abs(signs @ values) >= least))
    rng = np.random.default_rng(seed)
    reached = 1  # the observed signs are one of the patterns
    for begin in range(0, _DRAWS, _ROWS):
        rows = min(_ROWS, _DRAWS - begin)
        signs = 1.0 - 2.0 * rng.integers(0, 2, size=(rows, len(values))).astype(np.float64)
        reached += int(np.sum(np.abs(signs @ values) >= least))
    return reached / (_DRAWS + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for being several (holm1979simple), in their own order."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    found, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        found[place] = largest
    return found


def _samples(values: Mapping[str, npt.ArrayLike]) -> dict[str, Floats]:
    found = {name: np.asarray(given, dtype=np.float64).reshape(-1) for name, given in values.items()}
    if len({len(sample) for sample in found.values()}) > 1:
        counts = ", ".join(f"{name} on {len(sample)}" for name, sample in found.items())
        raise InvariantError(f"Paired values belong to the same images, and there are {counts}: measure all on all.")
    return found


def _median_interval(sample: Floats, *, seed: int) -> tuple[float | None, float | None]:
    n = len(sample)
    if n == 1:
        return None, None
    rng = np.random.default_rng(seed)
    medians = np.empty(RESAMPLES)
    for begin in range(0, RESAMPLES, _ROWS):
        rows = min(_ROWS, RESAMPLES - begin)
        medians[begin : begin + rows] = np.median(sample[rng.integers(0, n, size=(rows, n))], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)
