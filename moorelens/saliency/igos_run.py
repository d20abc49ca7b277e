"""The loop of I-GOS: all rows of a batch at once, each with a step, a history and an end of its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from moorelens.saliency.config import IGOSConfig
from moorelens.saliency.igos_search import STRIDE, Move, Parts, Position, accelerated, backtracked, measure
from moorelens.saliency.igos_terms import Objective
from moorelens.saliency.igos_variants import HIDDEN, RELAXED, SHRINK

_SEEDS = 2**48
_MOVED = {7: (0.001, 10.0), 12: (0.01, 5.0)}  # of 15 iterations: l1 is divided where the score moved no further
_HISTORY = ("loss", "score", "l1", "tv", "step")


@dataclass(frozen=True, kw_only=True)
class Run:
    """The masks (B, k, ...) that are returned, how many iterations each row took under which l1, and their history."""

    best: Tensor
    iterations: Tensor
    l1: Tensor
    history: dict[str, Tensor]
    forwards: dict[str, int]


class _State:
    """Where the rows of a run are; changed in place by `optimised`."""

    def __init__(self, objective: Objective, masks: Tensor, config: IGOSConfig) -> None:
        count, plan = len(masks), objective.plan
        self.objective, self.plan, self.masks = objective, plan, masks
        self.point = masks.clone()  # which accelerated steps need
        self.active = torch.arange(count, device=masks.device)
        self.first = masks.new_full((count,), plan.step0)
        self.iterations = torch.zeros(count, dtype=torch.int64, device=masks.device)
        self.history = {name: masks.new_full((count, plan.iterations + 1), torch.nan) for name in _HISTORY}
        self.schedule = schedule_of(config.l1_schedule, plan.iterations)
        self.l1 = masks.new_full((count,), plan.l1)
        self.start = masks.clone()
        self.best, self.least = masks.clone(), masks.new_full((count,), torch.inf)
        self.forwards = {"path_forwards": 0, "search_forwards": 0}

    def visit(self, rows: Tensor, iteration: int, parts: Parts, l1: Tensor) -> None:
        """Record what the loss of `rows` is made of, and keep their masks where they are the best so far."""
        plan = self.plan
        score = plan.loss_factor * parts.score
        loss = score + l1 * parts.l1 + plan.l2 * parts.tv
        for name, values in zip(_HISTORY, (loss, parts.score, parts.l1, parts.tv), strict=False):
            self.history[name][rows, iteration] = values
        # Compared under the last weight of l1, whatever the schedule was when they were visited.
        final = score + self.l1[rows] * self.schedule[-1] * parts.l1 + plan.l2 * parts.tv
        better = rows[final < self.least[rows]] if plan.keep_best else rows
        self.best[better] = self.masks[better]
        self.least[rows] = torch.minimum(self.least[rows], final)

    def restart(self, rows: Tensor) -> None:
        """Let `rows` begin again, with hiding at a lower price."""
        self.active = rows
        self.l1[rows] /= RELAXED
        self.masks[rows], self.point[rows], self.first[rows] = self.start[rows], self.start[rows], self.plan.step0
        self.iterations[rows], self.least[rows] = 0, torch.inf
        for values in self.history.values():
            values[rows] = torch.nan


def optimised(objective: Objective, masks: Tensor, config: IGOSConfig, *, generator: torch.Generator) -> Run:
    """Move `masks (B, k, ...)` from where they are, all rows at once; noise is drawn once an iteration for all rows.

    Rows in which nothing is hidden in the end begin again with l1 divided by `RELAXED`, `plan.relaxations` times.
    """
    state, plan = _State(objective, masks, config), objective.plan
    # All at once: what a row is given must not depend on how long others take.
    seeds = torch.randint(_SEEDS, (plan.relaxations + 1, plan.iterations), generator=generator).tolist()
    for of_pass in seeds:
        for iteration, seed in enumerate(of_pass):
            _iterate(state, iteration, seed)
            if len(state.active) == 0:
                break
        hidden = (1 - state.best.prod(dim=1)).flatten(1).amax(dim=1)
        empty = torch.nonzero(hidden < HIDDEN)[:, 0]
        if len(empty) == 0 or of_pass is seeds[-1]:
            break
        state.restart(empty)
    return Run(
        best=state.best, iterations=state.iterations, l1=state.l1, history=state.history, forwards=state.forwards
    )


def _iterate(state: _State, iteration: int, seed: int) -> None:
    at, here = _position(state, iteration, seed)
    state.visit(at.rows, iteration, here, at.l1)
    move = _moved(state, at, here, iteration)
    state.masks[at.rows] = move.masks
    state.history["step"][at.rows, iteration] = move.steps
    state.visit(at.rows, iteration + 1, move.parts, at.l1)
    state.iterations[at.rows] += 1
    change = (move.masks - at.masks).abs().flatten(1).amax(dim=1)
    state.active = at.rows[change >= state.plan.tolerance]


def schedule_of(factors: tuple[float, ...], iterations: int) -> list[float]:
    """Return a factor for each iteration: `factors` from the first iteration to the last, linear in between."""
    if len(factors) == 1:
        return [factors[0]] * iterations
    found = []
    for iteration in range(iterations):
        place = iteration * (len(factors) - 1) / max(1, iterations - 1)
        left = min(int(place), len(factors) - 2)
        found.append(factors[left] + (place - left) * (factors[left + 1] - factors[left]))
    return found


def _position(state: _State, iteration: int, seed: int) -> tuple[Position, Parts]:
    """Return where the active rows are and in which direction they go, and what the loss is made of there."""
    objective, plan, rows = state.objective, state.plan, state.active
    masks, before = state.masks[rows], objective.meter.n_forward
    found = objective.score(masks, rows, seed=seed)
    state.forwards["path_forwards"] += objective.meter.n_forward - before
    if plan.anneal:
        _anneal(state, iteration)
    l1 = state.l1[rows] * state.schedule[iteration]
    penalties = objective.penalties(masks, rows, l1=l1)
    here = Parts(score=found.mean_score, l1=penalties.l1, tv=penalties.tv)
    base = plan.loss_factor * here.score + l1 * here.l1 + plan.l2 * here.tv
    if plan.search in ("fresh", "end"):
        before = objective.meter.n_forward
        base, here = measure(objective, masks, rows, l1=l1, seed=seed + STRIDE)
        state.forwards["search_forwards"] += objective.meter.n_forward - before
    direction = found.gradient + penalties.gradient
    return Position(masks=masks, rows=rows, base=base, direction=direction, l1=l1, seed=seed), here


def _moved(state: _State, at: Position, here: Parts, iteration: int) -> Move:
    """Return where the active rows go."""
    objective, plan = state.objective, state.plan
    if plan.search == "none":
        return _accelerated(state, at, iteration)
    before = objective.meter.n_forward
    move = backtracked(objective, at, first=state.first[at.rows], here=here)
    state.forwards["search_forwards"] += objective.meter.n_forward - before
    if plan.resume:
        longer = (move.steps / SHRINK).clamp(max=plan.step0)
        state.first[at.rows] = torch.where(move.steps > 0, longer, state.first[at.rows])
    return move


def _accelerated(state: _State, at: Position, iteration: int) -> Move:
    step = state.plan.step0
    masks, point = accelerated(at, step=step, iteration=iteration, before=state.point[at.rows])
    state.point[at.rows] = point
    after = state.objective.penalties(masks, at.rows, l1=at.l1)
    unknown = torch.full_like(at.base, torch.nan)
    return Move(
        masks=masks,
        steps=torch.full_like(at.base, step),
        parts=Parts(score=unknown, l1=after.l1, tv=after.tv),
    )


def _anneal(state: _State, iteration: int) -> None:
    """Divide l1 of the rows whose score has hardly moved since the start (release of 2019)."""
    for moment, (moved, divisor) in _MOVED.items():
        if iteration == moment * state.plan.iterations // 15:
            scores = state.history["score"]
            still = (scores[state.active, iteration] - scores[state.active, 0]).abs() <= moved
            state.l1[state.active[still]] /= divisor
