"""What the recorded steps say of a drawn machine: how long it stays, what it saw there, where that was, on which edge.

Letters: T steps of all episodes together, S machine states, N drawn nodes, D features.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from moorelens.fsm.medoids import medoid
from moorelens.pipelines.frames import as_bytes, coloured
from moorelens.reports.build import dwell_bins, frame_picture
from moorelens.reports.data import EdgeView, FeatureRange, MachineView, Picture, Place, StateView

_PLACES = 8
_EDGE_PLACES = 4
_FEATURES = 12
_COMPARED = 96  # observations of a state among which the typical one is looked for
_PICTURED = 80  # a view shows pictures of its most visited states only

Ids = npt.NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Recorded steps: the state before and after each (T,), episode borders (N + 1,), frames and which each step saw.

    `values` (T,): the value estimate, None where the policy has none. `feature_names`: None where frames are images.
    """

    before: Ids
    states: Ids
    offsets: Ids
    frames: npt.NDArray[Any]
    frame_index: Ids
    values: npt.NDArray[np.float64] | None = None
    feature_names: tuple[str, ...] | None = None
    feature_units: tuple[str, ...] | None = None

    def place(self, step: int) -> Place:
        """Return where a step of all steps is: in which episode, and when."""
        episode = int(np.searchsorted(self.offsets, step, side="right")) - 1
        return Place(episode=episode, step=step - int(self.offsets[episode]))


def with_visits(
    view: MachineView, recording: Recording, *, pictures: dict[str, Picture], heads: frozenset[int] | None = None
) -> MachineView:
    """Return a view with what was recorded of its states and edges; pictures it needs are added to `pictures`.

    `heads`: the machine states at which a macro-state is entered, None where every node is one state.
    """
    node_of = {member: place for place, state in enumerate(view.states) for member in state.members}
    size = int(max(recording.states.max(initial=0), recording.before.max(initial=0))) + 1
    table = np.array([node_of.get(state, -1) for state in range(size)], dtype=np.int64)
    nodes = table[recording.states]
    stays = _stays(nodes, recording.offsets)
    order = np.argsort(nodes, kind="stable")
    groups = np.split(order, np.searchsorted(nodes[order], np.arange(len(view.states))))[1:]
    ranked = sorted(range(len(view.states)), key=lambda place: -view.states[place].visits)
    pictured = set(ranked[:_PICTURED]) if recording.feature_names is None else set()
    states = tuple(
        _state(state, rows, stays[place], recording, pictures=pictures if place in pictured else None)
        for place, (state, rows) in enumerate(zip(view.states, groups, strict=True))
    )
    entered = np.ones(len(nodes), dtype=np.bool_) if heads is None else np.isin(recording.states, sorted(heads))
    steps = _steps_by_edge(view, nodes, table[recording.before], entered)
    return msgspec.structs.replace(
        view, states=states, edges=tuple(_edge(edge, steps, recording) for edge in view.edges)
    )


def _stays(nodes: Ids, offsets: Ids) -> Mapping[int, list[tuple[int, int]]]:
    """Return, by node, (first step, length) of each stay in it: visits in a row within one episode."""
    fresh = np.ones(len(nodes), dtype=np.bool_)
    fresh[1:] = nodes[1:] != nodes[:-1]
    fresh[offsets[:-1][offsets[:-1] < len(nodes)]] = True
    firsts = np.flatnonzero(fresh)
    lengths = np.diff(np.append(firsts, len(nodes)))
    stays: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for first, length in zip(firsts.tolist(), lengths.tolist(), strict=True):
        stays[int(nodes[first])].append((first, length))
    return stays


def _state(
    state: StateView,
    rows: Ids,
    stays: Sequence[tuple[int, int]],
    recording: Recording,
    *,
    pictures: dict[str, Picture] | None,
) -> StateView:
    if not len(rows):
        return state
    values = None if recording.values is None else recording.values[rows]
    known = values is not None and bool(np.isfinite(values).all())
    return msgspec.structs.replace(
        state,
        dwell=dwell_bins(Counter(length for _, length in stays)),
        features=_ranges(rows, recording),
        pictures=() if pictures is None else (_typical(rows, recording, pictures),),
        places=tuple(recording.place(step) for step in [first for first, _ in stays][:_PLACES]),
        value=float(np.mean(values)) if known and values is not None else None,
    )


def _ranges(rows: Ids, recording: Recording) -> tuple[FeatureRange, ...]:
    names = recording.feature_names
    if names is None:
        return ()
    seen = recording.frames[recording.frame_index[rows]].reshape(len(rows), -1)
    low, median, high = np.quantile(seen, (0.1, 0.5, 0.9), axis=0)
    return tuple(
        FeatureRange(
            name=name,
            low=float(low[place]),
            median=float(median[place]),
            high=float(high[place]),
            unit=recording.feature_units[place] if recording.feature_units else "",
        )
        for place, name in enumerate(names[:_FEATURES])
    )


def _typical(rows: Ids, recording: Recording, pictures: dict[str, Picture]) -> str:
    chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), _COMPARED)).astype(np.int64)]
    frame = int(recording.frame_index[chosen[medoid(recording.frames[recording.frame_index[chosen]])]])
    key = f"seen-{frame}"
    if key not in pictures:
        (pixels,) = as_bytes(recording.frames[frame])
        pictures[key] = frame_picture(coloured(pixels), alt="What is typically seen here.")
    return key


def _steps_by_edge(
    view: MachineView, nodes: Ids, before: Ids, entered: npt.NDArray[np.bool_]
) -> Mapping[str, list[int]]:
    """Return some steps of each edge; a step from one state of a chain to its next is on no edge."""
    names = [state.node for state in view.states]
    wanted = {(edge.source, edge.target): edge.edge for edge in view.edges}
    found: dict[str, list[int]] = defaultdict(list)
    at_border = entered | (nodes != before)
    pairs = np.stack([before, nodes], axis=1)[at_border]
    steps = np.flatnonzero(at_border)
    for (source, target), step in zip(pairs.tolist(), steps.tolist(), strict=True):
        if target < 0:
            continue
        edge = wanted.get((names[source] if source >= 0 else view.start or "", names[target]))
        if edge is not None and len(found[edge]) < _EDGE_PLACES:
            found[edge].append(step)
    return found


def _edge(edge: EdgeView, steps: Mapping[str, list[int]], recording: Recording) -> EdgeView:
    return msgspec.structs.replace(edge, places=tuple(recording.place(step) for step in steps.get(edge.edge, ())))


def with_machine_states(view: MachineView, places: Ids) -> MachineView:
    """Return a view of a machine whose states stand for several of the extracted one as a view of the latter.

    `places` (S,): the state of the smaller machine that each extracted state became, -1 where it is none.
    """
    inverse: dict[int, list[int]] = defaultdict(list)
    for state, place in enumerate(places.tolist()):
        inverse[place].append(state)
    states = tuple(
        msgspec.structs.replace(state, members=tuple(s for member in state.members for s in inverse.get(member, ())))
        for state in view.states
    )
    return msgspec.structs.replace(view, states=states)
