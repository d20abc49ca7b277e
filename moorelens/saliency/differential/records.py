"""What a run stores of differential saliency: one record a pair of branches, numbers only."""

from __future__ import annotations

from typing import Literal

import msgspec

from moorelens.saliency.differential.config import DifferentialConfig


class HiddenReturns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mean returns of the quantised network over `games`: seeing all, and from the decision on without some parts.

    `other_hidden` is None where an observation has one part only: there is no other to hide.
    """

    games: int
    seen: float
    salient_hidden: float
    other_hidden: float | None


class BranchRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two branches of one decision point, compared in both directions (`pairs` comparisons, `skipped` of equal code).

    `flips_salient`, `flips_other`: how many of the compared observations took the other branch after their salient
    `parts`, and after as many others, were replaced by the other branch's; `left_*`: how many left their own branch.
    `flips_other` and `left_other` are None where an observation has one part only: there is no control.
    `mean`: of a vector's features, the mean map; None for images, whose maps are in the arrays. `top`: the most salient
    features or pixels, the first 12. `completeness`: the largest relative gap of a map. `on_objects`, `object_area`:
    shares of positive saliency and of area on the game's objects, where its memory tells where they are.
    """

    state: int
    targets: tuple[int, int]
    seen: tuple[int, int]
    pairs: int
    skipped: int
    parts: int
    flips_salient: int
    flips_other: int | None
    left_salient: int
    left_other: int | None
    completeness: float
    digits: tuple[int, ...]
    top: tuple[int, ...]
    mean: tuple[float, ...] | None = None
    spread: tuple[float, ...] | None = None
    on_objects: float | None = None
    object_area: float | None = None
    hidden: HiddenReturns | None = None

    @property
    def key(self) -> str:
        """The name of its files in `saliency/`."""
        return f"S{self.state}-S{self.targets[0]}-S{self.targets[1]}"

    @property
    def compared(self) -> int:
        """How many observations were changed in the intervention test."""
        return self.pairs - self.skipped


class SaliencyRecords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`saliency/saliency.json`: every explained decision point, the weightiest first, and what was left out."""

    format: Literal["moorelens.saliency/1"] = "moorelens.saliency/1"
    config: DifferentialConfig
    branches: tuple[BranchRecord, ...]
    decision_points: int
    notes: tuple[str, ...] = ()

    def shares(self) -> tuple[float | None, float | None, int]:
        """Return the share of flips after salient parts and after others were replaced, and of how many it is.

        The second is None where there are no others.
        """
        compared = sum(row.compared for row in self.branches)
        if not compared:
            return None, None, 0
        other = self.flips_other
        salient = sum(row.flips_salient for row in self.branches)
        return salient / compared, None if other is None else other / compared, compared

    @property
    def flips_other(self) -> int | None:
        """How many observations took the other branch after other parts were replaced; None without any others."""
        found = [row.flips_other for row in self.branches if row.compared]
        return None if None in found else sum(count for count in found if count is not None)
