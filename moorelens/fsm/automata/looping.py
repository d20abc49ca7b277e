"""Whether a machine ignores what it observes: one successor everywhere, so that its actions are a fixed sequence."""

from __future__ import annotations

from dataclasses import dataclass

from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.reductions import trim
from moorelens.fsm.automata.structure import distinct_pairs, only_successors


@dataclass(frozen=True, kw_only=True)
class OpenLoop:
    """Whether no reachable state has two successors, and the shape of the one sequence of states that is left.

    `preperiod` states are passed once, after them a cycle of `period` states for ever; `period` is None where the
    sequence ends instead, and both are None where the machine is not open loop.
    """

    open_loop: bool
    preperiod: int | None
    period: int | None


def open_loop(machine: MooreMachine) -> OpenLoop:
    """Say whether `machine` is open loop (spec-fsm 6.4); the silent start belongs to neither preperiod nor period."""
    reachable, _ = trim(machine)
    n = len(reachable.actions)
    sources, targets = distinct_pairs(reachable.sources, reachable.targets)
    if len(sources) > len(set(sources.tolist())):
        return OpenLoop(open_loop=False, preperiod=None, period=None)
    follow = only_successors(n, sources, targets)
    passed: dict[int, int] = {}
    state = int(follow[reachable.start])
    while state >= 0 and state not in passed:
        passed[state] = len(passed)
        state = int(follow[state])
    if state < 0:
        return OpenLoop(open_loop=True, preperiod=len(passed), period=None)
    return OpenLoop(open_loop=True, preperiod=passed[state], period=len(passed) - passed[state])
