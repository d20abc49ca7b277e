"""Hiding one part of the input after another: the loop that occlusion and perturbation saliency share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from moorelens.saliency.explainer import Work
from moorelens.saliency.meter import take

HideFn = Callable[[Tensor], Tensor]
_SHARE = 16


def probe_drops(work: Work, hide: HideFn, count: int) -> Tensor:
    """Return how much the score falls (B, count) when part k of the input is replaced by the baseline.

    `hide(k (p,)) -> (p, 1, H, W)` or (p, F): how far each pixel is replaced, 0 to 1. Every batch holds the unchanged
    row as well: floating point differs between batch sizes, and a part that does not matter must give exactly 0.
    """
    x, limit = work.x, work.meter.max_batch
    drops = work.f_x.new_zeros(len(x), count)
    width = min(len(x), max(1, limit // _SHARE))
    depth = max(1, limit // width - 1)
    with torch.no_grad():
        for first in range(0, len(x), width):
            block = torch.arange(first, min(first + width, len(x)), device=x.device)
            for start in range(0, count, depth):
                probes = torch.arange(start, min(start + depth, count), device=x.device)
                drops[block, start : start + depth] = _drops(work, hide, block, probes).T
    return drops


def _drops(work: Work, hide: HideFn, block: Tensor, probes: Tensor) -> Tensor:
    """Return the drops (p, r) of p probes on r rows."""
    hidden = hide(probes)
    masks = torch.cat([torch.zeros_like(hidden[:1]), hidden])
    rows = block.repeat(len(masks))
    masks = masks.repeat_interleave(len(block), dim=0)
    if len(rows) > work.meter.max_batch:
        parts = [_scores(work, rows[i : i + 1], masks[i : i + 1]) for i in range(len(rows))]
        values = torch.cat(parts)
    else:
        values = _scores(work, rows, masks)
    values = values.reshape(-1, len(block))
    return values[:1] - values[1:]


def _scores(work: Work, rows: Tensor, hidden: Tensor) -> Tensor:
    start, end = take(work.x, rows), take(work.baseline, rows)
    return work.meter.forward(torch.lerp(start, end, hidden.expand_as(start)), rows)
