"""How rough a mask is: total variation, and bilateral total variation, which lets a mask jump where the image does."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moorelens.saliency.masks import Upsampler


@dataclass(frozen=True, kw_only=True)
class Edges:
    """Weights of the steps between adjacent pixels, 1 inside a flat part of the image, near 0 across an edge.

    `down (B, H-1, W)` between a pixel and the one below it, `across (B, H, W-1)` and the one to its right.
    """

    down: Tensor
    across: Tensor

    def select(self, rows: Tensor) -> Edges:
        """Return the weights of images `rows (n,)`."""
        return Edges(down=self.down.index_select(0, rows), across=self.across.index_select(0, rows))


def edges_of(x: Tensor, *, sigma: float) -> Edges:
    """Return exp(-d / sigma) of images `x (B, C, H, W)`: d is the mean over channels of the squared difference.

    The same formula down and across, so that an image and its transpose weigh alike, and channels that change in
    opposite directions do not cancel. `sigma`: in squared units of model-input space.
    """

    def weight(difference: Tensor) -> Tensor:
        return torch.exp(-difference.square().mean(dim=1) / sigma)

    x = x.detach()
    return Edges(down=weight(x.diff(dim=2)), across=weight(x.diff(dim=3)))


def total_variation(mask: Tensor) -> Tensor:
    """Return (n,): the mean squared step down plus the mean squared step across of masks (n, h, w).

    Of vectors (n, F), whose entries have no neighbours, 0.
    """
    if mask.ndim == 2:
        return mask.new_zeros(len(mask))
    return _mean(mask.diff(dim=1).square()) + _mean(mask.diff(dim=2).square())


def bilateral_variation(mask: Tensor, edges: Edges | None, upsampler: Upsampler) -> Tensor:
    """Return (n,): half of `total_variation` and half of the weighted steps of the enlarged mask (khorram2021igospp).

    `mask (n, h, w)` or (n, F); `edges` of the n images, None for vectors. With weights of 1 it is the mean of the total
    variations of the mask and of the enlarged mask.
    """
    rough = total_variation(mask)
    if edges is None:
        return rough
    large = upsampler(mask[:, None], (edges.across.shape[1], edges.down.shape[2]))[:, 0]
    steps = _mean(edges.down * large.diff(dim=1).square()) + _mean(edges.across * large.diff(dim=2).square())
    return 0.5 * (rough + steps)


def _mean(values: Tensor) -> Tensor:
    """Return the mean of each row; 0 of rows without entries, as a mask one cell high has no steps down."""
    return values.flatten(1).sum(dim=1) / max(1, values[0].numel())
