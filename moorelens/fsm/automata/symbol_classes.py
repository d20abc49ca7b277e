"""Classes of symbols that a machine need not tell apart: strict (equal columns) and compatible (no column conflict)."""

from __future__ import annotations

import itertools

import numpy as np

from moorelens.fsm.automata.machine import Ids, MooreMachine


def strict_symbol_classes(machine: MooreMachine) -> Ids:
    """Return (O,) the class of each symbol; two symbols share one iff their columns are equal, undefined included.

    Spec-fsm 4.7. Classes are numbered by their first symbol. Time O(E log E), whatever O and S.
    """
    order = np.lexsort((machine.targets, machine.sources, machine.symbols))
    pairs = np.ascontiguousarray(np.stack([machine.sources, machine.targets], axis=1)[order])
    cuts = np.searchsorted(machine.symbols[order], np.arange(machine.n_symbols + 1)).tolist()
    data = pairs.tobytes()
    size = 2 * pairs.itemsize
    classes: dict[bytes, int] = {}
    columns = (data[low * size : high * size] for low, high in itertools.pairwise(cuts))
    return np.fromiter((classes.setdefault(c, len(classes)) for c in columns), dtype=np.int32, count=machine.n_symbols)
