"""Whether recorded episodes have a temporal property, and the shortest one that does not."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from moorelens.fsm.automata.formulas import Comparison, Flag, Formula, Node

Array = npt.NDArray[Any]
Values = npt.NDArray[np.float64]  # 0 false, 1/2 not decided by what was recorded, 1 true
Columns = Mapping[str, Array]
Verdict = Literal["holds", "fails", "cut off"]

_RELATIONS: dict[str, Callable[[Array, float], Any]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq, "!=": operator.ne,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Counterexample:
    """The first `steps` steps of episode `episode` break the property whatever follows; `since` is where what breaks
    it begins (for `always` and `after`: the step that was not answered)."""

    episode: int
    steps: int
    since: int


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The verdict on each episode, and the shortest counterexample, None where no episode fails."""

    verdicts: tuple[Verdict, ...]
    counterexample: Counterexample | None

    @property
    def holds(self) -> bool:
        """Whether no episode fails."""
        return "fails" not in self.verdicts


def judge(formula: Formula, episodes: Sequence[Columns], *, terminated: Sequence[bool]) -> Judged:
    """Judge each episode by its columns (T,): LTL on finite traces (degiacomo2013ltlf).

    An episode that a time limit cut off is a beginning of a longer one: where the formula fails only for what is
    missing (something was still to come), the verdict is `cut off`. Of failing episodes the one with the fewest steps
    that break the formula for good is the counterexample, the first of equals.
    """
    verdicts = [_verdict(formula, columns, ended) for columns, ended in zip(episodes, terminated, strict=True)]
    found: Counterexample | None = None
    for episode, (columns, verdict) in enumerate(zip(episodes, verdicts, strict=True)):
        if verdict == "fails":
            steps = _shortest(formula, columns)
            if found is None or steps < found.steps:
                found = Counterexample(episode=episode, steps=steps, since=_since(formula, columns, steps))
    return Judged(verdicts=tuple(verdicts), counterexample=found)


def values(formula: Formula, columns: Columns, *, open_end: bool) -> Values:
    """Return the value of a formula at each step (T,); `open_end`: the trace might go on."""
    steps = len(next(iter(columns.values())))
    if isinstance(formula, Flag):
        return np.asarray(columns[formula.name], dtype=np.float64)
    if isinstance(formula, Comparison):
        found = _RELATIONS[formula.relation](np.asarray(columns[formula.name]), formula.value)
        return np.asarray(found, dtype=np.float64)
    parts = [values(part, columns, open_end=open_end) for part in formula.parts]
    return _OPERATORS[formula.operator](parts, formula, 0.5 if open_end else 0.0) if steps else np.zeros(0)


def _verdict(formula: Formula, columns: Columns, ended: bool) -> Verdict:
    if not len(next(iter(columns.values()))) or values(formula, columns, open_end=False)[0] == 1.0:
        return "holds"
    return "cut off" if not ended and values(formula, columns, open_end=True)[0] > 0.0 else "fails"


def _shortest(formula: Formula, columns: Columns) -> int:
    """Return the fewest first steps that break the formula for good; all, where only the end does."""
    total = len(next(iter(columns.values())))
    low, high = 1, total
    while low < high:  # what is broken for good stays broken, so bisection finds the first such length
        middle = (low + high) // 2
        broken = values(formula, _cut(columns, middle), open_end=True)[0] == 0.0
        low, high = (low, middle) if broken else (middle + 1, high)
    return low


def _since(formula: Formula, columns: Columns, steps: int) -> int:
    if not (isinstance(formula, Node) and formula.operator == "always"):
        return 0
    cut = _cut(columns, steps)
    for open_end in (True, False):
        inner = values(formula.parts[0], cut, open_end=open_end)
        broken = np.flatnonzero(inner == 0.0)
        if len(broken):
            return int(broken[0])
    return 0


def _cut(columns: Columns, steps: int) -> Columns:
    return {name: column[:steps] for name, column in columns.items()}


def _negated(parts: list[Values], node: Node, beyond: float) -> Values:
    return 1.0 - parts[0]


def _both(parts: list[Values], node: Node, beyond: float) -> Values:
    return np.minimum(parts[0], parts[1])


def _either(parts: list[Values], node: Node, beyond: float) -> Values:
    return np.maximum(parts[0], parts[1])


def _implied(parts: list[Values], node: Node, beyond: float) -> Values:
    return np.maximum(1.0 - parts[0], parts[1])


def _always(parts: list[Values], node: Node, beyond: float) -> Values:
    return np.minimum(np.minimum.accumulate(parts[0][::-1])[::-1], 1.0 - beyond)


def _eventually(parts: list[Values], node: Node, beyond: float) -> Values:
    return np.maximum(np.maximum.accumulate(parts[0][::-1])[::-1], beyond)


def _next(parts: list[Values], node: Node, beyond: float) -> Values:
    return np.append(parts[0][1:], beyond)


def _previous(parts: list[Values], node: Node, beyond: float) -> Values:
    return np.concatenate([[0.0], parts[0][:-1]])


def _until(parts: list[Values], node: Node, beyond: float) -> Values:
    held, goal = parts
    found = np.empty_like(goal)
    after = beyond
    for step in range(len(goal) - 1, -1, -1):
        after = max(goal[step], min(held[step], after))
        found[step] = after
    return found


def _within(parts: list[Values], node: Node, beyond: float) -> Values:
    """In this step or one of the next `steps`."""
    steps = int(node.steps or 0)
    padded = np.concatenate([parts[0], np.full(steps, beyond)])
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, steps + 1).max(axis=1))


_OPERATORS: dict[str, Callable[[list[Values], Node, float], Values]] = {
    "not": _negated, "and": _both, "or": _either, "implies": _implied, "always": _always, "eventually": _eventually,
    "next": _next, "previous": _previous, "until": _until, "within": _within,
}  # fmt: skip
