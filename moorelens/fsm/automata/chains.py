"""Chains and loops: which states a run always passes one after the other (reductions R3 and R4, spec-fsm 6.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moorelens.fsm.automata.machine import Flags, Ids, MooreMachine
from moorelens.fsm.automata.reduced import ChainMode
from moorelens.fsm.automata.structure import distinct_pairs, only_successors


def find_chains(machine: MooreMachine, *, mode: ChainMode = "same_action", allow_exit: bool = False) -> list[list[int]]:
    """Return the maximal chains of `machine`, every state in exactly one, in the order of their first states.

    State s is followed by t in a chain iff t is the only successor of s, s is the only predecessor of t (the start
    counts as one), s is not t, no episode ends by the task at s (unless `allow_exit`), and, in mode `same_action`, both
    emit the same action (a silent start goes with any). So a decision can only be last, and a meeting point only first.
    """
    follow = _links(machine, mode=mode, allow_exit=allow_exit)
    followed = np.zeros(len(follow), dtype=np.bool_)
    followed[follow[follow >= 0]] = True
    chains = [_walk(follow, head) for head in np.flatnonzero(~followed).tolist()]
    rest = np.ones(len(follow), dtype=np.bool_)
    rest[[s for chain in chains for s in chain]] = False
    # What remains is closed cycles that nothing enters; they are broken at their first-visited state.
    for state in np.flatnonzero(rest).tolist():
        if rest[state]:
            cycle = _walk(follow, state)
            rest[cycle] = False
            chains.append(cycle)
    return sorted(chains)


def fold_loops(
    machine: MooreMachine, chains: Sequence[Sequence[int]], *, allow_exit: bool = False
) -> tuple[list[list[int]], list[bool]]:
    """Join the chains that form a closed cycle with a single entry into one, from its entry on; say which are loops.

    A cycle that nothing enters is broken at its first-visited state. A cycle inside which an episode ended by the task
    stays apart unless `allow_exit`, except for an end at its last state. Returns `(chains, loops)` in order of first
    state.
    """
    n = len(chains)
    place = np.empty(len(machine.actions), dtype=np.int32)
    for number, chain in enumerate(chains):
        place[list(chain)] = number
    last = np.zeros(len(place), dtype=np.bool_)
    last[[chain[-1] for chain in chains]] = True
    leaving = last[machine.sources]
    sources, targets = distinct_pairs(place[machine.sources[leaving]], place[machine.targets[leaving]])
    cycles = _closed_cycles(only_successors(n, sources, targets))
    joined: list[tuple[list[int], bool]] = []
    used: set[int] = set()
    for cycle in cycles:
        entry = _single_entry(cycle, sources, targets)
        if entry is None:
            continue
        turn = cycle.index(entry)
        members = [s for number in cycle[turn:] + cycle[:turn] for s in chains[number]]
        if allow_exit or not np.any(machine.terminals[members[:-1]]):
            joined.append((members, True))
            used.update(cycle)
    joined += [(list(chain), False) for number, chain in enumerate(chains) if number not in used]
    joined.sort()
    return [members for members, _ in joined], [loop for _, loop in joined]


def _links(machine: MooreMachine, *, mode: ChainMode, allow_exit: bool) -> Ids:
    n = len(machine.actions)
    sources, targets = distinct_pairs(machine.sources, machine.targets)
    follow = only_successors(n, sources, targets)
    single_entry = np.bincount(targets, minlength=n) == 1
    states = np.arange(n)
    ok = (follow >= 0) & (follow != states)
    ok[ok] &= single_entry[follow[ok]]
    if not allow_exit:
        ok &= machine.terminals == 0
    if mode == "same_action":
        ok[ok] &= (machine.actions[follow[ok]] == machine.actions[ok]) | (states[ok] == machine.start)
    return np.where(ok, follow, -1).astype(np.int32)


def _walk(follow: Ids, head: int) -> list[int]:
    chain = [head]
    state = int(follow[head])
    while state >= 0 and state != head:
        chain.append(state)
        state = int(follow[state])
    return chain


def _closed_cycles(follow: Ids) -> list[list[int]]:
    colour = np.zeros(len(follow), dtype=np.int64)
    cycles = []
    for number, root in enumerate(range(len(follow)), start=1):
        node = root
        while node >= 0 and not colour[node]:
            colour[node] = number
            node = int(follow[node])
        if node >= 0 and colour[node] == number:
            cycles.append(_walk(follow, node))
    return cycles


def _single_entry(cycle: list[int], sources: Ids, targets: Ids) -> int | None:
    inside: Flags = np.zeros(int(max(sources.max(), targets.max())) + 1, dtype=np.bool_)
    inside[cycle] = True
    entries = np.unique(targets[inside[targets] & ~inside[sources]])
    if len(entries) > 1:
        return None
    return int(entries[0]) if len(entries) else min(cycle)
