"""Traces: recorded runs of a machine as flat arrays, one row a step."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from moorelens.errors import RequestError
from moorelens.fsm.automata.machine import Counts, Flags, Ids, frozen_array

_DTYPES: dict[str, type[np.generic]] = {
    "symbols": np.int32,
    "states": np.int32,
    "actions": np.int32,
    "offsets": np.int64,
    "terminated": np.bool_,
    "truncated": np.bool_,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Traces:
    """N episodes of T steps in all, as ids of one machine; episode n is the steps `offsets[n]:offsets[n + 1]`.

    Fields:
        symbols: (T,) int32, the symbol read in each step.
        states: (T,) int32, the state after it.
        actions: (T,) int32, the action that state emitted.
        offsets: (N + 1,) int64, first step of each episode, then T.
        terminated, truncated: (N,) bool, whether the episode ended by the task, or by a time limit.

    Raises RequestError where the arrays contradict each other.
    """

    symbols: Ids
    states: Ids
    actions: Ids
    offsets: Counts
    terminated: Flags
    truncated: Flags

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            object.__setattr__(self, name, frozen_array(getattr(self, name), dtype=dtype, name=name))
        check_offsets(self.offsets, steps=len(self.symbols))
        if not self.symbols.shape == self.states.shape == self.actions.shape:
            raise RequestError("symbols, states and actions of traces must hold one number for each step.")
        if not self.terminated.shape == self.truncated.shape == (len(self.offsets) - 1,):
            raise RequestError("terminated and truncated must hold one flag for each episode.")

    @property
    def n_episodes(self) -> int:
        """Number of episodes, empty ones included."""
        return len(self.offsets) - 1

    @property
    def n_steps(self) -> int:
        """Number of steps in all episodes."""
        return len(self.symbols)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Traces):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None  # type: ignore[assignment]


def check_offsets(offsets: Counts, *, steps: int) -> None:
    """Raise RequestError unless `offsets` (N + 1,) cut `steps` steps into N consecutive episodes."""
    if offsets.ndim != 1 or not len(offsets) or offsets[0] != 0 or offsets[-1] != steps or np.any(np.diff(offsets) < 0):
        raise RequestError(
            f"offsets must rise from 0 to the number of steps ({steps}), one entry more than there are episodes; "
            "the recording is cut short or its parts come from different runs."
        )


def previous_states(traces: Traces, *, start: int) -> Ids:
    """Return the state (T,) that each step began in; the first step of an episode begins in `start`."""
    previous = np.empty_like(traces.states)
    previous[1:] = traces.states[:-1]
    firsts = traces.offsets[:-1][np.diff(traces.offsets) > 0]
    previous[firsts] = start
    return previous


def last_states(traces: Traces, *, start: int) -> Ids:
    """Return the state (N,) that each episode ended in; an empty episode ends in `start`."""
    lengths = np.diff(traces.offsets)
    ends = np.full(traces.n_episodes, start, dtype=np.int32)
    ends[lengths > 0] = traces.states[traces.offsets[1:][lengths > 0] - 1]
    return ends


def stays(traces: Traces, labels: Ids) -> dict[int, dict[int, int]]:
    """Return for each value of `labels` (T,) how many runs of it, inside an episode, had which length."""
    if not len(labels):
        return {}
    new = np.concatenate([[True], labels[1:] != labels[:-1]])
    new[traces.offsets[:-1][np.diff(traces.offsets) > 0]] = True
    firsts = np.flatnonzero(new)
    runs = np.stack([labels[firsts], np.diff(np.append(firsts, len(labels)))], axis=1)
    found: dict[int, dict[int, int]] = {}
    for (label, length), count in zip(*(a.tolist() for a in np.unique(runs, axis=0, return_counts=True)), strict=True):
        found.setdefault(label, {})[length] = count
    return found
