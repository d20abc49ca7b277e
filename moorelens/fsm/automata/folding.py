"""Folding: merging states that no recorded word tells apart, without contradicting any (spec-fsm 4.6, 4.11).

The result is a congruence of the reachable machine: merged states emit the same, and every symbol defined at both leads
to merged states. So by induction on their length all words of the machine are words of the result, with the same
actions.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from moorelens.fsm.automata.canonical import breadth_first, renumber
from moorelens.fsm.automata.compatibility import deterministic_rows, greedy_clique, incompatibility
from moorelens.fsm.automata.equivalence import require_same_words
from moorelens.fsm.automata.machine import BOT, Flags, Ids, MooreMachine
from moorelens.fsm.automata.minimised import Method, Minimised
from moorelens.fsm.automata.partition import number_blocks, quotient
from moorelens.fsm.automata.reductions import trim
from moorelens.fsm.automata.symbol_classes import strict_symbol_classes
from moorelens.fsm.automata.traces import Traces

_Undo = tuple[int, int, dict[int, int], list[int], int]


def fold(machine: MooreMachine, *, min_evidence: int = 0, traces: Traces | None = None) -> Minimised:
    """Return a machine with few states that emits the same actions on every word of `machine` (red-blue merging).

    States are taken in breadth-first order; each is merged with the kept state with which it shares most tested symbols
    (first one wins ties), or kept itself. A merge forces the merges of all successors, and is taken back as a whole if
    two actions meet. `min_evidence` is how many transitions must be confirmed by a merge: 0 is the published behaviour
    and makes machines tiny for lack of data (spec-fsm 4.8), 1 merges only states that share a tested symbol. The silent
    start is kept apart, and so is, for each symbol with a conflict, the set of its successors.

    The words of the result are checked against `machine`, and against `traces` if given; InvariantError if they differ.
    Smallness is not guaranteed: see `lower_bound`. Time O(kept states * S * mean row length).
    """
    reachable, trimmed = trim(machine)
    order = breadth_first(reachable)
    small = renumber(reachable, states=order)
    apart = incompatibility(small)
    merger = _Merger(small, apart)
    zero, kept = 0, [0]
    for state in range(1, len(small.actions)):
        red = list(dict.fromkeys(merger.find(s) for s in kept[1:]))
        if merger.find(state) in red:
            continue
        evidence = merger.merge_best(red, state, at_least=min_evidence)
        if evidence is None:
            kept.append(state)
        zero += evidence == 0
    blocks = number_blocks([merger.find(s) for s in range(len(small.actions))])
    position = np.empty(len(order), dtype=np.int32)
    position[order] = blocks
    mapping = np.where(trimmed >= 0, position[trimmed], -1).astype(np.int32)
    folded = quotient(small, blocks=blocks)
    require_same_words(machine, folded, traces=traces)
    return summarise(folded, mapping, method="fold", apart=apart, reachable=small, zero=zero)


def summarise(
    result: MooreMachine,
    mapping: Ids,
    *,
    method: Method,
    reachable: MooreMachine,
    apart: Flags | None,
    zero: int = 0,
) -> Minimised:
    """Number the states of a quotient canonically and write down what is known about its size."""
    order = breadth_first(result)
    state_map, smaller = mapping, result
    if np.any(order[1:] < order[:-1]):
        smaller = renumber(result, states=order)
        state_map = np.where(mapping >= 0, np.argsort(order)[mapping], -1).astype(np.int32)
    by_block = np.argsort(state_map, kind="stable")
    cuts = np.searchsorted(state_map[by_block], np.arange(len(smaller.actions) + 1)).tolist()
    listed = by_block.tolist()
    bound = lower_bound(reachable, apart=apart)
    return Minimised(
        machine=smaller,
        method=method,
        state_map=state_map,
        cover=tuple(tuple(listed[low:high]) for low, high in pairwise(cuts)),
        symbol_classes=strict_symbol_classes(smaller),
        lower_bound=bound,
        proven=bound == smaller.n_states,
        merges=len(reachable.actions) - len(smaller.actions),
        zero_evidence_merges=zero,
    )


def lower_bound(machine: MooreMachine, *, apart: Flags | None) -> int:
    """Return how many states any machine with these words has at least, the silent start not counted.

    The size of a clique of pairwise incompatible states; without the matrix `apart`, the number of used actions.
    """
    states = np.delete(np.arange(len(machine.actions), dtype=np.int32), machine.start)
    if apart is not None:
        return len(greedy_clique(apart, among=states))
    return len(np.unique(machine.actions[machine.actions != BOT]))


class _Merger:
    """Union-find over states with the joined rows and actions of classes, in which merges can be taken back."""

    def __init__(self, machine: MooreMachine, apart: Flags | None) -> None:
        n = len(machine.actions)
        self._parent = list(range(n))
        self._size = [1] * n
        self._rows = deterministic_rows(machine)
        self._actions: list[int] = machine.actions.tolist()
        self._apart = apart

    def find(self, state: int) -> int:
        """Return the class of a state. No path compression, so that merges can be undone; depth is O(log S)."""
        parent = self._parent
        while parent[state] != state:
            state = parent[state]
        return state

    def merge_best(self, classes: list[int], state: int, *, at_least: int) -> int | None:
        """Merge `state` with the class that confirms most transitions, the first of equals; None where none does."""
        best, best_class = at_least - 1, -1
        for candidate in classes:
            undo: list[_Undo] = []
            evidence = self._merge(candidate, state, undo)
            if evidence > best:
                best, best_class = evidence, candidate
            self._take_back(undo)
        if best_class < 0:
            return None
        return self._merge(best_class, state, [])

    def _merge(self, first: int, second: int, undo: list[_Undo]) -> int:
        """Merge two states and all that follows; return how many transitions that confirmed, -1 if impossible."""
        confirmed = 0
        stack = [(first, second)]
        while stack:
            p, q = stack.pop()
            if self._apart is not None and self._apart[p, q]:
                return -1
            p, q = self.find(p), self.find(q)
            if p == q:
                continue
            if BOT != self._actions[p] != self._actions[q] != BOT:
                return -1
            confirmed += self._join(p, q, undo, stack)
        return confirmed

    def _join(self, p: int, q: int, undo: list[_Undo], stack: list[tuple[int, int]]) -> int:
        if self._size[p] < self._size[q]:
            p, q = q, p
        large, small = self._rows[p], self._rows[q]
        if len(large) < len(small):
            large, small = small, large
        added, confirmed = [], 0
        for symbol, target in small.items():
            if symbol in large:
                stack.append((large[symbol], target))
                confirmed += 1
            else:
                large[symbol] = target
                added.append(symbol)
        undo.append((p, q, self._rows[p], added, self._actions[p]))
        self._rows[p] = large
        self._parent[q] = p
        self._size[p] += self._size[q]
        self._actions[p] = max(self._actions[p], self._actions[q])
        return confirmed

    def _take_back(self, undo: list[_Undo]) -> None:
        for p, q, row, added, action in reversed(undo):
            for symbol in added:
                del self._rows[p][symbol]
            self._rows[p], self._actions[p] = row, action
            self._size[p] -= self._size[q]
            self._parent[q] = q
