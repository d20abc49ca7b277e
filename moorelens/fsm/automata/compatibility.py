"""Which states a smaller machine must keep apart: the incompatibility relation of a partial machine (spec-fsm 4.6).

Two states are incompatible iff both emit and emit differently, or some symbol, defined at both, leads to incompatible
states: some word tells them apart. States that only wait for each other in a cycle are compatible. A symbol with a
conflict at either state tells nothing apart.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from moorelens.fsm.automata.machine import BOT, Counts, Flags, Ids, MooreMachine
from moorelens.fsm.automata.structure import conflict_flags

# Above these the relation is not written down as a matrix: one byte a pair of states, a few words a pair of
# transitions.
MAX_STATES = 12_000
MAX_PAIRS = 30_000_000


class PairSearch:
    """Answers `differ(p, q)` for single pairs by searching forward; remembers the pairs it found compatible."""

    def __init__(self, machine: MooreMachine) -> None:
        self._actions = machine.actions.tolist()
        self._rows = deterministic_rows(machine)
        self._compatible: set[tuple[int, int]] = set()

    def differ(self, first: int, second: int) -> bool:
        """Say whether some word tells the two states apart; the pairs they lead to are searched breadth first."""
        root = (first, second) if first < second else (second, first)
        seen = {root}
        queue = deque(seen - self._compatible)
        while queue:
            p, q = queue.popleft()
            if p == q:
                continue
            if BOT != self._actions[p] != self._actions[q] != BOT:
                return True
            small, large = sorted((self._rows[p], self._rows[q]), key=len)
            for symbol, target in small.items():
                if symbol in large:
                    other = large[symbol]
                    pair = (target, other) if target < other else (other, target)
                    if pair not in seen and pair not in self._compatible:
                        seen.add(pair)
                        queue.append(pair)
        self._compatible |= seen
        return False


def deterministic_rows(machine: MooreMachine) -> list[dict[int, int]]:
    """Return for each state its successors by symbol, symbols with a conflict left out."""
    rows: list[dict[int, int]] = [{} for _ in machine.actions]
    clear = ~conflict_flags(machine)
    edges = (machine.sources[clear], machine.symbols[clear], machine.targets[clear])
    for source, symbol, target in zip(*(column.tolist() for column in edges), strict=True):
        rows[source][symbol] = target
    return rows


def incompatibility(machine: MooreMachine) -> Flags | None:
    """Return (S, S) flags: True where two states are incompatible; None where the machine is too large for a matrix.

    Only pairs of transitions that share a symbol are looked at. Time and memory O(S^2 + such pairs).
    """
    n = len(machine.actions)
    pairs = _transition_pairs(machine) if n <= MAX_STATES else None
    if pairs is None:
        return None
    parents, children = pairs
    spoken = machine.actions != BOT
    apart: Flags = (machine.actions[:, None] != machine.actions[None, :]) & spoken[:, None] & spoken[None, :]
    flat = apart.reshape(-1)
    new = _fresh(parents[flat[children]], flat)
    order = np.argsort(children, kind="stable")
    children, parents = children[order], parents[order]
    while len(new):
        flat[new] = True
        flat[(new % n) * n + new // n] = True
        # Every pair of transitions is listed for one order of its states only, so both orders of a new pair are looked
        # up.
        both = np.concatenate([new, (new % n) * n + new // n])
        low, high = np.searchsorted(children, both), np.searchsorted(children, both, side="right")
        new = _fresh(parents[_ranges(low, high)], flat)
    apart |= apart.T
    return apart


def _transition_pairs(machine: MooreMachine) -> tuple[Counts, Counts] | None:
    """Return (parent, child) keys `p * S + q` of all pairs of transitions that share a symbol but not a target."""
    n = len(machine.actions)
    clear = ~conflict_flags(machine)
    order = np.argsort(machine.symbols[clear], kind="stable")
    sources, targets = (a[clear][order].astype(np.int64) for a in (machine.sources, machine.targets))
    sizes = np.bincount(machine.symbols[clear], minlength=machine.n_symbols)
    if int((sizes * (sizes - 1) // 2).sum()) > MAX_PAIRS:
        return None
    ends = np.repeat(np.cumsum(sizes), sizes)
    firsts = np.arange(len(sources))
    left = np.repeat(firsts, ends - firsts - 1)
    right = _ranges(firsts + 1, ends)
    keep = targets[left] != targets[right]
    left, right = left[keep], right[keep]
    return sources[left] * n + sources[right], targets[left] * n + targets[right]


def _fresh(keys: Counts, known: Flags) -> Counts:
    """Return those of `keys` that are not `known` yet, each once; by flags where that is cheaper than sorting."""
    keys = keys[~known[keys]]
    if 32 * len(keys) > len(known):
        flags = np.zeros(len(known), dtype=np.bool_)
        flags[keys] = True
        return np.flatnonzero(flags)
    keys = np.sort(keys)
    distinct: Counts = keys[np.concatenate([keys[:1] >= 0, keys[1:] != keys[:-1]])]
    return distinct


def _ranges(low: Counts, high: Counts) -> Counts:
    """Return the concatenation of `range(low[i], high[i])` over all i."""
    lengths = np.maximum(high - low, 0)
    total = int(lengths.sum())
    starts = np.repeat(low - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    result: Counts = starts + np.arange(total)
    return result


def greedy_clique(apart: Flags, *, among: Ids) -> list[int]:
    """Return states of `among` that are pairwise incompatible: a lower bound for any machine with the same words.

    Grown greedily from the states with most incompatible partners, the best of a few starts; ties go to the smaller id.
    """
    if not len(among):
        return []
    degree = apart[np.ix_(among, among)].sum(axis=1)
    ranked = among[np.argsort(-degree, kind="stable")]
    best: list[int] = []
    for head in ranked[:16].tolist():
        clique, open_ = [head], apart[head]
        for state in ranked.tolist():
            if open_[state]:
                clique.append(state)
                open_ = open_ & apart[state]
        if len(clique) > len(best):
            best = clique
    return sorted(best)
