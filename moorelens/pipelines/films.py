"""The recorded episodes that a report plays: step by step, with what was seen as a film or as traces of features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.pipelines.frames import as_bytes, coloured
from moorelens.pipelines.job import Job
from moorelens.pipelines.pictures import Machines
from moorelens.pipelines.replay import screens_and_memories
from moorelens.reports.data import Episode, Film, MachineView, Trace
from moorelens.reports.films import film_of

EPISODES = 3
# All films of a report together; an episode that would take more is played without pictures.
FILM_BYTES = 4_000_000
_TRACES = 12
_DIGITS = 5

Array = npt.NDArray[Any]


def episodes_of(job: Job, machines: Machines, view: MachineView) -> tuple[tuple[Episode, ...], dict[str, Film]]:
    """Return the first recorded episodes as a report plays them, and their films."""
    films: dict[str, Film] = {}
    episodes = []
    for number in range(min(EPISODES, machines.traces.n_episodes)):
        shown: tuple[int, ...] = ()
        key = f"episode-{number}"
        if job.env.feature_names is None:
            left = FILM_BYTES - sum(len(strip) for film in films.values() for strip in film.strips)
            film, shown = film_of(_seen(job, machines, number), alt="What was on the screen.", most_bytes=left)
            if film is not None:
                films[key] = film
        episodes.append(
            _episode(
                machines,
                view,
                number,
                film=key if key in films else None,
                shown=shown,
                traces=_traces(job, machines, number),
            )
        )
    return tuple(episodes), films


def _rows(machines: Machines, number: int) -> slice:
    return slice(int(machines.traces.offsets[number]), int(machines.traces.offsets[number + 1]))


def _episode(
    machines: Machines,
    view: MachineView,
    number: int,
    *,
    film: str | None,
    shown: tuple[int, ...],
    traces: tuple[Trace, ...],
) -> Episode:
    played, recorded, rows = machines.played, machines.traces, _rows(machines, number)
    index = {member: place for place, state in enumerate(view.states) for member in state.members}
    deciding = {place for place, state in enumerate(view.states) if "decision point" in state.flags}
    other = next((place for place, state in enumerate(view.states) if state.label == "other"), 0)
    nodes = tuple(index.get(state, other) for state in recorded.states[rows].tolist())
    values = played.extras["value"][rows]
    return Episode(
        seed=int(played.seeds[number]),
        protocol="fit",
        player="mmn",
        total=float(played.rewards[rows].sum()),
        ended="terminated" if recorded.terminated[number] else "truncated",
        view=view.key,
        nodes=nodes,
        symbols=tuple(f"o{symbol}" for symbol in recorded.symbols[rows].tolist()),
        actions=tuple(recorded.actions[rows].tolist()),
        rewards=tuple(played.rewards[rows].tolist()),
        values=None if np.isnan(values).any() else tuple(rounded(values)),
        decisions=tuple(step for step, node in enumerate(nodes) if node in deciding),
        number=number,
        states=tuple(recorded.states[rows].tolist()),
        film=film,
        shown=shown,
        traces=traces,
    )


def _seen(job: Job, machines: Machines, number: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield what was on the screen at each step; where the game does not replay alike, what the network was shown."""
    rows = _rows(machines, number)
    frames = machines.played.frames
    index = machines.played.frame_index[rows].tolist()
    if job.atari:
        again = screens_and_memories(job, machines.played, range(rows.start, rows.stop))
        if len(again) == len(index):
            yield from (again[row][0] for row in range(rows.start, rows.stop))
            return
    pixels = as_bytes(*(frames[place] for place in sorted(set(index))))
    shown: Mapping[int, Array] = dict(zip(sorted(set(index)), pixels, strict=True))
    for place in index:
        yield coloured(shown[place])


def _traces(job: Job, machines: Machines, number: int) -> tuple[Trace, ...]:
    names = job.env.feature_names
    if names is None:
        return ()
    played = machines.played
    seen = played.frames[played.frame_index[_rows(machines, number)]]
    used = {
        condition.feature for found in machines.rules.values() for rule in found.rules
        for clause in rule.clauses for condition in clause
    }  # fmt: skip
    ranked = sorted(range(len(names)), key=lambda place: (place not in used, place))[:_TRACES]
    return tuple(Trace(name=names[place], values=tuple(rounded(seen[:, place]))) for place in sorted(ranked))


def rounded(values: Array) -> list[float]:
    """Return numbers with five significant digits: what a picture can show, in half the bytes."""
    return [float(f"{value:.{_DIGITS}g}") for value in values.tolist()]


def code_texts(codes: Array) -> tuple[str, ...]:
    """Return each memory code (S, K) as signs, `-`, `0` and `+`, or its digits where they have other values."""
    signs = {-1: "-", 0: "0", 1: "+"}
    if set(np.unique(codes).tolist()) <= signs.keys():
        return tuple("".join(signs[digit] for digit in code) for code in codes.tolist())
    return tuple(" ".join(str(digit) for digit in code) for code in codes.tolist())
