"""Observations of two branches of a decision point, in pairs: what was seen where the run went either way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.errors import OptionError
from moorelens.saliency.differential.config import Pairing

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class BranchPairs:
    """Steps of the traces in pairs: `first (P,)` led from `state` to `targets[0]`, `second (P,)` to `targets[1]`.

    `seen`: how many steps there were on each branch before any were drawn.
    """

    state: int
    targets: tuple[int, int]
    first: Rows
    second: Rows
    seen: tuple[int, int]

    def both_ways(self) -> tuple[Rows, Rows, npt.NDArray[np.bool_]]:
        """Return each pair in both directions: rows explained (2P,), rows they are compared with, first branch?"""
        flags = np.repeat([True, False], len(self.first))
        return np.concatenate([self.first, self.second]), np.concatenate([self.second, self.first]), flags


def pairs_of(
    before: Array,
    states: Array,
    observations: Array,
    codes: Array,
    *,
    state: int,
    targets: tuple[int, int],
    count: int,
    pairing: Pairing = "random",
    seed: int = 0,
) -> BranchPairs:
    """Return at most `count` pairs of steps that went from `state` to one target and to the other.

    `before (T,)`, `states (T,)`: the state before and after each step; `observations (T, *obs)`; `codes (T, L)` of the
    symbols. `count` steps of either branch are drawn (each distinct observation once while there are enough), then
    `nearest` gives each of the first the closest of the second (fewest differing digits, then squared distance), and
    `random` any. Raises OptionError where a branch was never taken from `state`.
    """
    generator = np.random.default_rng([seed, state, *targets])
    on = [_rows(before, states, state, target) for target in targets]
    drawn = [_draw(rows, observations, count, generator) for rows in on]
    if pairing == "nearest":
        chosen = _nearest(drawn[0], drawn[1], observations, codes)
    else:
        size = max(len(drawn[0]), len(drawn[1]))
        drawn[0], chosen = (np.resize(generator.permutation(rows), size) for rows in drawn)
    return BranchPairs(state=state, targets=targets, first=drawn[0], second=chosen, seen=(len(on[0]), len(on[1])))


def _rows(before: Array, states: Array, state: int, target: int) -> Rows:
    rows = np.flatnonzero((before == state) & (states == target))
    if not len(rows):
        ways = sorted({int(found) for found in states[before == state]})
        raise OptionError(
            f"Branches of S{state} lead to {', '.join(f'S{way}' for way in ways) or 'nowhere'}, as far as was seen, "
            f"and S{target} is none of them: choose two of these."
        )
    return rows


def _draw(rows: Rows, observations: Array, count: int, generator: np.random.Generator) -> Rows:
    """Return at most `count` of `rows`, those with an observation not yet drawn first."""
    shuffled = generator.permutation(rows)
    if len(shuffled) <= count:
        return np.sort(shuffled)
    flat = np.ascontiguousarray(observations[shuffled]).reshape(len(shuffled), -1)
    _, firsts = np.unique(flat, axis=0, return_index=True)
    distinct = np.sort(firsts)
    rest = np.setdiff1d(np.arange(len(shuffled)), distinct)
    return np.sort(shuffled[np.concatenate([distinct, rest])[:count]])


def _nearest(first: Rows, second: Rows, observations: Array, codes: Array) -> Rows:
    hamming = (codes[first][:, None] != codes[second][None]).sum(axis=2)
    a, b = (observations[rows].reshape(len(rows), -1).astype(np.float64) for rows in (first, second))
    distance = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)[None] - 2 * a @ b.T
    order = np.lexsort((distance, hamming), axis=1)[:, 0]
    return second[order]
