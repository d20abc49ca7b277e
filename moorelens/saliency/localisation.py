"""How well a map finds a region that is known to matter: pointing game, mass, overlap, ranking."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from moorelens.errors import OptionError


def pointing_game(saliency: Tensor, truth: Tensor, *, tolerance: int = 0) -> Tensor:
    """Return for each row (B,) the share of its most salient pixels that lie in `truth`: 1 or 0 but for ties.

    `saliency`, `truth` (B, H, W), the latter bool; `tolerance`: pixels by which the truth is widened first.
    """
    _check(saliency, truth)
    if tolerance > 0:
        side = 2 * tolerance + 1
        truth = functional.max_pool2d(truth.float()[:, None], side, stride=1, padding=tolerance)[:, 0] > 0
    flat = saliency.flatten(1)
    peaks = flat == flat.amax(dim=1, keepdim=True)
    return (peaks & truth.flatten(1)).sum(dim=1) / peaks.sum(dim=1)


def mass_in(saliency: Tensor, truth: Tensor) -> Tensor:
    """Return the share (B,) of the positive saliency that lies in `truth`; NaN for a row without any."""
    _check(saliency, truth)
    mass = saliency.flatten(1).double().clamp(min=0)
    return (mass * truth.flatten(1)).sum(dim=1) / mass.sum(dim=1)


def area_of(truth: Tensor) -> Tensor:
    """Return the share (B,) of the pixels in `truth`: what `mass_in` gives for a map that knows nothing."""
    return truth.flatten(1).double().mean(dim=1)


def iou_at_area(saliency: Tensor, truth: Tensor) -> Tensor:
    """Return the overlap (B,) of `truth` with as many most salient pixels: intersection over union.

    Of pixels that tie at the threshold, the expected number is counted that a random choice would put in the truth.
    """
    _check(saliency, truth)
    flat, wanted = saliency.flatten(1), truth.flatten(1)
    area = wanted.sum(dim=1)
    threshold = flat.sort(dim=1, descending=True).values.gather(1, (area - 1).clamp(min=0)[:, None])
    above, level = flat > threshold, flat == threshold
    free = (area - above.sum(dim=1)) / level.sum(dim=1)
    common = (above & wanted).sum(dim=1) + free * (level & wanted).sum(dim=1)
    return common.double() / (2 * area - common)


def auroc_pixels(saliency: Tensor, truth: Tensor) -> Tensor:
    """Return the chance (B,) that a pixel in `truth` is more salient than one outside, ties counted half.

    0.5 for a map that knows nothing; NaN where the truth is empty or everything.
    """
    _check(saliency, truth)
    ranks, wanted = average_ranks(saliency.flatten(1)), truth.flatten(1)
    inside, outside = wanted.sum(dim=1).double(), (~wanted).sum(dim=1).double()
    wins = (ranks * wanted).sum(dim=1) - inside * (inside + 1) / 2
    return wins / (inside * outside)


def average_ranks(values: Tensor) -> Tensor:
    """Return the ranks (B, P) of `values (B, P)` from 1, equal values sharing the mean of theirs, double."""
    found = []
    for row in values:
        _, place, count = torch.unique(row, return_inverse=True, return_counts=True)
        last = count.cumsum(0).double()
        found.append((last - (count - 1) / 2)[place])
    return torch.stack(found)


def _check(saliency: Tensor, truth: Tensor) -> None:
    if saliency.shape != truth.shape or saliency.ndim != 3 or truth.dtype != torch.bool:
        raise OptionError(
            f"A map (B, H, W) is compared with a bool truth of the same shape, and these are {tuple(saliency.shape)} "
            f"and {tuple(truth.shape)} {truth.dtype}: enlarge the map, or pass truth.bool()."
        )
