"""Gradients averaged along a path: quadrature rules, and one routine that integrated gradients and masks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.config import Rule
from moorelens.saliency.meter import MAX_BATCH, Meter
from moorelens.saliency.scores import ScoreFn

PointFn = Callable[[Tensor, Tensor, Tensor], Tensor]
LeafFn = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class PathGradient:
    """The weighted mean over the path of the gradient (B, ...) and of the score (B,)."""

    gradient: Tensor
    mean_score: Tensor


def quadrature(rule: Rule, steps: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return nodes (S,) in [0, 1] and weights (S,) that sum to 1.

    `midpoint`, `trapezoid` (2 steps or more; both ends included), `gauss_legendre`, `right` (1/S, ..., 1: the rule of
    the published I-GOS), and `mean` (2 points or more, both ends included, all with equal weight: that of the released
    differential saliency).
    """
    least = 2 if rule in ("trapezoid", "mean") else 1
    if steps < least:
        raise OptionError(
            f"A path has at least {least} steps under the {rule} rule and {steps} were asked for: pass more."
        )
    if rule == "gauss_legendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return (nodes + 1) / 2, weights / 2
    if rule == "trapezoid":
        weights = np.full(steps, 1 / (steps - 1))
        weights[[0, -1]] /= 2
        return np.linspace(0, 1, steps), weights
    if rule == "mean":
        return np.linspace(0, 1, steps), np.full(steps, 1 / steps)
    if rule == "midpoint":
        return (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)
    if rule == "right":
        return np.arange(1, steps + 1) / steps, np.full(steps, 1 / steps)
    raise OptionError(
        f"A quadrature rule is midpoint, trapezoid, gauss_legendre, right or mean and {rule!r} is none: choose one."
    )


def path_gradient(
    score: ScoreFn | Meter,
    point_fn: PointFn,
    wrt: Tensor,
    *,
    steps: int,
    rule: Rule = "midpoint",
    noise_std: float = 0.0,
    generator: torch.Generator | None = None,
    max_batch: int = MAX_BATCH,
) -> PathGradient:
    """Return sum_s w_s of the gradient of f(point_fn(wrt, rows, t_s)) with respect to `wrt (B, ...)`, and mean f.

    `point_fn(values (n, ...), rows (n,), t (n,)) -> points (n, ...)`: `values` are `wrt` at `rows`; a factor t in it
    is part of the gradient. `noise_std`: of normal noise added to the points; it is drawn once a step and shared by
    all rows, so that a row's result does not depend on its batch. Memory does not grow with `steps`.
    """

    def make(rows: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        leaf = wrt.detach().index_select(0, rows).requires_grad_()
        return leaf, point_fn(leaf, rows, t)

    meter = score if isinstance(score, Meter) else Meter(score, max_batch=max_batch)
    return accumulate(meter, make, wrt, steps=steps, rule=rule, noise_std=noise_std, generator=generator)


def accumulate(
    meter: Meter,
    make: LeafFn,
    like: Tensor,
    *,
    steps: int,
    rule: Rule,
    noise_std: float | Tensor = 0.0,
    generator: torch.Generator | None = None,
    of: Tensor | None = None,
    differentiate: bool = True,
) -> PathGradient:
    """Sum weighted gradients with respect to leaves that `make(rows, t) -> (leaf, points)` builds by chunks.

    `rows (n,)` is a block of neighbouring rows, repeated for each step of the chunk; `t (n,)` is constant in each.

    `like (B, ...)` has the shape of the result and of the leaves. `noise_std`: one for all, or one for each row (B,).
    `of (B,)`: which explained row each row is a variant of; the rows in order by default. Without `differentiate` only
    the mean score is computed, of the same points under the same noise, and the gradient is 0.
    """
    nodes, weights = (torch.as_tensor(part, dtype=like.dtype, device=like.device) for part in quadrature(rule, steps))
    batch = len(like)
    gradient, mean = torch.zeros_like(like, requires_grad=False), like.new_zeros(batch)
    spread = torch.as_tensor(noise_std, dtype=like.dtype, device=like.device).expand(batch)
    noisy, noises = bool((spread > 0).any()), like.new_zeros(0)
    for of_steps, of_rows in _blocks(steps, batch, meter.width(like)):
        block = torch.arange(of_rows.start, of_rows.stop, device=like.device)
        count = of_steps.stop - of_steps.start
        rows, t = block.repeat(count), nodes[of_steps].repeat_interleave(len(block))
        with torch.set_grad_enabled(differentiate):
            leaf, points = make(rows, t)
            if noisy:
                if of_rows.start == 0:
                    noises = _noises(points, count, generator)
                points = points + noises.repeat_interleave(len(block), dim=0) * column(spread[rows], points)
            values = meter.forward(points, rows if of is None else of[rows])
        weight = weights[of_steps][None, :]
        if differentiate:
            found = meter.gradient(values, leaf).reshape(count, -1)
            gradient[of_rows] += (weight @ found).reshape(gradient[of_rows].shape)
        mean[of_rows] += (weight @ values.detach().reshape(count, -1))[0]
    return PathGradient(gradient, mean)


def column(t: Tensor, like: Tensor) -> Tensor:
    """Return `t (n,)` as (n, 1, ..., 1), to be multiplied with `like (n, ...)`."""
    return t.reshape(-1, *[1] * (like.ndim - 1))


def _blocks(steps: int, batch: int, limit: int) -> Iterator[tuple[slice, slice]]:
    """Cover steps x rows by rectangles of at most `limit` points; all rows of a block of steps before the next."""
    rows = min(batch, limit)
    count = max(1, limit // max(rows, 1))
    for step in range(0, steps, count):
        for row in range(0, batch, rows):
            yield slice(step, min(step + count, steps)), slice(row, min(row + rows, batch))


def _noises(points: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    if generator is None:
        raise OptionError("Noise on a path is drawn from a generator and none was given: pass a torch.Generator.")
    # One draw a step: torch fills long and short tensors differently, and chunks must not change the numbers.
    shape = points.shape[1:]
    return torch.stack([torch.randn(shape, generator=generator) for _ in range(count)]).to(points)
