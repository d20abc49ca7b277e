"""Strict minimisation: partition refinement in which undefined is a value like any other (spec-fsm 4.4, 4.6)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from moorelens.fsm.automata.compatibility import incompatibility
from moorelens.fsm.automata.folding import summarise
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.minimised import Minimised
from moorelens.fsm.automata.partition import quotient, refine
from moorelens.fsm.automata.reductions import trim


def minimise_strict(machine: MooreMachine) -> Minimised:
    """Return the unique smallest machine with the same words *and* the same undefined ones, in canonical numbering.

    States are merged iff they emit the same and the same words are defined from both (Hopcroft 1971). Unreachable
    states are dropped; actions that no state uses do not matter. For a complete machine the result is minimal, and
    `proven`; for a partial one the lower bound speaks of machines that may fill in what is undefined. The silent start
    is kept apart. Time O(E log S).
    """
    reachable, trimmed = trim(machine)
    initial = reachable.actions.astype(np.int64)
    initial[reachable.start] = len(reachable.action_names)
    blocks = refine(reachable, initial=initial)
    mapping = np.where(trimmed >= 0, blocks[trimmed], -1).astype(np.int32)
    result = quotient(reachable, blocks=blocks)
    complete = is_complete(result)
    apart = None if complete else incompatibility(result)
    summary = summarise(machine, result, mapping, method="strict", reachable=result, apart=apart)
    merges = len(reachable.actions) - len(result.actions)
    if complete:
        return replace(summary, merges=merges, lower_bound=result.n_states, proven=True)
    return replace(summary, merges=merges)


def is_complete(machine: MooreMachine) -> bool:
    """Say whether each symbol that is used anywhere has exactly one successor at each state but the start."""
    inner = machine.sources != machine.start
    used = len(np.unique(machine.symbols))
    return machine.n_conflicts == 0 and int(inner.sum()) == used * machine.n_states
