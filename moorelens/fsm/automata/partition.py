"""Partitions of states: the coarsest stable refinement, and the machine with each block made one state."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from moorelens.errors import InvariantError
from moorelens.fsm.automata.canonical import code_ranks
from moorelens.fsm.automata.machine import BOT, Ids, MooreMachine
from moorelens.fsm.automata.structure import merge_transitions, row_offsets

# Machines made by chance are stable after a handful of rounds of O(E) array work each; long chains need one round a
# state, and for them Hopcroft's O(E log S) takes over (measured in benchmarks/automata_speed.py).
ROUNDS = 24


def refine(machine: MooreMachine, *, initial: npt.ArrayLike, rounds: int = ROUNDS) -> Ids:
    """Return (S,) the coarsest refinement of the partition `initial` (S,) that is stable under all symbols.

    Two states share a block iff they did initially, the same symbols are defined at both, and each leads both to the
    same block (with conflicts: to the same set of blocks). Undefined counts as a value of its own. Blocks are numbered
    by their first state. Time O(E log S) after at most `rounds` rounds of O(E).
    """
    blocks = number_blocks(np.asarray(initial).tolist())
    if not machine.n_transitions:
        return blocks
    deterministic = machine.n_conflicts == 0
    offsets = row_offsets(machine)
    if deterministic:
        blocks = _split(blocks, machine.symbols, offsets)
    else:
        blocks = _split_sets(blocks, machine, np.zeros_like(machine.targets))
    for _ in range(rounds):
        labels = blocks[machine.targets]
        finer = _split(blocks, labels, offsets) if deterministic else _split_sets(blocks, machine, labels)
        if finer.max() == blocks.max():
            return blocks
        blocks = finer
    return _hopcroft(machine, blocks, both_halves=not deterministic)


def number_blocks(keys: Sequence[object]) -> Ids:
    """Return the block of each key, equal keys alike, numbered in order of first appearance."""
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.fromiter(map(numbers.__getitem__, keys), dtype=np.int32, count=len(keys))


def _split(blocks: Ids, labels: Ids, offsets: npt.NDArray[np.int64]) -> Ids:
    """Split blocks by the sequence of `labels` (E,) on the row of each state."""
    width = int(offsets[1])
    if width and np.array_equal(offsets, np.arange(len(offsets)) * width):
        # Rows of one length, as in complete machines: each is one text of fixed length, made without a loop.
        rows = np.column_stack([blocks, labels.reshape(-1, width)]).astype(np.int32, copy=False)
        return number_blocks(rows.view(f"S{4 * (width + 1)}").ravel().tolist())
    data = np.ascontiguousarray(labels, dtype=np.int32).tobytes()
    cuts = (4 * offsets).tolist()
    texts = (data[low:high] for low, high in itertools.pairwise(cuts))
    return number_blocks(list(zip(blocks.tolist(), texts, strict=True)))


def _split_sets(blocks: Ids, machine: MooreMachine, labels: Ids) -> Ids:
    """Split blocks by the set of (symbol, label) on the row of each state."""
    rows = np.unique(np.stack([machine.sources, machine.symbols, labels], axis=1), axis=0)
    cuts = np.searchsorted(rows[:, 0], np.arange(len(blocks) + 1))
    data, cuts = np.ascontiguousarray(rows[:, 1:], dtype=np.int32).tobytes(), 8 * cuts
    keys = [data[low:high] for low, high in zip(cuts.tolist(), cuts[1:].tolist(), strict=False)]
    return number_blocks(list(zip(blocks.tolist(), keys, strict=True)))


def _hopcroft(machine: MooreMachine, blocks: Ids, *, both_halves: bool) -> Ids:
    """Refine `blocks`, in each of which the same symbols are defined, until stable (hopcroft1971nlogn).

    A splitter is a block with all its incoming symbols at once. After a split only the smaller half must be used as a
    splitter again; with conflicts a preimage does not determine the other one, so both are.
    """
    incoming: list[list[tuple[int, int]]] = [[] for _ in blocks]
    rows = zip(machine.sources.tolist(), machine.symbols.tolist(), machine.targets.tolist(), strict=True)
    for source, symbol, target in rows:
        incoming[target].append((symbol, source))
    block = blocks.tolist()
    members: list[set[int]] = [set() for _ in range(max(block) + 1)]
    for state, number in enumerate(block):
        members[number].add(state)
    waiting = set(range(len(members)))
    while waiting:
        preimages: dict[int, set[int]] = defaultdict(set)
        for state in members[waiting.pop()]:
            for symbol, source in incoming[state]:
                preimages[symbol].add(source)
        for preimage in preimages.values():
            touched: dict[int, list[int]] = defaultdict(list)
            for state in preimage:
                touched[block[state]].append(state)
            for number, inside in touched.items():
                if len(inside) == len(members[number]):
                    continue
                _move(inside, number, block=block, members=members)
                new = len(members) - 1
                if both_halves:
                    waiting.update((number, new))
                elif number in waiting or len(members[new]) <= len(members[number]):
                    waiting.add(new)
                else:
                    waiting.add(number)
    return number_blocks(block)


def _move(states: list[int], number: int, *, block: list[int], members: list[set[int]]) -> None:
    members[number].difference_update(states)
    for state in states:
        block[state] = len(members)
    members.append(set(states))


def quotient(machine: MooreMachine, *, blocks: Ids) -> MooreMachine:
    """Return the machine whose states are `blocks` (S,), numbered 0..B-1; counts, visits and endings are added up.

    States in block -1 are left out; no other state may lead to them.

    A block emits the action of its members (any if all are silent) and takes the code of its most visited member, ties
    to the smaller code. Raises InvariantError where members emit two actions or the start shares its block.
    """
    n = int(blocks.max()) + 1
    inside = blocks >= 0
    if np.count_nonzero(blocks == blocks[machine.start]) != 1:
        raise InvariantError("The silent start must stay a block of its own, but was merged with a state.")
    actions = np.full(n, BOT, dtype=np.int32)
    spoken = (machine.actions != BOT) & inside
    actions[blocks[spoken]] = machine.actions[spoken]
    if np.any(actions[blocks[spoken]] != machine.actions[spoken]):
        raise InvariantError("A block of states must emit one action, but states with two actions were merged.")
    used = inside[machine.sources]
    edges = merge_transitions(
        blocks[machine.sources[used]],
        machine.symbols[used],
        blocks[machine.targets[used]],
        machine.counts[used],
        machine.origins[used],
    )
    kept = blocks[inside]
    return replace(
        machine,
        state_codes=machine.state_codes[_representatives(machine, blocks, n)],
        actions=actions,
        visits=_sums(kept, machine.visits[inside], n),
        terminals=_sums(kept, machine.terminals[inside], n),
        truncations=_sums(kept, machine.truncations[inside], n),
        start=int(blocks[machine.start]),
        **edges,
    )


def _sums(blocks: Ids, values: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    result = np.zeros(n, dtype=np.int64)
    np.add.at(result, blocks, values)
    return result


def _representatives(machine: MooreMachine, blocks: Ids, n: int) -> Ids:
    ranked = np.lexsort((code_ranks(machine.state_codes), -machine.visits))[::-1]
    ranked = ranked[blocks[ranked] >= 0]
    best = np.empty(n, dtype=np.int32)
    # Of several values for one place numpy keeps the last, which is the best ranked.
    best[blocks[ranked]] = ranked
    return best
