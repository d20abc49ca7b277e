"""One numbering for all machines that differ only in the numbering of their states and symbols."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from moorelens.fsm.automata.machine import Codes, Counts, Ids, MooreMachine
from moorelens.fsm.automata.structure import row_offsets


def code_ranks(codes: Codes) -> Ids:
    """Return (N,) the rank of each code (N, K) in the order of their digits; equal codes keep their order."""
    ranks = np.arange(len(codes), dtype=np.int32)
    if codes.size:
        # As bytes without sign, codes of one width sort like text.
        texts = np.ascontiguousarray(codes.view(np.uint8) ^ np.uint8(128)).view(f"S{codes.shape[1]}").ravel()
        ranks[np.argsort(texts, kind="stable")] = np.arange(len(codes))
    return ranks


def breadth_first(machine: MooreMachine) -> Ids:
    """Return (S,) all states in the order a breadth-first walk from the start meets them, then the unreachable ones.

    Symbols are walked in the order of their codes, the successors of a conflict and unreachable states in that of their
    codes: the order does not depend on how the machine is numbered.
    """
    codes = code_ranks(machine.state_codes)
    walk = np.lexsort((codes[machine.targets], code_ranks(machine.symbol_codes)[machine.symbols], machine.sources))
    return walk_order(row_offsets(machine), machine.targets[walk], roots=[machine.start, *np.argsort(codes).tolist()])


def walk_order(offsets: Counts, heads: Ids, *, roots: Sequence[int]) -> Ids:
    """Return the nodes of a graph in breadth-first order from each root in turn.

    The successors of node n are `heads[offsets[n]:offsets[n + 1]]`, walked in this order.
    """
    cuts, targets = offsets.tolist(), heads.tolist()
    seen = bytearray(len(cuts) - 1)
    order: list[int] = []
    for root in roots:
        queue = deque([] if seen[root] else [root])
        seen[root] = 1
        while queue:
            state = queue.popleft()
            order.append(state)
            for target in targets[cuts[state] : cuts[state + 1]]:
                if not seen[target]:
                    seen[target] = 1
                    queue.append(target)
    return np.array(order, dtype=np.int32)


def renumber(machine: MooreMachine, *, states: Ids | None = None, symbols: Ids | None = None) -> MooreMachine:
    """Return `machine` with its states and symbols listed in the given orders (permutations of the old ids)."""
    state_order = np.arange(len(machine.actions)) if states is None else states
    symbol_order = np.arange(machine.n_symbols) if symbols is None else symbols
    new_state, new_symbol = np.argsort(state_order).astype(np.int32), np.argsort(symbol_order).astype(np.int32)
    edges = (new_state[machine.sources], new_symbol[machine.symbols], new_state[machine.targets])
    sort = np.lexsort(edges[::-1])
    return replace(
        machine,
        state_codes=machine.state_codes[state_order],
        symbol_codes=machine.symbol_codes[symbol_order],
        actions=machine.actions[state_order],
        visits=machine.visits[state_order],
        terminals=machine.terminals[state_order],
        truncations=machine.truncations[state_order],
        sources=edges[0][sort],
        symbols=edges[1][sort],
        targets=edges[2][sort],
        counts=machine.counts[sort],
        origins=machine.origins[sort],
        start=int(new_state[machine.start]),
    )


def canonical_form(machine: MooreMachine) -> MooreMachine:
    """Return the machine with symbols in the order of their codes and states in breadth-first order.

    Two machines have equal canonical forms iff they differ only in the order of ids; the start is state 0.
    """
    symbols = np.argsort(code_ranks(machine.symbol_codes)).astype(np.int32)
    return renumber(machine, states=breadth_first(machine), symbols=symbols)
