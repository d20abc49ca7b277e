"""The proof of a map: does the branch flip when what is salient shows what the other branch showed?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moorelens.saliency.curves import rank_parts

Array = npt.NDArray[Any]
Flags = npt.NDArray[np.bool_]
# Observations (N, *obs) float32 -> the states (N,) that the machine's network goes to from the decision point.
Successors = Callable[[Tensor], npt.NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class Flips:
    """What replacing parts of an observation by the other branch's did to each of P observations.

    `salient`, `other (P,)`: whether the run then took the other branch, after the salient parts were replaced and
    after as many of the remaining ones, drawn by chance; `left_salient`, `left_other`: whether it left its own branch,
    wherever it went; `parts`: how many were replaced. `other` and `left_other` are None where an observation has a
    single part, so that none remains.
    """

    salient: Flags
    other: Flags | None
    left_salient: Flags
    left_other: Flags | None
    parts: int


def flips(
    x: Tensor,
    replacement: Tensor,
    maps: Tensor,
    successors: Successors,
    *,
    own: npt.NDArray[np.int64],
    opposite: npt.NDArray[np.int64],
    area: float,
    generator: torch.Generator,
) -> Flips:
    """Replace the most salient parts of `x (P, *obs)` by those of `replacement`, and as many others, and compare.

    A part is a pixel (all channels) of an image (C, H, W), or a feature of a vector. `maps (P, *obs)`: larger = more
    salient; ties are broken by chance. `area`: share of parts, rounded up. `own`, `opposite (P,)`: the states that the
    observation and its replacement lead to.
    """
    saliency = maps.sum(dim=1) if maps.ndim == 4 else maps
    ranks = rank_parts(saliency.flatten(1), generator=generator)
    count = parts_of(ranks.shape[1], area)
    salient = _mask(ranks[:, :count], ranks.shape[1])
    reached = successors(_replaced(x, replacement, salient))
    control = None
    if ranks.shape[1] > count:
        shuffled = torch.rand(ranks.shape, generator=generator).masked_fill(salient, 2.0).argsort(dim=1)
        control = successors(_replaced(x, replacement, _mask(shuffled[:, :count], ranks.shape[1])))
    return Flips(
        salient=reached == opposite,
        other=None if control is None else control == opposite,
        left_salient=reached != own,
        left_other=None if control is None else control != own,
        parts=count,
    )


def parts_of(total: int, area: float) -> int:
    """Return how many of `total` parts an area is: at least one, at most half; the only one where there is one."""
    return max(1, min(int(np.ceil(area * total - 1e-9)), total // 2))


def salient_parts(saliency: Tensor, area: float) -> Tensor:
    """Return the indices (n,) of the most salient parts of one map, (H, W) or (F,), the most salient first."""
    flat = saliency.flatten()
    return flat.argsort(descending=True, stable=True)[: parts_of(len(flat), area)]


def _mask(parts: Tensor, total: int) -> Tensor:
    return torch.zeros(len(parts), total, dtype=torch.bool).scatter(1, parts, True)


def _replaced(x: Tensor, replacement: Tensor, mask: Tensor) -> Tensor:
    shape = (len(x), 1, *x.shape[2:]) if x.ndim == 4 else x.shape
    return torch.where(mask.reshape(shape), replacement, x)
