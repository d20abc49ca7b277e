"""The graph behind a machine: rows, successors, conflicts, reachability and cycles, as arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.fsm.automata.machine import Counts, Flags, Ids, MooreMachine


def row_offsets(machine: MooreMachine) -> Counts:
    """Return (S + 1,) offsets: the transitions of state s are `offsets[s]:offsets[s + 1]`."""
    return np.searchsorted(machine.sources, np.arange(len(machine.actions) + 1)).astype(np.int64)


def conflict_flags(machine: MooreMachine) -> Flags:
    """Return (E,) flags: True where another transition has the same source and symbol."""
    same = (machine.sources[1:] == machine.sources[:-1]) & (machine.symbols[1:] == machine.symbols[:-1])
    flags = np.zeros(machine.n_transitions, dtype=np.bool_)
    flags[1:] |= same
    flags[:-1] |= same
    return flags


def distinct_pairs(sources: Ids, targets: Ids) -> tuple[Ids, Ids]:
    """Return the distinct (source, target) pairs, sorted."""
    if not len(sources):
        return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32)
    order = np.lexsort((targets, sources))
    firsts, seconds = sources[order], targets[order]
    new = np.concatenate([[True], (firsts[1:] != firsts[:-1]) | (seconds[1:] != seconds[:-1])])
    return firsts[new], seconds[new]


def only_successors(n: int, sources: Ids, targets: Ids) -> Ids:
    """Return (n,) the successor of each node that has exactly one, else -1; pairs must be distinct."""
    single = np.full(n, -1, dtype=np.int32)
    single[sources] = targets
    single[np.bincount(sources, minlength=n) != 1] = -1
    return single


def merge_transitions(
    sources: Ids, symbols: Ids, targets: Ids, counts: npt.NDArray[np.int64], origins: npt.NDArray[np.uint8]
) -> dict[str, Any]:
    """Return transition arrays with equal (source, symbol, target) made one; observed wins over network."""
    if not len(sources):
        return {"sources": sources, "symbols": symbols, "targets": targets, "counts": counts, "origins": origins}
    order = np.lexsort((targets, symbols, sources))
    rows = np.stack([sources, symbols, targets])[:, order]
    firsts = np.flatnonzero(np.concatenate([[True], np.any(rows[:, 1:] != rows[:, :-1], axis=0)]))
    return {
        "sources": rows[0, firsts],
        "symbols": rows[1, firsts],
        "targets": rows[2, firsts],
        "counts": np.add.reduceat(counts[order], firsts),
        "origins": np.minimum.reduceat(origins[order], firsts),
    }


def reachable(machine: MooreMachine) -> Flags:
    """Return (S,) flags: True where a state can be reached from the start. Time O(S + E)."""
    offsets = row_offsets(machine).tolist()
    targets = machine.targets.tolist()
    seen = np.zeros(len(machine.actions), dtype=np.bool_)
    seen[machine.start] = True
    stack = [machine.start]
    while stack:
        state = stack.pop()
        for target in targets[offsets[state] : offsets[state + 1]]:
            if not seen[target]:
                seen[target] = True
                stack.append(target)
    return seen


def restrict(machine: MooreMachine, *, keep: Flags) -> tuple[MooreMachine, Ids]:
    """Return the machine on the states where `keep` (S,) is True, and the new id (S,) of each state or -1.

    The start must be kept; symbols stay as they are, even those that no transition uses any more.
    """
    if keep.all():
        return machine, np.arange(len(keep), dtype=np.int32)
    mapping = np.where(keep, np.cumsum(keep) - 1, -1).astype(np.int32)
    edges = keep[machine.sources] & keep[machine.targets]
    small = replace(
        machine,
        state_codes=machine.state_codes[keep],
        actions=machine.actions[keep],
        visits=machine.visits[keep],
        terminals=machine.terminals[keep],
        truncations=machine.truncations[keep],
        sources=mapping[machine.sources[edges]],
        symbols=machine.symbols[edges],
        targets=mapping[machine.targets[edges]],
        counts=machine.counts[edges],
        origins=machine.origins[edges],
        start=int(mapping[machine.start]),
    )
    return small, mapping


def components(n: int, sources: Ids, targets: Ids) -> Ids:
    """Return (n,) the strongly connected component of each node; a component is numbered after all it leads to.

    Tarjan's algorithm with an explicit stack, O(n + pairs).
    """
    order = np.argsort(sources, kind="stable")
    heads = targets[order].tolist()
    offsets = np.searchsorted(sources[order], np.arange(n + 1)).tolist()
    index, low, found = [-1] * n, [0] * n, [-1] * n
    stack: list[int] = []
    numbered = components_found = 0
    for root in range(n):
        if index[root] >= 0:
            continue
        work = [(root, offsets[root])]
        while work:
            node, edge = work.pop()
            if index[node] < 0:
                index[node] = low[node] = numbered
                numbered += 1
                stack.append(node)
            deeper = False
            while edge < offsets[node + 1]:
                head = heads[edge]
                if index[head] < 0:
                    work.extend([(node, edge), (head, offsets[head])])
                    deeper = True
                    break
                if found[head] < 0:
                    low[node] = min(low[node], low[head])
                edge += 1
            if deeper:
                continue
            if low[node] == index[node]:
                _close(stack, found, node=node, number=components_found)
                components_found += 1
    return np.asarray(found, dtype=np.int32)


def _close(stack: list[int], found: list[int], *, node: int, number: int) -> None:
    while True:
        member = stack.pop()
        found[member] = number
        if member == node:
            return


def on_cycle(n: int, sources: Ids, targets: Ids) -> Flags:
    """Return (n,) flags: True where a node lies on a cycle, a self-loop included."""
    component = components(n, sources, targets)
    flags = np.bincount(component, minlength=n)[component] > 1
    flags[sources[sources == targets]] = True
    return flags


def closure(n: int, sources: Ids, targets: Ids, *, seeds: Flags) -> Flags:
    """Return (n,) flags: True where a node is a seed or can be reached from one."""
    order = np.argsort(sources, kind="stable")
    heads = targets[order].tolist()
    offsets = np.searchsorted(sources[order], np.arange(n + 1)).tolist()
    seen = seeds.copy()
    stack = np.flatnonzero(seeds).tolist()
    while stack:
        node = stack.pop()
        for head in heads[offsets[node] : offsets[node + 1]]:
            if not seen[head]:
                seen[head] = True
                stack.append(head)
    return seen
