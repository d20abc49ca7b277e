"""A choice of roots that share few patches: the largest there is, and of those the one of the highest mean value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from moorelens.errors import OptionError
from moorelens.saliency.sets.records import MSE, Diverse

EXACT = 64  # roots; above it the choice is greedy


def diverse(roots: Sequence[MSE], *, overlap: int = 1, count: int | None = None) -> Diverse:
    """Choose at most `count` roots (None: any number) of which any two share at most `overlap` patches.

    Maximises their number, then their mean value, exactly for up to 64 roots, greedily by falling value above. 1 and,
    in a graph, 3 roots: shitole2021structured.
    """
    if overlap < 0 or (count is not None and count < 1):
        raise OptionError(
            f"Roots share at least 0 patches and at least 1 is chosen, and overlap {overlap} with count {count} was "
            "given: raise them."
        )
    pool = sorted(roots, key=lambda mse: (-mse.value, mse.size, mse.bits))
    exact = len(pool) <= EXACT
    search = _Search(pool=pool, friends=_friends(pool, overlap), most=count or len(pool))
    chosen = search.run() if exact else _greedy(pool, search.friends, search.most)
    sets = [pool[index] for index in chosen]
    shared = tuple(tuple((first.bits & second.bits).bit_count() for second in sets) for first in sets)
    return Diverse(chosen=tuple(sets), pool=len(pool), exact=exact, overlaps=shared)


@dataclass
class _Search:
    """Branch and bound over cliques of the graph in which roots that may stand together are joined."""

    pool: Sequence[MSE]
    friends: Sequence[int]
    most: int
    best: tuple[int, ...] = ()
    score: tuple[int, float] = field(default=(0, 0.0))

    def run(self) -> tuple[int, ...]:
        """Return the positions of the best choice in the pool."""
        self._extend((), 0.0, (1 << len(self.pool)) - 1)
        return self.best

    def _extend(self, chosen: tuple[int, ...], total: float, candidates: int) -> None:
        if (len(chosen), total) > self.score:
            self.best, self.score = chosen, (len(chosen), total)
        if len(chosen) == self.most:
            return
        while candidates:
            if self._bound(len(chosen), total, candidates) <= self.score:
                return
            index = (candidates & -candidates).bit_length() - 1
            candidates &= candidates - 1
            value = total + self.pool[index].value
            self._extend((*chosen, index), value, candidates & self.friends[index])

    def _bound(self, size: int, total: float, candidates: int) -> tuple[int, float]:
        """Return what no choice from `candidates` exceeds: one of each class of mutually excluding roots, the best."""
        tops: list[float] = []
        while candidates and size + len(tops) < self.most:
            first = (candidates & -candidates).bit_length() - 1
            tops.append(self.pool[first].value)
            available = candidates
            while available:
                index = (available & -available).bit_length() - 1
                candidates &= ~(1 << index)
                available &= ~(self.friends[index] | 1 << index)
        return size + len(tops), total + sum(tops)


def _friends(pool: Sequence[MSE], overlap: int) -> list[int]:
    """Return for each root the positions of those it may stand beside, as bits."""
    return [
        sum(1 << j for j, second in enumerate(pool) if j != i and (first.bits & second.bits).bit_count() <= overlap)
        for i, first in enumerate(pool)
    ]


def _greedy(pool: Sequence[MSE], friends: Sequence[int], most: int) -> tuple[int, ...]:
    chosen: list[int] = []
    allowed = (1 << len(pool)) - 1
    for index in range(len(pool)):
        if allowed >> index & 1 and len(chosen) < most:
            chosen.append(index)
            allowed &= friends[index]
    return tuple(chosen)
