"""What a search for minimal sufficient sets returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Minimal = Literal["subset", "single", "unchecked"]


@dataclass(frozen=True, kw_only=True)
class MSE:
    """A minimal sufficient explanation (shitole2021structured): a set of patches that alone keeps the score.

    `bits`: the set, bit p = patch p is shown; `value`: its score; `relative`: that over the score of the whole input,
    which may exceed 1. `minimal`: `subset` where no proper subset is sufficient (all were tried), `single` where only
    every removal of one patch was tried; `unchecked` where the set was given.
    """

    bits: int
    value: float
    relative: float
    minimal: Minimal

    @property
    def patches(self) -> tuple[int, ...]:
        """The patches of the set in rising order."""
        return patches_of(self.bits)

    @property
    def size(self) -> int:
        """The number of patches."""
        return self.bits.bit_count()


@dataclass(frozen=True, kw_only=True)
class SetSearch:
    """What a search found, and what it cost.

    `found`: by size, then by falling value; none contains another. `vacuous`: the input with nothing shown is already
    sufficient, so that there is nothing to explain. `exhausted`: the budget ended the search. `unfinished`: sufficient
    sets dropped because the budget ended before they were minimal. `n_evaluated`: distinct sets that this search had
    evaluated. `full` and `empty`: the values of all patches and of none. `p_high`: share of `full` that suffices.
    """

    found: tuple[MSE, ...]
    vacuous: bool
    exhausted: bool
    unfinished: int
    n_evaluated: int
    full: float
    empty: float
    p_high: float


@dataclass(frozen=True, kw_only=True)
class Diverse:
    """Roots that differ: `chosen` of a `pool` of so many, any two of which share at most a given number of patches.

    `exact`: no larger choice exists, and of the largest none has a higher mean value (else: found greedily).
    `overlaps (n, n)`: the number of patches that chosen roots share; on the diagonal their sizes.
    """

    chosen: tuple[MSE, ...]
    pool: int
    exact: bool
    overlaps: tuple[tuple[int, ...], ...]


def patches_of(bits: int) -> tuple[int, ...]:
    """Return the patches of a set in rising order."""
    return tuple(patch for patch in range(bits.bit_length()) if bits >> patch & 1)
