"""Differential maps: which part of the difference between two observations changes the digits of a code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.config import Rule
from moorelens.saliency.differential.config import Target
from moorelens.saliency.meter import MAX_BATCH, Meter
from moorelens.saliency.paths import accumulate, column, quadrature
from moorelens.saliency.scores import BoundScore

Graded = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class DifferentialMap:
    """Maps (B, ...) of the difference `x - baseline`, the mean over the chosen digits of each row.

    `gap (B,)`: what the values of a row sum to on an exact path; `empty (B,)`: rows without a chosen digit, all 0;
    `n_forward`, `n_backward`, `largest_batch`: rows through the network.
    """

    values: Tensor
    gap: Tensor
    empty: Tensor
    n_forward: int
    n_backward: int
    largest_batch: int

    @property
    def completeness(self) -> Tensor:
        """The sum of each row's values minus its gap (B,)."""
        return self.values.flatten(1).double().sum(dim=1).to(self.gap) - self.gap


def differential_map(
    graded: Graded,
    x: Tensor,
    baseline: Tensor,
    chosen: Tensor,
    *,
    target: Target = "preactivation",
    steps: int = 16,
    rule: Rule = "midpoint",
    oriented: bool = True,
    max_batch: int = MAX_BATCH,
) -> DifferentialMap:
    """Return the mean map over the `chosen (B, K)` bool digits, by one backward pass a chunk (spec-fsm 6.6).

    `graded (N, ...) -> (N, K)`: the digits before rounding. The map is linear in the digits, so that their mean needs
    no map of its own for each. `preactivation`: a digit u attributes u(x) - u(baseline); with `oriented` each counts in
    the direction in which it changes, so that digits that rise do not cancel those that fall. `squared`: the released
    code's (u(z) - u(x))^2, whose values sum to MINUS the squared change.
    Raises OptionError where shapes do not fit.
    """
    _check(x, baseline, chosen)
    with torch.no_grad():
        ends = _in_chunks(graded, x, max_batch), _in_chunks(graded, baseline, max_batch)
    weights = _weights(ends[0] - ends[1], chosen, oriented=oriented and target == "preactivation")
    score = BoundScore(function=_reading(graded, target), bound=(weights, ends[0]), name="differing digits")
    meter = Meter(score, max_batch=max_batch)

    def make(rows: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        leaf = _between(x, baseline, rows, t)
        return leaf, leaf.clone()

    gradient = accumulate(meter, make, x, steps=steps, rule=rule).gradient
    change = ends[0] - ends[1]
    gap = (weights * (change if target == "preactivation" else -change.square())).sum(dim=1)
    return DifferentialMap(
        values=(x - baseline) * gradient,
        gap=gap,
        empty=~chosen.any(dim=1),
        n_forward=meter.n_forward + 2 * len(x),
        n_backward=meter.n_backward,
        largest_batch=meter.largest_batch,
    )


def digit_maps(
    graded: Graded,
    x: Tensor,
    baseline: Tensor,
    *,
    target: Target = "preactivation",
    steps: int = 16,
    rule: Rule = "midpoint",
    max_batch: int = MAX_BATCH,
) -> Tensor:
    """Return a map for every digit (B, K, ...): the points of a path go through the network once for all digits."""
    _check(x, baseline, None)
    with torch.no_grad():
        reference = _in_chunks(graded, x, max_batch)
    nodes, weights = (torch.as_tensor(part, dtype=x.dtype, device=x.device) for part in quadrature(rule, steps))
    found = x.new_zeros((len(x), reference.shape[1], *x.shape[1:]))
    for row in range(len(x)):
        for first in range(0, steps, max_batch):
            t = nodes[first : first + max_batch]
            rows = torch.full((len(t),), row, dtype=torch.int64, device=x.device)
            gradients = _all_digits(graded, _between(x, baseline, rows, t), reference[row], target)
            found[row] += torch.tensordot(weights[first : first + max_batch], gradients, dims=([0], [1]))
    return found * (x - baseline)[:, None]


def _all_digits(graded: Graded, leaf: Tensor, reference: Tensor, target: Target) -> Tensor:
    """Return the gradients (K, n, ...) of every digit at every point."""
    with torch.enable_grad():
        read = graded(leaf.clone())
        if target == "squared":
            read = (read - reference).square()
        count = read.shape[1]
        parts = [
            torch.autograd.grad(read[:, digit].sum(), leaf, retain_graph=digit + 1 < count)[0] for digit in range(count)
        ]
    return torch.stack(parts)


def _reading(graded: Graded, target: Target) -> Callable[..., Tensor]:
    def function(points: Tensor, weights: Tensor, reference: Tensor) -> Tensor:
        read = graded(points)
        return (weights * (read if target == "preactivation" else (read - reference).square())).sum(dim=1)

    return function


def _weights(change: Tensor, chosen: Tensor, *, oriented: bool) -> Tensor:
    count = chosen.sum(dim=1, keepdim=True).clamp_min(1)
    share = chosen.to(change) / count
    return share * change.sign() if oriented else share


def _between(x: Tensor, baseline: Tensor, rows: Tensor, t: Tensor) -> Tensor:
    end = x.index_select(0, rows)
    return torch.lerp(baseline.index_select(0, rows), end, column(t, end)).requires_grad_()


def _in_chunks(graded: Graded, x: Tensor, size: int) -> Tensor:
    return torch.cat([graded(part) for part in torch.split(x, size)])


def _check(x: Tensor, baseline: Tensor, chosen: Tensor | None) -> None:
    if x.shape != baseline.shape or not len(x) or (chosen is not None and len(chosen) != len(x)):
        raise OptionError(
            f"Each of the compared observations has one of the other branch, and {tuple(x.shape)} stand against "
            f"{tuple(baseline.shape)}: pass pairs, one or more."
        )
