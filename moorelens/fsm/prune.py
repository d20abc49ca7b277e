"""Functional pruning: which decisions of a machine can be taken away without costing return (spec-fsm 6.5).

Every candidate is judged against the original machine on the same seeds, so accepted losses never add up beyond the
tolerance, however many there are.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.structure import reachable, restrict
from moorelens.fsm.pruning_moves import Mode, Move, apply, branches, moves, opened
from moorelens.runs.progress import NullProgress, Progress
from moorelens.stats import Estimate, paired_difference

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What a machine did in N games: `returns (N,)`, and `gaps (N,)`, steps without a recorded transition.

    `passed`: by game, the pairs (state before, state after) that it went through; after is -1 where the step was
    a gap. `read`: by game, the symbols that it read.
    """

    returns: npt.NDArray[np.float64]
    gaps: npt.NDArray[np.int64]
    passed: tuple[frozenset[tuple[int, int]], ...]
    read: tuple[frozenset[int], ...]


class Evaluator(Protocol):
    """Plays a machine in some of the N pruning games; the same games for every machine."""

    def __call__(self, machine: MooreMachine, *, open_loop: frozenset[int], rows: Collection[int]) -> Outcome:
        """Return the outcome of the games `rows`, in this order; states of `open_loop` do not look."""
        ...


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One candidate: the move, what it costs against the original machine, and whether it was accepted."""

    move: Move
    cost: Estimate
    accepted: bool


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What forcing one decision of the original machine to one branch costs, all else left as it is."""

    state: int
    target: int
    cost: Estimate


@dataclass(frozen=True, kw_only=True, eq=False)
class Pruned:
    """A pruned machine, `state_map (S,)` from states of the original (-1: gone), its open-loop states, and the log.

    `original`, `outcome`: what the machines did in the pruning games. `cost`: of all accepted moves together.
    """

    machine: MooreMachine
    state_map: npt.NDArray[np.int32]
    open_loop: frozenset[int]
    trials: tuple[Trial, ...]
    original: Outcome
    outcome: Outcome
    cost: Estimate


def prune(
    machine: MooreMachine,
    evaluate: Evaluator,
    *,
    games: int,
    tolerance: float,
    mode: Mode = "branch",
    strict: bool = False,
    progress: Progress | None = None,
) -> Pruned:
    """Take away decisions of `machine` as long as the return stays within `tolerance` of its own.

    Candidates come by the number of recorded steps that they change, ascending. One is accepted where the upper bound
    of the paired bootstrap interval of its loss (original machine minus candidate, on equal seeds) is at most
    `tolerance`; with one game, where the loss is. After an acceptance candidates are listed anew, without states that
    are no longer reached; pruning ends when a whole sweep accepts nothing.
    `mode`: `branch` redirects one branch of a decision to another; `state` leaves a decision one branch; `symbol`
    reads a symbol as the nearest other one. `strict`: a candidate must not meet more gaps than the original machine.
    """
    work = _Work(machine, evaluate, games=games, tolerance=tolerance, strict=strict)
    rejected: dict[Move, int] = {}
    accepted = True
    with (progress or NullProgress()).task("pruning") as task:
        while accepted:
            accepted = False
            tried: set[Move] = set()
            while (move := _next(work, mode, tried, rejected)) is not None:
                tried.add(move)
                if work.tries(move):
                    accepted = True
                else:
                    rejected[move] = work.version
                task.advance()
    return work.finished()


def effects(
    machine: MooreMachine, evaluate: Evaluator, *, original: Outcome, states: Collection[int] | None = None
) -> tuple[Effect, ...]:
    """Return what each branch of each decision costs when it is always taken, on the original machine alone.

    `states`: only these decisions. A negative cost is a gain.
    """
    found = []
    for state, counts in branches(machine).items():
        if states is not None and state not in states:
            continue
        for target in sorted(counts, key=lambda one: (-counts[one], one)):
            move = Move(mode="state", state=state, target=target)
            after = outcome_after(apply(machine, move), evaluate, move, before=original, open_loop=frozenset({state}))
            cost = paired_difference(original.returns, after.returns)
            found.append(Effect(state=state, target=target, cost=cost))
    return tuple(found)


def outcome_after(
    machine: MooreMachine, evaluate: Evaluator, move: Move, *, before: Outcome, open_loop: frozenset[int]
) -> Outcome:
    """Return the outcome after `move`; only games in which it changes something are played again."""
    rows = affected(move, before)
    if not rows:
        return before
    played = evaluate(machine, open_loop=open_loop, rows=rows)
    returns, gaps = before.returns.copy(), before.gaps.copy()
    returns[rows], gaps[rows] = played.returns, played.gaps
    passed, read = list(before.passed), list(before.read)
    for place, row in enumerate(rows):
        passed[row], read[row] = played.passed[place], played.read[place]
    return Outcome(returns=returns, gaps=gaps, passed=tuple(passed), read=tuple(read))


def affected(move: Move, before: Outcome) -> list[int]:
    """Return the games that a move may change: those that took what it redirects, or met a gap there."""

    def touches(row: int) -> bool:
        if move.mode == "symbol":
            return move.source in before.read[row] or any(after < 0 for _, after in before.passed[row])
        steps = [after for state, after in before.passed[row] if state == move.state]
        return any(after < 0 or (after == move.source if move.mode == "branch" else after != move.target)
                   for after in steps)  # fmt: skip

    return [row for row in range(len(before.returns)) if touches(row)]


def _next(work: _Work, mode: Mode, tried: set[Move], rejected: dict[Move, int]) -> Move | None:
    candidates = (one for one in moves(work.machine, mode) if one not in tried and one not in work.done)
    return next((one for one in candidates if rejected.get(one) != work.version), None)


class _Work:
    """The machine as pruned so far, in the ids of the original, and what it does."""

    def __init__(
        self, machine: MooreMachine, evaluate: Evaluator, *, games: int, tolerance: float, strict: bool
    ) -> None:
        self.machine, self.version = machine, 0
        self.done: set[Move] = set()
        self._first, self._evaluate = machine, evaluate
        self._tolerance, self._strict, self._games = tolerance, strict, games
        self._trials: list[Trial] = []
        self._original = self._outcome = evaluate(machine, open_loop=frozenset(), rows=range(games))

    def tries(self, move: Move) -> bool:
        """Try a move; say whether it was accepted."""
        changed = apply(self.machine, move)
        open_loop = opened(self._first, changed)
        after = outcome_after(changed, self._evaluate, move, before=self._outcome, open_loop=open_loop)
        cost = paired_difference(self._original.returns, after.returns)
        accepted = self._tolerable(cost, after)
        self._trials.append(Trial(move=move, cost=cost, accepted=accepted))
        if accepted:
            self.machine, self._outcome, self.version = changed, after, self.version + 1
            self.done.add(move)
        return accepted

    def _tolerable(self, cost: Estimate, after: Outcome) -> bool:
        if self._strict and np.any(after.gaps > self._original.gaps):
            return False
        return (cost.mean if cost.high is None else cost.high) <= self._tolerance

    def finished(self) -> Pruned:
        """Trim what is no longer reached, and play the result once more as it is."""
        open_loop = opened(self._first, self.machine)
        small, mapping = restrict(self.machine, keep=reachable(self.machine))
        kept = frozenset(int(mapping[state]) for state in open_loop)
        outcome = self._evaluate(small, open_loop=kept, rows=range(self._games))
        cost = paired_difference(self._original.returns, outcome.returns)
        if not self._tolerable(cost, outcome):
            # Dropping unreached transitions can change which of two symbols is nearer to an unknown one.
            small, mapping, kept = self.machine, np.arange(len(self.machine.actions), dtype=np.int32), open_loop
            outcome, cost = self._outcome, paired_difference(self._original.returns, self._outcome.returns)
        return Pruned(
            machine=small,
            state_map=np.asarray(mapping, dtype=np.int32),
            open_loop=kept,
            trials=tuple(self._trials),
            original=self._original,
            outcome=outcome,
            cost=cost,
        )
