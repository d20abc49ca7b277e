"""Running machines step by step, many rows at once: a machine by its states, a reduced one by its own positions.

Letters: b rows, P positions, O symbols, L digits of a symbol code, E transitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from moorelens.errors import OptionError
from moorelens.fsm.automata.codes import as_codes, code_keys, nearest
from moorelens.fsm.automata.machine import BOT, OBSERVED, Codes, Counts, Flags, Ids, MooreMachine
from moorelens.fsm.automata.reduced import ReducedMachine


@dataclass(frozen=True, kw_only=True, eq=False)
class Stepper:
    """A machine compiled for running: one successor for each defined (position, symbol).

    Fields:
        keys: (E,) int64, `position * O + symbol`, sorted, each once. targets: (E,) position reached.
        weights: (E,) int64, times taken. recorded: (E,) bool, False where the transition was only asked of the network.
        actions: (P,) action emitted at a position. origin: position of the silent start.
        symbol_codes: (O, L). known: symbol by the bytes of its code. symbol_weights: (O,) times each was read.
    """

    keys: Counts
    targets: Ids
    weights: Counts
    recorded: Flags
    actions: Ids
    origin: int
    symbol_codes: Codes
    known: Mapping[bytes, int]
    symbol_weights: Counts
    # Fallbacks already looked up: pure functions of the machine, kept because episodes ask for the same few again.
    _fallback: dict[int, int] = field(default_factory=dict, repr=False)
    _nearest: dict[bytes, int] = field(default_factory=dict, repr=False)

    def start(self, n: int) -> Ids:
        """Return the positions (n,) of n runs before their first symbol."""
        return np.full(n, self.origin, dtype=np.int32)

    def recognise(self, codes: npt.ArrayLike) -> tuple[Ids, Flags]:
        """Return the symbol (b,) of each code (b, L), and whether it is known (b,).

        An unknown code is taken for the nearest symbol by Hamming distance; ties go to the symbol read more often, then
        to the smaller id (design, "Who plays").
        """
        rows = as_codes(codes, name="symbol codes")
        if rows.shape[1] != self.symbol_codes.shape[1]:
            raise OptionError(
                f"Symbol codes of this machine have {self.symbol_codes.shape[1]} digits, not {rows.shape[1]}; "
                "they come from another observation quantiser."
            )
        keys = code_keys(rows)
        known = self.known
        for i, key in enumerate(keys):
            if key not in known and key not in self._nearest:
                found = nearest(rows[i : i + 1], among=self.symbol_codes, weights=self.symbol_weights)
                self._nearest[key] = int(found[0])
        symbols = [known[key] if key in known else self._nearest[key] for key in keys]
        return np.array(symbols, dtype=np.int32), np.array([key in known for key in keys], dtype=np.bool_)

    def step(self, positions: Ids, symbols: Ids) -> tuple[Ids, Ids, Flags]:
        """Read one symbol (b,) in each position (b,); return new positions, actions, and whether a recorded
        transition decided (b,).

        Where (position, symbol) is undefined, the nearest symbol defined at that position is read instead (Hamming on
        codes; ties to the transition taken more often, then to the smaller id); where none is, the run stays.
        """
        asked = positions.astype(np.int64) * len(self.symbol_codes) + symbols
        found = np.searchsorted(self.keys, asked)
        hit = np.zeros(len(asked), dtype=np.bool_)
        inside = found < len(self.keys)
        hit[inside] = self.keys[found[inside]] == asked[inside]
        reached = np.empty(len(asked), dtype=np.int32)
        reached[hit] = self.targets[found[hit]]
        reached[~hit] = [self._fall_back(int(key)) for key in asked[~hit]]
        decided = hit.copy()
        decided[hit] = self.recorded[found[hit]]
        return reached, self.actions[reached], decided

    def _fall_back(self, key: int) -> int:
        if key not in self._fallback:
            n_symbols = len(self.symbol_codes)
            position, symbol = divmod(key, n_symbols)
            low, high = np.searchsorted(self.keys, [position * n_symbols, (position + 1) * n_symbols])
            reached = position
            if high > low:
                defined = self.symbol_codes[self.keys[low:high] - position * n_symbols]
                code = self.symbol_codes[symbol : symbol + 1]
                reached = int(self.targets[low + nearest(code, among=defined, weights=self.weights[low:high])[0]])
            self._fallback[key] = reached
        return self._fallback[key]


def compile_machine(machine: MooreMachine) -> Stepper:
    """Compile a machine; its positions are its states. A conflict is run by its most frequent successor, ties to the
    smallest id.

    Raises OptionError where the machine has no transition from its start, so that nothing can be run.
    """
    return _compile(
        sources=machine.sources,
        symbols=machine.symbols,
        targets=machine.targets,
        counts=machine.counts,
        recorded=machine.origins == OBSERVED,
        actions=machine.actions,
        start=machine.start,
        symbol_codes=machine.symbol_codes,
    )


def compile_reduced(reduced: ReducedMachine) -> Stepper:
    """Compile a reduced machine as the automaton it is; a position is a macro-state and a place in its word.

    Inside a word every symbol leads to the next place, as no other was ever seen there; at the last place the edges of
    the macro-state decide. Raises OptionError as `compile_machine` does.
    """
    lasts, firsts = reduced.offsets[1:] - 1, reduced.offsets[:-1]
    return _compile(
        sources=np.concatenate([reduced.step_places, lasts[reduced.sources]]),
        symbols=np.concatenate([reduced.step_symbols, reduced.symbols]),
        targets=np.concatenate([reduced.step_places + 1, firsts[reduced.targets]]),
        counts=np.concatenate([reduced.step_counts, reduced.counts]),
        recorded=np.concatenate([reduced.step_origins, reduced.origins]) == OBSERVED,
        actions=reduced.actions,
        start=int(firsts[reduced.start]),
        symbol_codes=reduced.symbol_codes,
    )


def _compile(
    *,
    sources: npt.NDArray[np.integer],
    symbols: Ids,
    targets: npt.NDArray[np.integer],
    counts: Counts,
    recorded: Flags,
    actions: Ids,
    start: int,
    symbol_codes: Codes,
) -> Stepper:
    if not np.any(sources == start):
        raise OptionError(
            "A machine without a transition from its start cannot be run: it was extracted from no steps."
        )
    keys = sources.astype(np.int64) * len(symbol_codes) + symbols
    order = np.lexsort((targets, -counts, keys))
    keys, firsts = np.unique(keys[order], return_index=True)
    chosen = order[firsts]
    read = np.zeros(len(symbol_codes), dtype=np.int64)
    np.add.at(read, symbols, counts)
    if np.any(actions[targets[chosen]] == BOT):
        state = int(targets[chosen][actions[targets[chosen]] == BOT][0])
        raise OptionError(f"A machine can only be run if its states have actions, but position {state} has none.")
    return Stepper(
        keys=keys,
        targets=targets[chosen].astype(np.int32),
        weights=counts[chosen],
        recorded=recorded[chosen],
        actions=actions,
        origin=start,
        symbol_codes=symbol_codes,
        known={key: i for i, key in enumerate(code_keys(symbol_codes))},
        symbol_weights=read,
    )
