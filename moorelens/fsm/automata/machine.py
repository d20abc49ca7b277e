"""The machine itself: states, symbols and counted transitions as read-only arrays, validated once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.errors import RequestError

BOT = -1
OBSERVED = 0
NETWORK = 1

Codes = npt.NDArray[np.int8]
Ids = npt.NDArray[np.int32]
Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_DTYPES: dict[str, type[np.integer[Any]]] = {
    "state_codes": np.int8,
    "symbol_codes": np.int8,
    "actions": np.int32,
    "visits": np.int64,
    "terminals": np.int64,
    "truncations": np.int64,
    "sources": np.int32,
    "symbols": np.int32,
    "targets": np.int32,
    "counts": np.int64,
    "origins": np.uint8,
}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MooreMachine:
    """A partial Moore machine with counts; S states, O symbols, E transitions, A actions, and ids are positions.

    The action is emitted *after* the symbol: `state = successor(state, symbol)`, then `actions[state]`. The start is
    silent (its action is `BOT`), no transition leads to it, and it is not counted as a state (spec-fsm 4.5).

    Fields:
        state_codes: (S, K) int8, the quantised state a state stands for; the start keeps the code it begins in.
        symbol_codes: (O, L) int8, the quantised observation a symbol stands for; all different.
        actions: (S,) int32, position in `action_names`, or `BOT` for "no action, or any".
        visits: (S,) int64, times the state was entered; of the start, the number of episodes.
        terminals, truncations: (S,) int64, episodes that ended there by the task, or by a time limit.
        sources, symbols, targets: (E,) int32, sorted by (source, symbol, target), no triple twice.
        counts: (E,) int64, times the transition was taken; 0 where it was never seen but is known.
        origins: (E,) uint8, `OBSERVED` or `NETWORK` (asked of the network, never recorded; its count is 0).
        start: id of the silent start.
        action_names: (A,) names for people.
        meta: facts about where the machine comes from, JSON-able.

    Two transitions with the same (source, symbol) are a conflict: kept, counted, never overwritten (spec-fsm 4.3).
    Raises RequestError where the arrays contradict each other.
    """

    state_codes: Codes
    symbol_codes: Codes
    actions: Ids
    visits: Counts
    terminals: Counts
    truncations: Counts
    sources: Ids
    symbols: Ids
    targets: Ids
    counts: Counts
    origins: npt.NDArray[np.uint8]
    start: int
    action_names: tuple[str, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            object.__setattr__(self, name, frozen_array(getattr(self, name), dtype=dtype, name=name))
        object.__setattr__(self, "action_names", tuple(self.action_names))
        object.__setattr__(self, "meta", dict(self.meta))
        object.__setattr__(self, "start", int(self.start))
        _check_shapes(self)
        _check_states(self)
        _check_transitions(self)

    @property
    def n_states(self) -> int:
        """Number of states, the silent start not counted."""
        return len(self.actions) - 1

    @property
    def n_symbols(self) -> int:
        """Number of known symbols."""
        return len(self.symbol_codes)

    @property
    def n_transitions(self) -> int:
        """Number of (source, symbol, target) triples."""
        return len(self.sources)

    @property
    def n_conflicts(self) -> int:
        """Number of (state, symbol) pairs with two or more successors."""
        same = (self.sources[1:] == self.sources[:-1]) & (self.symbols[1:] == self.symbols[:-1])
        first = np.concatenate([[False], same[:-1]]) if len(same) else same
        return int(np.sum(same & ~first))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MooreMachine):
            return NotImplemented
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return (
            f"MooreMachine({self.n_states} states, {self.n_symbols} symbols, "
            f"{self.n_transitions} transitions, {self.n_conflicts} conflicts)"
        )

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        from moorelens.fsm.automata.notebook import mimebundle

        return mimebundle(self)


def frozen_array(values: npt.ArrayLike, *, dtype: type[np.generic], name: str) -> npt.NDArray[Any]:
    """Return a read-only copy of `values` as `dtype`; RequestError where a value would change in the conversion."""
    array = np.asarray(values)
    if array.dtype == dtype:
        result = array.copy()
    else:
        with np.errstate(invalid="ignore"):
            result = array.astype(dtype) if array.dtype.kind in "biuf" else np.empty(0, dtype)
        if array.size and (result.shape != array.shape or not np.array_equal(result, array)):
            raise RequestError(
                f"{name} must hold whole numbers that fit {np.dtype(dtype).name}, but holds {array.dtype} values "
                "that do not; convert them before building the machine."
            )
        result = result.reshape(array.shape)
    result.setflags(write=False)
    return result


def strictly_sorted(*columns: npt.NDArray[np.integer[Any]]) -> bool:
    """Say whether rows of columns (N,) rise in lexicographic order, so that none stands there twice."""
    rises = np.zeros(max(len(columns[0]) - 1, 0), dtype=np.bool_)
    ties = ~rises
    for column in columns:
        rises |= ties & (column[1:] > column[:-1])
        ties &= column[1:] == column[:-1]
    return bool(rises.all())


def _same(a: object, b: object) -> bool:
    return np.array_equal(a, b) if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) else a == b


def _require(holds: bool | np.bool_, message: str) -> None:
    if not holds:
        raise RequestError(message)


def _check_shapes(m: MooreMachine) -> None:
    n_states, n_edges = m.actions.shape[:1], m.sources.shape[:1]
    for name in ("state_codes", "symbol_codes"):
        _require(
            getattr(m, name).ndim == 2, f"{name} must be a table with one row of digits each; its shape is not 2-D."
        )
    for name in ("actions", "visits", "terminals", "truncations"):
        _require(getattr(m, name).shape == n_states != (), f"{name} must hold one number for each of the states.")
    for name in ("sources", "symbols", "targets", "counts", "origins"):
        _require(getattr(m, name).shape == n_edges != (), f"{name} must hold one number for each of the transitions.")
    _require(len(m.state_codes) == n_states[0], "state_codes must hold one code for each of the states.")
    for name in ("action_names",):
        _require(all(isinstance(a, str) for a in m.action_names), f"{name} must be strings.")


def _check_states(m: MooreMachine) -> None:
    n = len(m.actions)
    _require(0 <= m.start < n, f"The start must be one of the {n} states, but it is {m.start}.")
    outside = np.flatnonzero((m.actions < BOT) | (m.actions >= len(m.action_names)))
    _require(
        not outside.size,
        f"Every action must be one of the {len(m.action_names)} names or BOT, but state "
        f"{outside[0] if outside.size else 0} has action {m.actions[outside[0]] if outside.size else 0}.",
    )
    _require(
        m.actions[m.start] == BOT,
        f"The start must be silent, but state {m.start} has an action; build the machine with from_edges, "
        "which adds a silent start.",
    )
    for name in ("visits", "terminals", "truncations"):
        _require(np.all(getattr(m, name) >= 0), f"{name} must not be negative.")
    _require(
        len(_rows(m.symbol_codes)) == m.n_symbols, "Two symbols have the same code, so neither could be recognised."
    )


def _check_transitions(m: MooreMachine) -> None:
    for name, limit in (("sources", len(m.actions)), ("symbols", m.n_symbols), ("targets", len(m.actions))):
        values = getattr(m, name)
        wrong = np.flatnonzero((values < 0) | (values >= limit))
        if wrong.size:
            raise RequestError(
                f"A transition may only name known states and symbols, but transition {wrong[0]} has {name[:-1]} "
                f"{values[wrong[0]]} of {limit}; the machine is cut short or its parts come from different machines."
            )
    entering = np.flatnonzero(m.targets == m.start)
    _require(not entering.size, "No transition may lead to the silent start; build the machine with from_edges.")
    _require(np.all(m.counts >= 0), "counts must not be negative.")
    _require(np.all(m.origins <= NETWORK), "origins must be OBSERVED (0) or NETWORK (1).")
    _require(
        not np.any(m.counts[m.origins == NETWORK]), "A transition that was only asked of the network has no count."
    )
    _require(
        strictly_sorted(m.sources, m.symbols, m.targets),
        "Transitions must be sorted by (source, symbol, target) with none twice; build the machine with from_edges.",
    )


def _rows(codes: Codes) -> set[bytes]:
    width = codes.shape[1]
    data = codes.tobytes()
    return {data[i * width : (i + 1) * width] for i in range(len(codes))}
