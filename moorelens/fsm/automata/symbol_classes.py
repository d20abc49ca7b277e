"""Classes of symbols that a machine need not tell apart: strict (equal columns) and compatible (no column conflict)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from moorelens.errors import OptionError
from moorelens.fsm.automata.canonical import code_ranks
from moorelens.fsm.automata.compatibility import greedy_clique
from moorelens.fsm.automata.machine import Counts, Flags, Ids, MooreMachine
from moorelens.fsm.automata.partition import number_blocks
from moorelens.fsm.automata.structure import merge_transitions

# The conflict graph is a matrix of one byte a pair of strict classes.
MAX_CLASSES = 20_000


@dataclass(frozen=True, kw_only=True, eq=False)
class SymbolColouring:
    """Classes (O,) of symbols in which no state leads two members to different successors.

    No colouring has fewer than `lower_bound` classes; `proven` where this one has just as many.
    """

    classes: Ids
    lower_bound: int
    proven: bool


def strict_symbol_classes(machine: MooreMachine) -> Ids:
    """Return (O,) the class of each symbol; two symbols share one iff their columns are equal, undefined included.

    Spec-fsm 4.7. Classes are numbered by their first symbol. Time O(E log E), whatever O and S.
    """
    order = np.lexsort((machine.targets, machine.sources, machine.symbols))
    pairs = np.ascontiguousarray(np.stack([machine.sources, machine.targets], axis=1)[order])
    cuts = np.searchsorted(machine.symbols[order], np.arange(machine.n_symbols + 1)).tolist()
    data = pairs.tobytes()
    size = 2 * pairs.itemsize
    return number_blocks([data[low * size : high * size] for low, high in pairwise(cuts)])


def compatible_symbol_classes(machine: MooreMachine) -> SymbolColouring:
    """Return few classes of symbols that never contradict each other; what is undefined may become anything.

    Two symbols are in conflict iff some state leads them to different successors; the conflict graph is coloured by
    DSATUR (brelaz1979methods), ties by degree, then by code. Spec-fsm 4.7. Classes are numbered by their first symbol.
    Raises OptionError for more than 20,000 strict classes. Time O(O^2 + sum of squared row lengths).
    """
    strict = strict_symbol_classes(machine)
    n = int(strict.max(initial=-1)) + 1
    if n > MAX_CLASSES:
        raise OptionError(
            f"Compatible symbol classes are searched among at most {MAX_CLASSES} strict classes, but there are {n}; "
            "use the strict ones."
        )
    ranks = np.full(n, machine.n_symbols, dtype=np.int64)
    np.minimum.at(ranks, strict, code_ranks(machine.symbol_codes))
    conflicts = _conflict_graph(machine, strict, n)
    colours = _dsatur(conflicts, ranks)
    classes = number_blocks(colours[strict].tolist())
    bound = len(greedy_clique(conflicts, among=np.argsort(ranks).astype(np.int32)))
    return SymbolColouring(classes=classes, lower_bound=bound, proven=bound == int(classes.max(initial=-1)) + 1)


def merge_symbols(machine: MooreMachine, *, classes: Ids) -> MooreMachine:
    """Return `machine` with one symbol for each class (O,), under the code of its most read member.

    Ties go to the smaller code; counts are added up. Members that lead a state to different successors become a
    conflict; neither kind of class above has any.
    """
    n = int(classes.max(initial=-1)) + 1
    read = np.zeros(machine.n_symbols, dtype=np.int64)
    np.add.at(read, machine.symbols, machine.counts)
    ranked = np.lexsort((code_ranks(machine.symbol_codes), -read))
    leaders = np.empty(n, dtype=np.int64)
    leaders[classes[ranked[::-1]]] = ranked[::-1]
    return replace(
        machine,
        symbol_codes=machine.symbol_codes[leaders],
        **merge_transitions(
            machine.sources, classes[machine.symbols], machine.targets, machine.counts, machine.origins
        ),
    )


def _conflict_graph(machine: MooreMachine, strict: Ids, n: int) -> Flags:
    """Return (n, n) flags: True where some state leads two strict classes to different (sets of) successors."""
    graph = np.zeros((n, n), dtype=np.bool_)
    rows: dict[int, dict[int, tuple[int, ...]]] = {}
    columns = (machine.sources, strict[machine.symbols], machine.targets)
    for source, symbol, target in zip(*(c.tolist() for c in columns), strict=True):
        row = rows.setdefault(source, {})
        ends = row.get(symbol, ())
        row[symbol] = ends if target in ends else tuple(sorted((*ends, target)))
    for row in rows.values():
        symbols = np.array(list(row))
        ends_of = number_blocks(list(row.values()))
        graph[np.ix_(symbols, symbols)] |= ends_of[:, None] != ends_of[None, :]
    return graph


def _dsatur(graph: Flags, ranks: Counts) -> Ids:
    """Colour the vertices of `graph` (n, n), most constrained first; ties by degree, then by rank (n,)."""
    n = len(graph)
    colours = np.full(n, -1, dtype=np.int32)
    taken: list[Flags] = []
    # One sortable key a vertex: colours seen among its neighbours, then degree, then the smaller rank.
    saturation = np.zeros(n, dtype=np.int64)
    tie = np.argsort(np.lexsort((-ranks, graph.sum(axis=1))))
    for _ in range(n):
        vertex = int(np.argmax(np.where(colours < 0, saturation * n + tie, -1)))
        colour = next((c for c, blocked in enumerate(taken) if not blocked[vertex]), len(taken))
        if colour == len(taken):
            taken.append(np.zeros(n, dtype=np.bool_))
        colours[vertex] = colour
        new = graph[vertex] & ~taken[colour]
        saturation[new] += 1
        taken[colour] |= new
    return colours
