"""Hiding and showing parts of an input: the one masking operator of all methods, and its upsampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from moorelens.errors import OptionError
from moorelens.saliency.meter import take


@dataclass(frozen=True, kw_only=True)
class Upsampler:
    """Enlarges masks (n, k, h, w) to (n, k, H, W), differentiably.

    `cell`: pixel i lies in cell floor(i h / H), so that a patch is a patch (`PatchGrid` draws the same boxes);
    `bilinear`: smooth, with `align_corners` as in the published I-GOS code by default.
    """

    mode: Literal["cell", "bilinear"] = "cell"
    align_corners: bool = True

    def __call__(self, mask: Tensor, size: tuple[int, int]) -> Tensor:
        """Return `mask (n, k, h, w)` at `size` (H, W); raises `OptionError` for a mask larger than that."""
        h, w = mask.shape[-2:]
        if h > size[0] or w > size[1]:
            raise OptionError(
                f"A mask is no finer than the input of {size[0]} x {size[1]} pixels and this one is {h} x {w}: choose "
                "a smaller size."
            )
        if (h, w) == size:
            return mask
        if self.mode == "bilinear":
            return functional.interpolate(mask, size=size, mode="bilinear", align_corners=self.align_corners)
        rows, columns = (cells(small, large, mask.device) for small, large in ((h, size[0]), (w, size[1])))
        return mask.index_select(2, rows).index_select(3, columns)


def cells(count: int, pixels: int, device: torch.device | str = "cpu") -> Tensor:
    """Return for each of `pixels` the cell it lies in, of `count`: floor(i count / pixels), int64."""
    return torch.arange(pixels, device=device) * count // pixels


@dataclass(frozen=True, kw_only=True)
class MaskOperator:
    """Phi(x, b, m) = x U(m) + b (1 - U(m)): m is a KEEP mask, 1 shows the input and 0 the baseline, both exactly.

    `x` and `baseline` (B, C, H, W) or (B, F), in model-input space.
    """

    x: Tensor
    baseline: Tensor
    upsampler: Upsampler = Upsampler()

    def __post_init__(self) -> None:
        """Refuse inputs and baselines that do not fit together."""
        if self.x.shape != self.baseline.shape or self.x.ndim not in (2, 4):
            raise OptionError(
                f"Inputs are images (B, C, H, W) or vectors (B, F) with a baseline of the same shape, and these are "
                f"{tuple(self.x.shape)} and {tuple(self.baseline.shape)}: reshape them."
            )

    def apply(self, keep: Tensor, rows: Tensor | None = None, *, swap: bool = False) -> Tensor:
        """Return Phi (n, ...) for keep masks (n, 1, h, w), or (n, C, h, w) with a mask of its own for each channel.

        Vectors take masks (n, F). `rows (n,)`: which explained row each mask is for; the rows in order by default.
        `swap`: input and baseline change places, so that `keep` is the part that is hidden.
        """
        shown, hidden = (self.baseline, self.x) if swap else (self.x, self.baseline)
        if rows is not None:
            shown, hidden = take(shown, rows), take(hidden, rows)
        if shown.ndim == 4:
            keep = self.upsampler(keep, (shown.shape[2], shown.shape[3]))
        if len(keep) != len(shown):
            keep = keep.expand(len(shown), *keep.shape[1:])
        return torch.lerp(hidden, shown, keep.to(shown.dtype).expand_as(shown))
