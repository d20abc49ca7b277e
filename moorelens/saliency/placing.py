"""Where planted objects lie: random radii and centres, drawn until no two objects are near each other."""

from __future__ import annotations

import torch
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.glyphs import REACH

# At a side of 56. Glyphs are 12 to 18 pixels across. Two pixels of one cell of 8 x 8 are at most 9.9 apart, so that
# objects 10 apart never share a cell of the 7 x 7 grid.
SIDE = 56.0
GLYPH_RADII = (6.0, 9.0)
DISTRACTOR_RADII = (5.0, 7.0)
GAP = 10.0


def place(
    ranges: tuple[tuple[float, float], ...],
    count: int,
    *,
    size: int,
    scale: float,
    generator: torch.Generator,
    gap: float = GAP,
    taken: tuple[float, float] | None = None,
) -> tuple[Tensor, Tensor]:
    """Return radii (count, k) and centres (count, k, 2) in pixels of objects with radii from `ranges`, times `scale`.

    Rows that do not fit are drawn anew as a whole: objects lie inside and `gap` * scale apart, whatever their shapes.
    `taken`: a corner object as (centre, reach) in pixels, its centre on the diagonal, to stay away from too.
    """
    radii = torch.zeros(count, len(ranges))
    centres = torch.zeros(count, len(ranges), 2)
    open_rows = torch.arange(count)
    while len(open_rows):
        drawn, at = _drawn(ranges, len(open_rows), size, scale, generator)
        radii[open_rows], centres[open_rows] = drawn, at
        open_rows = open_rows[~_apart(drawn * REACH, at, gap * scale, taken)]
    return radii, centres


def check_room(ranges: tuple[tuple[float, float], ...], *, count: int, size: int, scale: float) -> None:
    """Raise `OptionError` where the objects cannot lie apart, or would be too small to be told apart."""
    inner = size - 1 - 2 * REACH * _mean(ranges[0]) * scale
    widest = (REACH * (_mean(ranges[0]) + _mean(ranges[-1])) + GAP) * scale
    # Three points in a square of side 1 are at most 1.035 apart; below 0.9 enough draws fit to be quick.
    if count < 1 or scale < 0.4 or size < 7 or inner * 0.9 < widest:
        raise OptionError(
            f"Shapes are 1 picture or more, with glyphs of 5 pixels or more and room for three of them, and {count} of "
            f"{size} pixels at scale {scale:.2f} have not: pass a larger size, or a smaller scale."
        )


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Return uniform numbers between `low` and `high`."""
    return torch.rand(shape, generator=generator) * (high - low) + low


def _drawn(
    ranges: tuple[tuple[float, float], ...], count: int, size: int, scale: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    low, high = (torch.tensor(part) * scale for part in zip(*ranges, strict=True))
    radii = torch.rand(count, len(ranges), generator=generator) * (high - low) + low
    margin = (radii * REACH)[:, :, None]
    return radii, torch.rand(count, len(ranges), 2, generator=generator) * (size - 1 - 2 * margin) + margin


def _apart(reach: Tensor, centres: Tensor, gap: float, taken: tuple[float, float] | None) -> Tensor:
    fine = torch.ones(len(centres), dtype=torch.bool)
    for i in range(centres.shape[1]):
        if taken is not None:
            fine &= (centres[:, i] - taken[0]).norm(dim=1) >= reach[:, i] + taken[1] + gap
        for j in range(i):
            fine &= (centres[:, i] - centres[:, j]).norm(dim=1) >= reach[:, i] + reach[:, j] + gap
    return fine


def _mean(bounds: tuple[float, float]) -> float:
    return sum(bounds) / 2
