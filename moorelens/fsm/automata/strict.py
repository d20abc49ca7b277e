"""Strict minimisation: partition refinement in which undefined is a value like any other (spec-fsm 4.4, 4.6)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from moorelens.fsm.automata.canonical import code_ranks, walk_order
from moorelens.fsm.automata.compatibility import incompatibility
from moorelens.fsm.automata.folding import summarise
from moorelens.fsm.automata.machine import Ids, MooreMachine
from moorelens.fsm.automata.minimised import Minimised
from moorelens.fsm.automata.partition import quotient, refine
from moorelens.fsm.automata.structure import reachable, row_offsets

# Up to this size the lower bound is a clique of incompatible states; above, where the matrix of pairs would need far
# more memory than the machine, it is the number of used actions.
BOUND_STATES = 1500


def minimise_strict(machine: MooreMachine) -> Minimised:
    """Return the unique smallest machine with the same words *and* the same undefined ones, in canonical numbering.

    States are merged iff they emit the same and the same words are defined from both (hopcroft1971nlogn). Unreachable
    states are dropped; actions that no state uses do not matter. For a complete machine the result is minimal, and
    `proven`; for a partial one the lower bound speaks of machines that may fill in what is undefined. The silent start
    is kept apart. Time O(E log S).
    """
    kept = reachable(machine)
    initial = machine.actions.astype(np.int64)
    initial[machine.start] = len(machine.action_names)
    blocks = _breadth_first_blocks(machine, refine(machine, initial=initial))
    blocks[~kept] = -1
    result = quotient(machine, blocks=blocks)
    complete = is_complete(result)
    apart = None if complete or result.n_states > BOUND_STATES else incompatibility(result)
    summary = summarise(result, blocks, method="strict", reachable=result, apart=apart)
    merges = int(kept.sum()) - len(result.actions)
    if complete:
        return replace(summary, merges=merges, lower_bound=result.n_states, proven=True)
    return replace(summary, merges=merges)


def _breadth_first_blocks(machine: MooreMachine, blocks: Ids) -> Ids:
    """Number stable blocks (S,) as a walk over the quotient meets them, -1 for those it does not meet.

    Any member has the row of its block, so one of each is enough.
    """
    _, members = np.unique(blocks, return_index=True)
    offsets = row_offsets(machine)
    codes, symbols = code_ranks(machine.state_codes), code_ranks(machine.symbol_codes)
    lengths = offsets[members + 1] - offsets[members]
    edges = np.flatnonzero(np.isin(machine.sources, members))
    walk = edges[
        np.lexsort((codes[machine.targets[edges]], symbols[machine.symbols[edges]], blocks[machine.sources[edges]]))
    ]
    cuts = np.concatenate([[0], np.cumsum(lengths)])
    order = walk_order(cuts, blocks[machine.targets[walk]], roots=[int(blocks[machine.start])])
    number = np.full(len(members), -1, dtype=np.int32)
    number[order] = np.arange(len(order))
    return number[blocks]


def is_complete(machine: MooreMachine) -> bool:
    """Say whether each symbol that is used anywhere has exactly one successor at each state but the start."""
    inner = machine.sources != machine.start
    used = len(np.unique(machine.symbols))
    return machine.n_conflicts == 0 and int(inner.sum()) == used * machine.n_states
