"""The reduced machine as data: macro-states with their members in order, label sets, and maps to machine ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from moorelens.errors import RequestError
from moorelens.fsm.automata.machine import BOT, Codes, Counts, Flags, Ids, frozen_array, strictly_sorted

RECURRENT, TRANSIENT, ENDING = 0, 1, 2
TAGS: tuple[Literal["recurrent", "transient", "ending"], ...] = ("recurrent", "transient", "ending")
ChainMode = Literal["same_action", "sequence"]
Step = Literal["trim", "bisimulation", "edges", "classes", "chains", "loops", "tags"]

_DTYPES: dict[str, type[np.generic]] = {
    "members": np.int32,
    "offsets": np.int64,
    "loops": np.bool_,
    "tags": np.uint8,
    "state_codes": np.int8,
    "actions": np.int32,
    "visits": np.int64,
    "terminals": np.int64,
    "truncations": np.int64,
    "symbol_codes": np.int8,
    "symbol_classes": np.int32,
    "step_places": np.int32,
    "step_symbols": np.int32,
    "step_counts": np.int64,
    "step_origins": np.uint8,
    "sources": np.int32,
    "symbols": np.int32,
    "targets": np.int32,
    "counts": np.int64,
    "origins": np.uint8,
    "state_map": np.int32,
}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ReducedMachine:
    """A machine of M macro-states; P positions (a macro-state and a place in its word), O symbols, C symbol classes.

    Macro-state m is the positions `offsets[m]:offsets[m + 1]`: a run enters at the first, passes all in order, whatever
    the symbols, and leaves from the last (spec-fsm 6.3). A loop leads from its last position to its first and nowhere
    else.

    Fields:
        members: (P,) int32, the machine state at each position.
        offsets: (M + 1,) int64. loops: (M,) bool, closed cycles without a decision. tags: (M,) uint8, see `TAGS`.
        state_codes (P, K), actions (P,), visits (P,), terminals (P,), truncations (P,): of the state at each position.
        symbol_codes: (O, L) int8, the symbols of the machine. symbol_classes: (O,) int32, the class 0..C-1 of each.
        step_places, step_symbols, step_counts, step_origins: (R,), the labels inside a macro-state: with this symbol,
            position p went on to p + 1; sorted by (place, symbol).
        sources, symbols, targets, counts, origins: (E,), transitions between macro-states, by machine symbol; sorted by
            (source, symbol, target). `counts` and `origins` as in MooreMachine.
        start: macro-state whose first position is the silent start. action_names: (A,).
        state_map: (S,) int32, position of each machine state, -1 where it was trimmed. Two states share a position only
            after the optional bisimulation step.
        dwells: for a macro-state that can stay in itself, how often a stay had which length (visits in a row).
        steps: the reductions that were applied. mode: how chains were cut. meta: facts taken over from the machine.

    Raises RequestError where the arrays contradict each other.
    """

    members: Ids
    offsets: Counts
    loops: Flags
    tags: npt.NDArray[np.uint8]
    state_codes: Codes
    actions: Ids
    visits: Counts
    terminals: Counts
    truncations: Counts
    symbol_codes: Codes
    symbol_classes: Ids
    step_places: Ids
    step_symbols: Ids
    step_counts: Counts
    step_origins: npt.NDArray[np.uint8]
    sources: Ids
    symbols: Ids
    targets: Ids
    counts: Counts
    origins: npt.NDArray[np.uint8]
    start: int
    action_names: tuple[str, ...]
    state_map: Ids
    steps: tuple[Step, ...]
    mode: ChainMode = "same_action"
    dwells: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            object.__setattr__(self, name, frozen_array(getattr(self, name), dtype=dtype, name=name))
        for name in ("action_names", "steps"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "dwells", {int(m): dict(sorted(d.items())) for m, d in sorted(self.dwells.items())})
        object.__setattr__(self, "meta", dict(self.meta))
        _check_shapes(self)
        _check_places(self)
        _check_labels(self)

    @property
    def n_macros(self) -> int:
        """Number of macro-states, a start that holds nothing but the silent start included."""
        return len(self.offsets) - 1

    @property
    def n_states(self) -> int:
        """Number of macro-states that emit something: a start that holds only the silent start is not counted."""
        return self.n_macros - int(self.offsets[self.start + 1] - self.offsets[self.start] == 1)

    @property
    def n_symbols(self) -> int:
        """Number of symbol classes."""
        return int(self.symbol_classes.max(initial=-1)) + 1

    @property
    def n_edges(self) -> int:
        """Number of drawn edges: parallel transitions are one edge if the step `edges` was applied."""
        columns = [self.sources, self.targets] if "edges" in self.steps else [self.sources, self.symbols, self.targets]
        return len(np.unique(np.stack(columns, axis=1), axis=0)) if len(self.sources) else 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ReducedMachine):
            return NotImplemented
        mine, theirs = ([getattr(m, f.name) for f in fields(m)] for m in (self, other))
        return all(
            np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in zip(mine, theirs, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ReducedMachine({self.n_states} macro-states, {self.n_symbols} symbol classes, {self.n_edges} edges)"


def macro_of(reduced: ReducedMachine) -> Ids:
    """Return (P,) the macro-state of each position."""
    return np.repeat(np.arange(reduced.n_macros, dtype=np.int32), np.diff(reduced.offsets))


def members_of(reduced: ReducedMachine, macro: int) -> list[int]:
    """Return the machine states of a macro-state, in the order a run passes them."""
    return [int(s) for s in reduced.members[reduced.offsets[macro] : reduced.offsets[macro + 1]]]


def word_of(reduced: ReducedMachine, macro: int) -> list[tuple[int, int]]:
    """Return the word of a macro-state as (action, length) runs; the silent start contributes nothing to it."""
    low, high = int(reduced.offsets[macro]), int(reduced.offsets[macro + 1])
    letters = reduced.actions[low + (macro == reduced.start) : high].tolist()
    runs: list[tuple[int, int]] = []
    for letter in letters:
        again = bool(runs) and runs[-1][0] == letter
        runs[-1:] = [(letter, runs[-1][1] + 1)] if again else [*runs[-1:], (letter, 1)]
    return runs


def _require(holds: bool | np.bool_, message: str) -> None:
    if not holds:
        raise RequestError(message)


def _check_shapes(r: ReducedMachine) -> None:
    groups = (
        (len(r.members), ("actions", "visits", "terminals", "truncations", "state_codes")),
        (len(r.offsets) - 1, ("loops", "tags")),
        (len(r.symbol_codes), ("symbol_classes",)),
        (len(r.step_places), ("step_symbols", "step_counts", "step_origins")),
        (len(r.sources), ("symbols", "targets", "counts", "origins")),
    )
    for length, names in groups:
        for name in names:
            _require(len(getattr(r, name)) == length, f"{name} of a reduced machine must have {length} entries.")
    for name in _DTYPES:
        dimensions = 2 if name in ("state_codes", "symbol_codes") else 1
        _require(getattr(r, name).ndim == dimensions, f"{name} of a reduced machine has the wrong shape.")


def _check_places(r: ReducedMachine) -> None:
    _require(
        len(r.offsets) > 1 and r.offsets[0] == 0 and r.offsets[-1] == len(r.members) and np.all(np.diff(r.offsets) > 0),
        "The macro-states must hold all positions in order, at least one each.",
    )
    _require(0 <= r.start < r.n_macros, f"The start must be one of the {r.n_macros} macro-states, but is {r.start}.")
    _require(r.actions[r.offsets[r.start]] == BOT, "The first position of the start must be silent.")
    _require(_inside(r.actions, len(r.action_names), low=BOT), "Every action must be one of the action names.")
    _require(_inside(r.tags, len(TAGS)), "Every tag must be one of the known ones.")
    places = np.arange(len(r.members))
    _require(_inside(r.state_map, len(places), low=-1), "The state map must name positions, or -1.")
    _require(
        _inside(r.members, len(r.state_map)) and np.array_equal(r.state_map[r.members], places),
        "The state map must lead each member to its own position.",
    )


def _check_labels(r: ReducedMachine) -> None:
    n_symbols, n_places = len(r.symbol_codes), len(r.members)
    _require(_inside(r.symbol_classes, n_symbols), "Every symbol must have a class.")
    _require(_inside(r.step_places, n_places) and _inside(r.step_symbols, n_symbols), "A step names an unknown place.")
    _require(
        all(_inside(ids, r.n_macros) for ids in (r.sources, r.targets)) and _inside(r.symbols, n_symbols),
        "An edge may only name known macro-states and symbols.",
    )
    inner = np.setdiff1d(np.arange(n_places), r.offsets[1:] - 1)
    _require(
        np.array_equal(np.unique(r.step_places), inner),
        "Each position but the last of a macro-state needs the symbols that led on from it, and no other has them.",
    )
    _require(not np.any(r.targets == r.start), "No edge may lead to the start.")
    _require(np.all(r.loops[r.sources] <= (r.sources == r.targets)), "A loop may only lead to itself.")
    _require(strictly_sorted(r.step_places, r.step_symbols), "Steps must be sorted by place and symbol, none twice.")
    _require(
        strictly_sorted(r.sources, r.symbols, r.targets), "Edges must be sorted by source, symbol, target, none twice."
    )
    for counts, origins in ((r.step_counts, r.step_origins), (r.counts, r.origins)):
        _require(np.all(counts >= 0) and _inside(origins, 2), "Counts must not be negative, origins 0 or 1.")
    _require(
        all(np.all(getattr(r, n) >= 0) for n in ("visits", "terminals", "truncations")), "Visits are not negative."
    )


def _inside(ids: npt.NDArray[Any], limit: int, *, low: int = 0) -> bool:
    return not ids.size or bool(ids.min() >= low and ids.max() < limit)
