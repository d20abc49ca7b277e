"""A function of sets of patches that remembers what it has evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from moorelens.errors import OptionError

Evaluate = Callable[[Sequence[int]], Tensor]


class Memory(NamedTuple):
    """What was evaluated, by set: the values, and those of the second test."""

    values: dict[int, float]
    kept: dict[int, float]


class SetFunction:
    """v(T) for sets T of `count` patches, each set evaluated once; a set is an int whose bit p says p is in it.

    `evaluate(sets) -> (n,)`: the values of distinct sets. `keep(sets) -> (n,)`: a second function, above 0 where a set
    may count as sufficient (the class is still the answer); it is asked only of sets whose value suffices. `watch`:
    called with the number of sets after each evaluation, for who shows progress.
    """

    def __init__(self, evaluate: Evaluate, *, count: int, keep: Evaluate | None = None) -> None:
        """Raises `OptionError` for a function of no patches."""
        if count < 1:
            raise OptionError(f"A function of sets has at least one patch and {count} were given: pass the patches.")
        self.count = count
        self.watch: Callable[[int], None] | None = None
        self._evaluate = evaluate
        self._keep = keep
        self._known: dict[int, float] = {}
        self._kept: dict[int, float] = {}
        self._recalled = Memory({}, {})

    def __call__(self, sets: Sequence[int]) -> Tensor:
        """Return the values (n,) float64 of `sets`, in that order; raises `OptionError` for what is not a set."""
        before = len(self._known)
        _learn(sets, self._known, self._evaluate, self.count, self._recalled.values)
        if self.watch is not None and len(self._known) > before:
            self.watch(len(self._known) - before)
        return torch.tensor([self._known[bits] for bits in sets], dtype=torch.float64)

    def kept(self, sets: Sequence[int]) -> Tensor:
        """Return (n,) bool: whether each set passes the second test; all do where there is none."""
        if self._keep is None:
            return torch.ones(len(sets), dtype=torch.bool)
        _learn(sets, self._kept, self._keep, self.count, self._recalled.kept)
        return torch.tensor([self._kept[bits] > 0 for bits in sets], dtype=torch.bool)

    def memory(self) -> Memory:
        """Return all that was evaluated so far, for `recall` in a later process."""
        return Memory(self._recalled.values | self._known, self._recalled.kept | self._kept)

    def recall(self, memory: Memory) -> None:
        """Take what the same function evaluated in an earlier process as evaluated again, once it is asked for.

        Rows of another batch have other last bits, so a call is answered from memory as a whole, or not at all.
        """
        self._recalled = memory

    @property
    def everything(self) -> int:
        """The set of all patches."""
        return (1 << self.count) - 1

    @property
    def full(self) -> float:
        """The value of all patches."""
        return float(self([self.everything])[0])

    @property
    def empty(self) -> float:
        """The value of no patch."""
        return float(self([0])[0])

    @property
    def n_evals(self) -> int:
        """The number of distinct sets that were evaluated."""
        return len(self._known)

    @property
    def known(self) -> Mapping[int, float]:
        """Every set that was evaluated, with its value."""
        return MappingProxyType(self._known)


def sufficient(v: SetFunction, sets: Sequence[int], p_high: float = 0.9) -> Tensor:
    """Return (n,) bool: v(T) >= `p_high` v(all), and T passes the second test (shitole2021structured: 0.9)."""
    enough = v(sets) >= p_high * v.full
    candidates = [bits for bits, passes in zip(sets, enough.tolist(), strict=True) if passes]
    enough[enough.clone()] = v.kept(candidates)
    return enough


def _learn(
    sets: Sequence[int], known: dict[int, float], evaluate: Evaluate, count: int, recalled: Mapping[int, float]
) -> None:
    new = [bits for bits in dict.fromkeys(sets) if bits not in known]
    for bits in new:
        if not 0 <= bits < 1 << count:
            raise OptionError(
                f"A set of {count} patches is a number from 0 to {(1 << count) - 1} and {bits} is not: it names "
                "patches of another grid."
            )
    if all(bits in recalled for bits in new):
        known.update((bits, recalled[bits]) for bits in new)
        return
    values = evaluate(new)
    if values.shape != (len(new),) or not bool(torch.isfinite(values).all()):
        raise OptionError(
            f"A function of sets returns one finite number for each of {len(new)} sets and this one returned "
            f"{tuple(values.shape)}, or NaN or infinity: look at the score."
        )
    known.update(zip(new, values.to(torch.float64).tolist(), strict=True))
