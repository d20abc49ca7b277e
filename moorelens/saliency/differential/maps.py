"""Differential maps: which part of the difference between two observations changes the digits of a code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.config import Rule
from moorelens.saliency.differential.config import Target
from moorelens.saliency.differential.digits import Graded
from moorelens.saliency.meter import Meter
from moorelens.saliency.paths import accumulate, column, quadrature
from moorelens.saliency.scores import BoundScore

# Points at a time: what a first layer makes of more images does not fit the cache (measured on Pong's network).
MAP_BATCH = 16


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
    graded: Graded | Callable[[Tensor], Tensor],
    x: Tensor,
    baseline: Tensor,
    chosen: Tensor,
    *,
    target: Target = "preactivation",
    steps: int = 16,
    rule: Rule = "midpoint",
    oriented: bool = True,
    max_batch: int = MAP_BATCH,
) -> DifferentialMap:
    """Return the mean map over the `chosen (B, K)` bool digits, by one backward pass a chunk (spec-fsm 6.6).

    `graded (N, ...) -> (N, K)`: the digits before rounding; a `Graded` says where they begin with an affine map. The
    map is linear in the digits, so that their mean needs no map of its own for each. `preactivation`: a digit u
    attributes u(x) - u(baseline); with `oriented` each counts in the direction in which it changes, so that digits that
    rise do not cancel those that fall. `squared`: the released code's (u(z) - u(x))^2, whose values sum to MINUS the
    squared change.
    Raises OptionError where shapes do not fit.
    """
    _check(x, baseline, chosen)
    whole, behind = _prepared(graded, x, baseline, max_batch)
    ends = [_in_chunks(whole.rest, part, max_batch) for part in behind]
    change = ends[0] - ends[1]
    weights = _weights(change, chosen, oriented=oriented and target == "preactivation")
    score = BoundScore(function=_reading(whole.rest, target), bound=(weights, ends[0]), name="differing digits")
    meter = Meter(score, max_batch=max_batch)

    def make(rows: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        leaf = _between(behind[0], behind[1], rows, t)
        # A network may begin with an in-place operation, which a leaf allows none of; behind our own layers none does.
        return leaf, leaf if whole.first else leaf.clone()

    gradient = _before(whole, x, accumulate(meter, make, behind[0], steps=steps, rule=rule).gradient)
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
    graded: Graded | Callable[[Tensor], Tensor],
    x: Tensor,
    baseline: Tensor,
    *,
    target: Target = "preactivation",
    steps: int = 16,
    rule: Rule = "midpoint",
    max_batch: int = MAP_BATCH,
) -> Tensor:
    """Return a map for every digit (B, K, ...): the points of a path go through the network once for all digits."""
    _check(x, baseline, None)
    whole, behind = _prepared(graded, x, baseline, max_batch)
    reference = _in_chunks(whole.rest, behind[0], max_batch)
    nodes, weights = (torch.as_tensor(part, dtype=x.dtype, device=x.device) for part in quadrature(rule, steps))
    found = x.new_zeros((len(x), reference.shape[1], *x.shape[1:]))
    for row in range(len(x)):
        total = behind[0].new_zeros((reference.shape[1], *behind[0].shape[1:]))
        for first in range(0, steps, max_batch):
            t, share = nodes[first : first + max_batch], weights[first : first + max_batch]
            rows = torch.full((len(t),), row, dtype=torch.int64, device=x.device)
            leaf = _between(behind[0][row : row + 1], behind[1][row : row + 1], rows, t)
            _add_digits(total, whole.rest, leaf, reference[row], target, share, behind=whole.first is not None)
        at = x[row : row + 1].expand(len(total), *x.shape[1:])
        found[row] = _before(whole, at, total) * (x[row] - baseline[row])
    return found


def _prepared(
    graded: Graded | Callable[[Tensor], Tensor], x: Tensor, baseline: Tensor, max_batch: int
) -> tuple[Graded, list[Tensor]]:
    """Return the digits in two parts, and both ends of the path behind the first of them."""
    whole = graded if isinstance(graded, Graded) else Graded(rest=graded)
    ends = [x, baseline]
    return whole, [_in_chunks(whole.first, part, max_batch) for part in ends] if whole.first else ends


def _add_digits(
    total: Tensor,
    rest: Callable[[Tensor], Tensor],
    leaf: Tensor,
    reference: Tensor,
    target: Target,
    share: Tensor,
    *,
    behind: bool,
) -> None:
    """Add to `total (K, ...)` the gradients of every digit at the points `leaf (n, ...)`, weighted by `share (n,)`."""
    with torch.enable_grad():
        read = rest(leaf if behind else leaf.clone())
        if target == "squared":
            read = (read - reference).square()
        # The weights go in where the pass back begins: every layer is linear in what comes from behind it.
        for digit in range(read.shape[1]):
            (found,) = torch.autograd.grad((read[:, digit] * share).sum(), leaf, retain_graph=True)
            total[digit] += found.sum(dim=0)


def _before(graded: Graded, x: Tensor, gradient: Tensor) -> Tensor:
    """Return gradients (B, ...) with respect to `x (B, ...)` of those with respect to what is behind the affine map."""
    if graded.first is None:
        return gradient
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        (found,) = torch.autograd.grad(graded.first(leaf), leaf, gradient)
    return found


def _reading(graded: Callable[[Tensor], Tensor], target: Target) -> Callable[..., Tensor]:
    def function(points: Tensor, weights: Tensor, reference: Tensor) -> Tensor:
        read = graded(points)
        return (weights * (read if target == "preactivation" else (read - reference).square())).sum(dim=1)

    return function


def _weights(change: Tensor, chosen: Tensor, *, oriented: bool) -> Tensor:
    count = chosen.sum(dim=1, keepdim=True).clamp_min(1)
    share = chosen.to(change) / count
    return share * change.sign() if oriented else share


def _between(x: Tensor, baseline: Tensor, rows: Tensor, t: Tensor) -> Tensor:
    # One row's path needs no copies of its ends: they are as large as all points of the path.
    start, end = (part if len(x) == 1 else part.index_select(0, rows) for part in (baseline, x))
    return torch.lerp(start, end, column(t, end)).requires_grad_()


def _in_chunks(function: Callable[[Tensor], Tensor], x: Tensor, size: int) -> Tensor:
    with torch.no_grad():
        return torch.cat([function(part) for part in torch.split(x, size)])


def _check(x: Tensor, baseline: Tensor, chosen: Tensor | None) -> None:
    if x.shape != baseline.shape or not len(x) or (chosen is not None and len(chosen) != len(x)):
        raise OptionError(
            f"Each of the compared observations has one of the other branch, and {tuple(x.shape)} stand against "
            f"{tuple(baseline.shape)}: pass pairs, one or more."
        )
