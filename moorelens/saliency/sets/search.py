"""Beam search for minimal sufficient sets of patches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import torch
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.sets.functions import SetFunction, sufficient
from moorelens.saliency.sets.guide import end_sets, ends_guide
from moorelens.saliency.sets.records import MSE, Minimal, SetSearch, patches_of

CERTIFY = 12  # patches: 4,096 subsets


class _Spent(Exception):
    """The budget does not cover what comes next."""


@dataclass
class _Hunt:
    """One search under way: the function, what suffices, what may still be evaluated, and what was found."""

    v: SetFunction
    p_high: float
    budget: int | None
    certify: int
    started: int = 0
    exhausted: bool = False
    unfinished: int = 0
    found: dict[int, MSE] = field(default_factory=dict)

    def affordable(self, sets: Sequence[int]) -> list[int]:
        """Return the longest beginning of `sets` that the budget covers, and note when that is not all."""
        if self.budget is None:
            return list(sets)
        left = self.budget - (self.v.n_evals - self.started)
        chosen = []
        for bits in sets:
            left -= bits not in self.v.known
            if left < 0:
                self.exhausted = True
                break
            chosen.append(bits)
        return chosen

    def judge(self, sets: Sequence[int]) -> tuple[list[float], list[bool]]:
        """Return values and sufficiency of `sets`; raises `_Spent` where the budget does not cover them all."""
        if len(self.affordable(sets)) < len(sets):
            raise _Spent
        return self.v(sets).tolist(), sufficient(self.v, sets, self.p_high).tolist()

    def covers(self, bits: int) -> bool:
        """Whether a set contains one that was found."""
        return any(known & bits == known for known in self.found)

    def add(self, bits: int) -> None:
        """Shrink a sufficient set until it is minimal, certify it where it is small enough, and keep it."""
        try:
            bits = self._shrink(bits)
        except _Spent:
            self.unfinished += 1
            return
        bits, minimal = self._certify(bits)
        value = float(self.v([bits])[0])
        self.found = {known: mse for known, mse in self.found.items() if known & bits != bits}
        self.found[bits] = MSE(bits=bits, value=value, relative=_share(value, self.v.full), minimal=minimal)

    def _shrink(self, bits: int) -> int:
        while True:
            fewer = [bits ^ (1 << patch) for patch in patches_of(bits)]
            best = self._best(fewer)
            if best is None:
                return bits
            bits = best

    def _certify(self, bits: int) -> tuple[int, Minimal]:
        """Try all proper subsets, the smallest first; a sufficient one of the least size is minimal itself."""
        patches = patches_of(bits)
        if len(patches) > max(self.certify, 2):
            return bits, "single"
        try:
            for size in range(1, len(patches) - 1):
                smaller = self._best([sum(1 << p for p in chosen) for chosen in combinations(patches, size)])
                if smaller is not None:
                    return smaller, "subset"
        except _Spent:
            return bits, "single"
        return bits, "subset"

    def _best(self, sets: Sequence[int]) -> int | None:
        """Return the sufficient one of the largest value, the first of equals."""
        values, enough = self.judge(sets)
        passing = [(value, bits) for value, bits, good in zip(values, sets, enough, strict=True) if good]
        return max(passing, key=lambda pair: pair[0])[1] if passing else None


def find_mse(
    v: SetFunction,
    *,
    guide: Tensor | Sequence[float] | None = None,
    p_high: float = 0.9,
    beam: int = 5,
    q: int | None = 15,
    max_size: int | None = None,
    max_roots: int = 10,
    budget: int | None = None,
    certify: int = CERTIFY,
) -> SetSearch:
    """Search for minimal sets that keep `p_high` of the value of everything, from the empty set upwards.

    Each of `beam` sets is extended by the `q` best absent patches of `guide (P,)` (larger = earlier; `ends_guide` where
    it is None; `q=None`: all); what is sufficient is shrunk by the removal that keeps the largest value. Successors are
    distinct, none contains a set that was found, and the next beam holds the `beam` best of the rest. Stops at
    `max_roots` sets, at sets of `max_size` patches, or after `budget` new evaluations, those of the guide and of
    certification included. Sets of up to `certify` patches are certified by trying all their subsets. 0.9, beam 3 to
    15, q 15 and 10 roots: shitole2021structured. Raises `OptionError` for settings that cannot be used, and where the
    whole input has no positive value or does not pass the second test of `v`.
    """
    _refuse(p_high=p_high, beam=beam, q=q, max_size=max_size, max_roots=max_roots, budget=budget, certify=certify)
    hunt = _Hunt(v=v, p_high=p_high, budget=budget, certify=certify, started=v.n_evals)
    if is_vacuous(v, p_high):
        return _result(hunt, vacuous=True)
    order = _order(hunt, guide)
    chosen = [0]
    for _ in range(v.count if max_size is None else min(max_size, v.count)):
        successors = _successors(chosen, order, q, hunt)
        allowed = hunt.affordable(successors)
        chosen = _next_beam(hunt, allowed, beam, max_roots)
        if not chosen or hunt.exhausted or len(hunt.found) >= max_roots:
            break
    return _result(hunt, vacuous=False)


def known_sets(v: SetFunction, sets: Iterable[int], *, p_high: float = 0.9) -> SetSearch:
    """Return sets found by other means as a search would, in its order; they are labelled `unchecked`."""
    started = v.n_evals
    chosen = list(dict.fromkeys(sets))
    values = v(chosen).tolist()
    hunt = _Hunt(v=v, p_high=p_high, budget=None, certify=0, started=started)
    for bits, value in zip(chosen, values, strict=True):
        hunt.found[bits] = MSE(bits=bits, value=value, relative=_share(value, v.full), minimal="unchecked")
    return _result(hunt, vacuous=False)


def is_vacuous(v: SetFunction, p_high: float) -> bool:
    """Return whether nothing shown is already sufficient.

    Raises `OptionError` where the value of everything is not positive (a share of it says nothing), or not kept.
    """
    if v.empty == v.full or (v.full > 0 and bool(sufficient(v, [0], p_high)[0])):
        return True
    if v.full <= 0 or not bool(v.kept([v.everything])[0]):
        raise OptionError(
            "A sufficient set keeps a share of a positive score of an answer that the model gives, and the whole "
            f"input has the score {v.full:.4g} or another answer: explain the class that the model "
            "names, or use its probability."
        )
    return False


def _order(hunt: _Hunt, guide: Tensor | Sequence[float] | None) -> list[int]:
    """Return the patches, the best of the guide first; equal ones by number."""
    if guide is None:
        needed = end_sets(hunt.v)
        if len(hunt.affordable(needed)) < len(needed):
            return list(range(hunt.v.count))
        guide = ends_guide(hunt.v)
    ranks = torch.as_tensor(guide, dtype=torch.float64)
    if ranks.shape != (hunt.v.count,) or not bool(torch.isfinite(ranks).all()):
        raise OptionError(
            f"A guide has one finite number for each of {hunt.v.count} patches and this one has shape "
            f"{tuple(ranks.shape)}: make it with map_guide."
        )
    return [int(patch) for patch in torch.argsort(ranks, descending=True, stable=True)]


def _successors(chosen: Sequence[int], order: Sequence[int], q: int | None, hunt: _Hunt) -> list[int]:
    found: dict[int, None] = {}
    for bits in chosen:
        absent = [patch for patch in order if not bits >> patch & 1]
        found.update((bits | 1 << patch, None) for patch in absent[:q])
    return [bits for bits in found if not hunt.covers(bits)]


def _next_beam(hunt: _Hunt, sets: Sequence[int], beam: int, max_roots: int) -> list[int]:
    """Add what is sufficient of `sets` to the found ones; return the `beam` best of the others."""
    values, enough = hunt.judge(sets)
    chosen: list[int] = []
    for index in sorted(range(len(sets)), key=lambda i: -values[i]):
        bits = sets[index]
        if hunt.covers(bits):
            continue
        if enough[index]:
            hunt.add(bits)
            if len(hunt.found) >= max_roots:
                return []
        elif len(chosen) < beam:
            chosen.append(bits)
    return chosen


def _result(hunt: _Hunt, *, vacuous: bool) -> SetSearch:
    found = sorted(hunt.found.values(), key=lambda mse: (mse.size, -mse.value, mse.bits))
    return SetSearch(
        found=tuple(found),
        vacuous=vacuous,
        exhausted=hunt.exhausted,
        unfinished=hunt.unfinished,
        n_evaluated=hunt.v.n_evals - hunt.started,
        full=hunt.v.full,
        empty=hunt.v.empty,
        p_high=hunt.p_high,
    )


def _share(value: float, full: float) -> float:
    return value / full if full != 0 else 0.0


def _refuse(*, p_high: float, **counts: int | None) -> None:
    if not 0 < p_high <= 1:
        raise OptionError(f"p_high is a share above 0 and at most 1 and {p_high} is not: pass such as 0.9.")
    least = {"budget": 2, "certify": 0}
    for name, value in counts.items():
        if value is not None and value < least.get(name, 1):
            raise OptionError(f"{name} is at least {least.get(name, 1)} and {value} was given: pass a larger number.")
