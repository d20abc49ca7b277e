"""Hiding one part of the input after another: the loop that occlusion and perturbation saliency share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from moorelens.saliency.explainer import Work
from moorelens.saliency.meter import ROUNDING, take

HideFn = Callable[[Tensor], Tensor]


def probe_drops(work: Work, hide: HideFn, count: int) -> Tensor:
    """Return how much the score falls (B, count) when part k of the input is replaced by the baseline.

    `hide(k (p,)) -> (p, 1, H, W)` or (p, F): how far each pixel is replaced, 0 to 1. A fall within the rounding of
    float32 is 0: the same row gives other last bits in another batch, and a part that does not matter must give 0.
    """
    x, limit = work.x, work.meter.width(work.x)
    drops = work.f_x.new_zeros(len(x), count)
    width = min(len(x), limit)
    depth = max(1, limit // width)
    with torch.no_grad():
        for start in range(0, count, depth):
            hidden = hide(torch.arange(start, min(start + depth, count), device=x.device))
            for first in range(0, len(x), width):
                block = torch.arange(first, min(first + width, len(x)), device=x.device)
                drops[block, start : start + depth] = work.f_x[block, None] - _scores(work, hidden, block)
    return torch.where(drops.abs() <= ROUNDING * work.f_x.abs()[:, None], 0.0, drops)


def _scores(work: Work, hidden: Tensor, block: Tensor) -> Tensor:
    """Return the scores (r, p) of r rows under p probes."""
    rows = block.repeat_interleave(len(hidden))
    start, end = take(work.x, rows), take(work.baseline, rows)
    masks = hidden.repeat(len(block), *[1] * (hidden.ndim - 1)).expand_as(start)
    return work.meter.forward(torch.lerp(start, end, masks), rows).reshape(len(block), len(hidden))
