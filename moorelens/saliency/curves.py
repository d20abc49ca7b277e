"""Causal curves: the score while the most salient parts are deleted, or inserted into the baseline, one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.meter import MAX_BATCH, Meter, take
from moorelens.saliency.patches import PatchGrid
from moorelens.saliency.scores import ScoreFn

Mode = Literal["deletion", "insertion"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Scores `y (B, S+1)` at area fractions `x (B, S+1)` from 0 to 1, both ends included.

    `auc (B,)`: the trapezoid area over the true fractions, in the units of the score; `auc_norm (B,)`: scaled so that
    a constant f_b is 0 and a constant f_x is 1, NaN where the two are equal.
    """

    x: Tensor
    y: Tensor
    auc: Tensor
    auc_norm: Tensor
    mode: Mode


def causal_curve(
    x: Tensor,
    other: Tensor,
    score: ScoreFn | Meter,
    *,
    saliency: Tensor | None = None,
    order: Tensor | None = None,
    mode: Mode = "deletion",
    steps: int = 50,
    grid: PatchGrid | None = None,
    generator: torch.Generator | None = None,
    max_batch: int = MAX_BATCH,
) -> Curve:
    """Delete the most salient parts of `x` first, or insert them into `other`, and score each step (petsiuk2018rise).

    `x`, `other` (B, C, H, W) or (B, F); all channels of a pixel move together. Either `saliency` (B, H, W) or (B, F),
    ranked by `rank_parts`, or `order (B, P)`, part numbers from first to last. Parts are pixels or features, or the
    patches of `grid`. Step k moves round(P k / steps) parts; with more steps than parts there is one step a part.
    """
    if (saliency is None) == (order is None):
        raise OptionError("A causal curve is told either a saliency or an order, and got both or neither: pass one.")
    if mode not in ("deletion", "insertion") or steps < 1:
        raise OptionError(
            f"A causal curve is a deletion or an insertion of 1 step or more, and mode={mode!r} with {steps} steps is "
            "not: correct it."
        )
    labels = _labels(x, grid)
    count = int(labels.max()) + 1
    if order is None:
        assert saliency is not None
        order = rank_parts(saliency, grid=grid, generator=generator)
    order = order.to(x.device)
    if order.shape != (len(x), count):
        raise OptionError(
            f"A ranking has one entry for each of the {count} parts of each of the {len(x)} rows and this one is "
            f"{tuple(order.shape)}: rank the saliency at the resolution of the input."
        )
    meter = score if isinstance(score, Meter) else Meter(score, max_batch=max_batch)
    steps = min(steps, count)
    edges = torch.tensor([(2 * count * k + steps) // (2 * steps) for k in range(steps + 1)], device=x.device)
    y = _scores(meter, x, other, order, labels.to(x.device), edges, mode)
    return _curve(_moved_areas(order, labels, edges), y, mode)


def flip_area(
    x: Tensor,
    other: Tensor,
    decide: ScoreFn,
    *,
    saliency: Tensor,
    steps: int = 50,
    grid: PatchGrid | None = None,
    generator: torch.Generator | None = None,
    max_batch: int = MAX_BATCH,
) -> Tensor:
    """Return the least area fraction (B,) whose deletion, most salient first, changes a decision; NaN where none does.

    `decide(x (N, ...)) -> (N,)`: what is decided, as a number (such as the greedy action); otherwise as `causal_curve`.
    """

    def score(points: Tensor) -> Tensor:
        return decide(points).to(torch.float64)

    curve = causal_curve(
        x, other, score, saliency=saliency, steps=steps, grid=grid, generator=generator, max_batch=max_batch
    )
    changed = curve.y != curve.y[:, :1]
    first = changed.to(torch.uint8).argmax(dim=1, keepdim=True)
    return torch.where(changed.any(dim=1), curve.x.gather(1, first)[:, 0], torch.nan)


def rank_parts(saliency: Tensor, *, grid: PatchGrid | None = None, generator: torch.Generator | None = None) -> Tensor:
    """Return part numbers (B, P) from most to least salient; equal ones in random order, the same for all rows.

    Without the shuffle a constant map would be scored by its raster order. `grid`: patches are ranked by their mean.
    `generator`: a fresh one with seed 0 where it is None.
    """
    values = saliency.reshape(len(saliency), -1) if grid is None else grid.means(saliency)
    if not bool(torch.isfinite(values).all()):
        raise OptionError("A ranking needs finite values and this saliency has NaN or infinity: look at its explainer.")
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    shuffle = torch.randperm(values.shape[1], generator=generator).to(values.device)
    return shuffle[values[:, shuffle].argsort(dim=1, descending=True, stable=True)]


def ranks_of(order: Tensor) -> Tensor:
    """Return the place (B, P) of each part in `order (B, P)`: the inverse permutation of each row."""
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def _scores(meter: Meter, x: Tensor, other: Tensor, order: Tensor, labels: Tensor, edges: Tensor, mode: Mode) -> Tensor:
    places = ranks_of(order)
    first, second = (other, x) if mode == "deletion" else (x, other)

    def make(index: Tensor) -> tuple[Tensor, Tensor]:
        rows = index % len(x)
        moved = places.index_select(0, rows)[:, labels] < edges[index // len(x)].reshape(-1, *[1] * labels.ndim)
        moved = moved if x.ndim == 2 else moved[:, None]
        return torch.where(moved, take(first, rows), take(second, rows)), rows

    values = meter.values_of(len(edges) * len(x), make, device=x.device)
    return values.reshape(len(edges), len(x)).T.contiguous()


def _moved_areas(order: Tensor, labels: Tensor, edges: Tensor) -> Tensor:
    areas = torch.bincount(labels.flatten()).double().to(order.device)
    moved = torch.cat([areas.new_zeros(len(order), 1), areas[order].cumsum(dim=1)], dim=1)
    return moved[:, edges.to(order.device)]


def _curve(areas: Tensor, y: Tensor, mode: Mode) -> Curve:
    values, total = y.double(), areas[:, -1]
    # In whole pixels, divided once: a constant score of 1 has an area of exactly 1.
    auc = ((values[:, 1:] + values[:, :-1]) * areas.diff(dim=1)).sum(dim=1) / (2 * total)
    f_x, f_b = (values[:, 0], values[:, -1]) if mode == "deletion" else (values[:, -1], values[:, 0])
    gap = f_x - f_b
    scaled = (auc - f_b) / torch.where(gap == 0, torch.nan, gap)
    return Curve(x=areas / total[:, None], y=y, auc=auc, auc_norm=scaled, mode=mode)


def _labels(x: Tensor, grid: PatchGrid | None) -> Tensor:
    shape = x.shape[1:] if x.ndim == 2 else x.shape[2:]
    if grid is None:
        return torch.arange(shape.numel()).reshape(shape)
    if grid.labels.shape != shape:
        raise OptionError(
            f"A grid covers its input, {tuple(shape)}, and this one {tuple(grid.labels.shape)}: make one of that size."
        )
    return grid.labels
