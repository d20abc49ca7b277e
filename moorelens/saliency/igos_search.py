"""How I-GOS moves its masks: backtracking with a step length for each row, or steps of a fixed length with momentum."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moorelens.saliency.igos_terms import Objective
from moorelens.saliency.igos_variants import LEAST_STEP, SHRINK, SLOPE
from moorelens.saliency.paths import column

STRIDE = 1_000_003  # between the seeds of trials that draw noise of their own


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the loss of each row is made of (n,): the weighted scores, mean |1 - m| and the roughness."""

    score: Tensor
    l1: Tensor
    tv: Tensor


@dataclass(frozen=True, kw_only=True)
class Position:
    """Masks (n, k, ...) of explained `rows (n,)`, the loss (n,) there, its direction, and the seed of the noise."""

    masks: Tensor
    rows: Tensor
    base: Tensor
    direction: Tensor
    l1: Tensor
    seed: int


@dataclass(frozen=True, kw_only=True)
class Move:
    """Where the masks went, the step lengths (n,), 0 where no step was taken, and what the loss is made of there."""

    masks: Tensor
    steps: Tensor
    parts: Parts


def measure(objective: Objective, masks: Tensor, rows: Tensor, *, l1: Tensor, seed: int) -> tuple[Tensor, Parts]:
    """Return the loss (n,) that the line search compares, and its parts."""
    plan = objective.plan
    score = objective.score(masks, rows, seed=seed, differentiate=False, end=plan.search == "end").mean_score
    found = objective.penalties(masks, rows, l1=l1)
    loss = plan.loss_factor * score + l1 * found.l1 + plan.l2 * found.tv
    return loss, Parts(score=score, l1=found.l1, tv=found.tv)


def backtracked(objective: Objective, at: Position, *, first: Tensor, here: Parts) -> Move:
    """Shorten the step of each row from `first (n,)` until the loss falls enough (armijo1966minimization).

    Rows whose step is accepted leave the trials: masks, inputs, baselines and targets are all selected by `at.rows`.
    """
    plan, steps = objective.plan, first.clone()
    masks, taken = at.masks.clone(), torch.zeros_like(first)
    parts = {name: getattr(here, name).clone() for name in ("score", "l1", "tv")}
    pending, trial = torch.arange(len(first), device=first.device), 0
    while len(pending):
        trial += 1
        length = steps[pending]
        new = (at.masks[pending] - column(length, masks) * at.direction[pending]).clamp(0, 1)
        seed = at.seed + (trial + 1) * STRIDE if plan.search == "fresh" else at.seed
        loss, found = measure(objective, new, at.rows[pending], l1=at.l1[pending], seed=seed)
        fall = SLOPE * _promised(objective, at, pending, new, length)
        good = (loss <= at.base[pending] - fall) & (fall > 0)
        last = ~good & (length < LEAST_STEP)
        arrived = good | last if plan.creep else good
        there = pending[arrived]
        masks[there], taken[there] = new[arrived], length[arrived]
        for name, values in parts.items():
            values[there] = getattr(found, name)[arrived]
        pending = pending[~(good | last)]
        steps[pending] *= SHRINK
    return Move(masks=masks, steps=taken, parts=Parts(**parts))


def _promised(objective: Objective, at: Position, pending: Tensor, new: Tensor, length: Tensor) -> Tensor:
    """Return what a linear loss would fall by: along the step as cut to [0, 1], or along all of the direction."""
    direction = at.direction[pending]
    if objective.plan.projected:
        return (direction * (at.masks[pending] - new)).flatten(1).sum(dim=1)
    return length * direction.square().flatten(1).sum(dim=1)


def accelerated(at: Position, *, step: float, iteration: int, before: Tensor) -> tuple[Tensor, Tensor]:
    """Return masks after a step of Nesterov's method without a line search, and the point that the next one needs.

    `before`: that point of the step before. `iteration` counts from 0.
    """
    point = at.masks - step * at.direction
    return (point + iteration / (iteration + 3) * (point - before)).clamp(0, 1), point
