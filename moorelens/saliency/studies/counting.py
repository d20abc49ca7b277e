"""Sub-explanations of one image: what is left of its minimal sufficient sets while patches are taken away, counted."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec

from moorelens.errors import OptionError
from moorelens.saliency.sets.diversity import diverse
from moorelens.saliency.sets.functions import SetFunction
from moorelens.saliency.sets.records import MSE

# Lower edges of the histogram, as shares of the full image's score; the last bin has no upper end.
BINS = (0.5, 0.6, 0.7, 0.8, 0.9)


class Counts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the minimal sufficient sets (MSEs) of one image lead to.

    `mses`: how many there are; `sizes`: patches of each, ascending; `disjoint`, `apart`: the most MSEs of which no two
    share a patch, or more than `overlap` patches; `union`: patches in any; `count`: sub-explanations, each counted
    once; `histogram`: of these, how many have a share of the full score in each of `bins` (lower edges); `drop`: mean
    fall of that share when one patch is taken away (None without an MSE); `exhausted`: the budget ended the count,
    which is then a lower bound; `n_evaluated`: sets that this call evaluated.
    """

    mses: int
    sizes: tuple[int, ...]
    disjoint: int
    apart: int
    overlap: int
    union: int
    count: int
    bins: tuple[float, ...]
    histogram: tuple[int, ...]
    drop: float | None
    exhausted: bool
    n_evaluated: int

    @property
    def mean_size(self) -> float | None:
        """The mean number of patches of an MSE; None without one."""
        return sum(self.sizes) / len(self.sizes) if self.sizes else None


def count_subexplanations(
    v: SetFunction,
    mses: Sequence[MSE],
    *,
    p_low: float = 0.5,
    bins: Sequence[float] = BINS,
    overlap: int = 1,
    budget: int | None = None,
) -> Counts:
    """Count the sets reached from any of `mses` by taking away one patch at a time (jiang2024comparing).

    A set counts where every set on some way to it, itself included, keeps `v(S) >= p_low v(all)`, and it is no MSE
    itself; one that several MSEs lead to counts once. `p_low` 0.5 and the bins are recalled, not checked, from the
    paper. `budget`: most NEW sets evaluated by this call (None: no limit).
    Raises `OptionError` for bins that do not start at `p_low` or below, and for a full score that is not positive.
    """
    roots = sorted({mse.bits for mse in mses})
    edges = _checked_bins(bins, p_low)
    full = v.full
    if not full > 0:
        raise OptionError(
            f"Shares of a score are taken of a positive one, and the full image scores {full:.3g}: count with a "
            "probability, and images that are recognised."
        )
    known, before = set(roots), v.n_evals
    values, drops, exhausted = _descend(v, roots, floor=p_low * full, budget=budget)
    shares = [value for reached, value in values.items() if reached not in known and value >= p_low * full]
    histogram = [sum(value >= edge * full for value in shares) for edge in (*edges, float("inf"))]
    return Counts(
        mses=len(roots),
        sizes=tuple(sorted(root.bit_count() for root in roots)),
        disjoint=len(diverse(mses, overlap=0).chosen),
        apart=len(diverse(mses, overlap=overlap).chosen),
        overlap=overlap,
        union=_union(roots).bit_count(),
        count=len(shares),
        bins=edges,
        histogram=tuple(first - second for first, second in itertools.pairwise(histogram)),
        drop=sum(drops) / (len(drops) * full) if drops else None,
        exhausted=exhausted,
        n_evaluated=v.n_evals - before,
    )


def _descend(
    v: SetFunction, roots: Sequence[int], *, floor: float, budget: int | None
) -> tuple[dict[int, float], list[float], bool]:
    """Return the value of every set reached, the falls from reached sets by one patch, and whether `budget` ended it.

    Level by level: the children of all reached sets of one level are evaluated at once.
    """
    values = dict(zip(roots, v(roots).tolist(), strict=True)) if roots else {}
    allowed = None if budget is None else v.n_evals + budget
    drops: list[float] = []
    frontier = sorted(values, key=lambda one: (-one.bit_count(), one))
    while frontier:
        fresh = sorted({child for parent in frontier for child in _children(parent)} - values.keys())
        chosen = fresh if allowed is None else _affordable(v, fresh, allowed - v.n_evals)
        values |= dict(zip(chosen, v(chosen).tolist(), strict=True)) if chosen else {}
        steps = ((parent, child) for parent in frontier for child in _children(parent) if child in values)
        drops += [values[parent] - values[child] for parent, child in steps]
        if len(chosen) < len(fresh):
            return values, drops, True
        frontier = [child for child in fresh if values[child] >= floor]
    return values, drops, False


def _affordable(v: SetFunction, sets: Sequence[int], left: int) -> list[int]:
    """Return the longest beginning of `sets` that `left` new evaluations pay for."""
    prices = itertools.accumulate(one not in v.known for one in sets)
    return [one for one, price in zip(sets, prices, strict=True) if price <= left]


def _children(parent: int) -> list[int]:
    found, left = [], parent
    while left:
        patch = left & -left
        found.append(parent ^ patch)
        left ^= patch
    return found


def _union(sets: Sequence[int]) -> int:
    found = 0
    for one in sets:
        found |= one
    return found


def _checked_bins(bins: Sequence[float], p_low: float) -> tuple[float, ...]:
    edges = tuple(sorted(bins))
    if not 0 < p_low <= 1 or not edges or edges[0] > p_low:
        raise OptionError(
            f"Sub-explanations keep a share above 0 and up to 1, and the bins begin there; p_low={p_low:g} with bins "
            f"{edges} does not: lower the first edge to {p_low:g}."
        )
    return edges
