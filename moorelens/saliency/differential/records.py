"""What a run stores of differential saliency: one record a pair of branches, numbers only."""

from __future__ import annotations

from typing import Literal

import msgspec

from moorelens.saliency.differential.config import DifferentialConfig


class HiddenReturns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mean returns of the quantised network over `games`: seeing all, and from the decision on without some parts."""

    games: int
    seen: float
    salient_hidden: float
    other_hidden: float


class BranchRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two branches of one decision point, compared in both directions (`pairs` comparisons, `skipped` of equal code).

    `flips_salient`, `flips_other`: how many of the compared observations took the other branch after their salient
    `parts`, and after as many others, were replaced by the other branch's; `left_*`: how many left their own branch.
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
    flips_other: int
    left_salient: int
    left_other: int
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
        """Return the share of flips after salient parts and after others were replaced, and of how many it is."""
        compared = sum(row.compared for row in self.branches)
        if not compared:
            return None, None, 0
        found = (
            sum(getattr(row, name) for row in self.branches) / compared for name in ("flips_salient", "flips_other")
        )
        salient, other = found
        return salient, other, compared
