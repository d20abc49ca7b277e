"""Functions of sets whose minimal sufficient sets are known, and the slow definition of "minimal"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor

from moorelens.saliency.sets.functions import SetFunction


def table(values: Tensor) -> SetFunction:
    """v(T) = values[T]."""
    return SetFunction(lambda sets: values[torch.tensor(list(sets))], count=(len(values) - 1).bit_length())


def of(function: Callable[[frozenset[int]], float], *, count: int) -> SetFunction:
    """v(T) = function(the patches in T)."""

    def evaluate(sets: Sequence[int]) -> Tensor:
        chosen = [frozenset(patch for patch in range(count) if bits >> patch & 1) for bits in sets]
        return torch.tensor([function(patches) for patches in chosen], dtype=torch.float64)

    return SetFunction(evaluate, count=count)


def alternatives(*reasons: frozenset[int] | set[int], count: int) -> SetFunction:
    """1 where some reason is shown as a whole, else the best share of one, halved."""

    def value(patches: frozenset[int]) -> float:
        shares = [len(patches & reason) / len(reason) for reason in reasons]
        return 1.0 if max(shares) == 1 else max(shares) / 2

    return of(value, count=count)


def additive(weights: Sequence[float]) -> SetFunction:
    """v(T) = the sum of the weights in T."""
    return of(lambda patches: sum(weights[patch] for patch in patches), count=len(weights))


def bits(*patches: int) -> int:
    return sum(1 << patch for patch in patches)


def minimal_by_definition(v: SetFunction, p_high: float, *, single: bool = False) -> set[int]:
    """Sufficient sets of which no proper subset (`single`: no removal of one patch) is sufficient, by looking."""
    found = set()
    for chosen in range(1 << v.count):
        if float(v([chosen])[0]) < p_high * v.full:
            continue
        patches = [patch for patch in range(v.count) if chosen >> patch & 1]
        sizes = [len(patches) - 1] if single else range(len(patches))
        smaller = [bits(*some) for size in sizes if size >= 0 for some in combinations(patches, size)]
        if not smaller or not bool((v(smaller) >= p_high * v.full).any()):
            found.add(chosen)
    return found
