"""What the script of a report is given: states, edges, decisions and episodes, all words and numbers formatted here."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from moorelens.reports.data import (
    DecisionPoint,
    EdgeView,
    Episode,
    FeatureRange,
    MachineView,
    Place,
    ReductionStep,
    ReportData,
    StateView,
)
from moorelens.reports.format import count, feature, number, plural, printable, share
from moorelens.reports.page import DECISIONS_SHOWN, decision_entry, episode_caption
from moorelens.reports.viewing import numbers_of

_EDGES_LISTED = 12
Json = dict[str, Any]


def payload(data: ReportData) -> Json:
    """Return the data block of the page; every string is printable.

    Views of whole machines are only named in it: what they hold is `whole_payloads`, read when it is needed.
    """
    decided = _decided(data)
    found: Json = {
        "views": [_view(view, data, decided) if view.whole_of is None else _stub(view, data) for view in data.views],
        "reductions": _reductions(data.reductions),
        "decisions": {
            decision.key: _decision(decision, data, place) for place, decision in enumerate(data.decisions, start=1)
        },
        "episodes": [_episode(episode) for episode in data.episodes],
        "films": {key: _film(data, key) for key in data.films},
        "pictures": {key: _picture(data, key) for key in _panel_pictures(data)},
        "codes": list(data.codes),
    }
    return _printable(found)  # type: ignore[no-any-return]


def whole_payloads(data: ReportData) -> dict[int, Json]:
    """Return what the views of whole machines hold, by place."""
    decided = _decided(data)
    return {
        place: _printable(_view(view, data, decided))
        for place, view in enumerate(data.views)
        if view.whole_of is not None
    }


def _stub(view: MachineView, data: ReportData) -> Json:
    place = next(place for place, base in enumerate(data.views) if base.key == view.whole_of)
    return {"key": view.key, "title": view.title, "base": place}


def _decided(data: ReportData) -> dict[int, str]:
    """Return the decision point that is told of each machine state."""
    return {
        member: state.decision
        for view in data.views
        for state in view.states
        if state.decision
        for member in state.members
    }


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(item) for item in value]
    return value


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _panel_pictures(data: ReportData) -> Iterable[str]:
    return sorted({key for view in data.views for state in view.states for key in state.pictures})


def _picture(data: ReportData, key: str) -> Json:
    picture = data.pictures[key]
    return {"png": _text(picture.png), "width": picture.width, "height": picture.height, "alt": picture.alt}


def _film(data: ReportData, key: str) -> Json:
    film = data.films[key]
    return {
        "strips": [_text(strip) for strip in film.strips],
        "width": film.width,
        "height": film.height,
        "per": film.per_strip,
        "alt": film.alt,
    }


def _view(view: MachineView, data: ReportData, decided: Mapping[int, str]) -> Json:
    spans = _spans(view.states)
    return {
        "key": view.key,
        "title": view.title,
        "start": view.start or "",
        "base": None,
        "numbers": numbers_of(view),
        "states": {state.node: _state(state, spans, decided) for state in view.states},
        "edges": {edge.edge: _edge(edge) for edge in sorted(view.edges, key=lambda edge: -edge.count)},
    }


def _spans(states: Iterable[StateView]) -> dict[str, tuple[float, float]]:
    """Return the span of each feature over all states, against which the ranges of one are drawn."""
    spans: dict[str, tuple[float, float]] = {}
    for item in (item for state in states for item in state.features):
        low, high = spans.get(item.name, (item.low, item.high))
        spans[item.name] = (min(low, item.low), max(high, item.high))
    return spans


def _state(state: StateView, spans: dict[str, tuple[float, float]], decided: Mapping[int, str]) -> Json:
    decision = state.decision
    if decision is None and "decision point" in state.flags:
        decision = next((decided[member] for member in state.members if member in decided), None)
    return {
        "label": state.label,
        "word": state.word,
        "actions": list(state.actions),
        "visits": count(state.visits),
        "share": share(state.share),
        "flags": ", ".join(state.flags),
        "members": list(state.members),
        "note": state.note,
        "decision": decision,
        "value": None if state.value is None else number(state.value),
        "dwell": [[_range(item.low, item.high), item.count] for item in state.dwell],
        "features": [_feature(item, spans[item.name]) for item in state.features],
        "pictures": list(state.pictures),
        "places": [_place(place) for place in state.places],
    }


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}\u2013{high}"


def _feature(item: FeatureRange, span: tuple[float, float]) -> Json:
    width = (span[1] - span[0]) or 1.0
    unit = f"\u202f{item.unit}" if item.unit else ""
    return {
        "name": item.name,
        "text": f"{feature(item.median)}{unit}",
        "range": f"{feature(item.low)} to {feature(item.high)}{unit}",
        "bar": [round((value - span[0]) / width, 4) for value in (item.low, item.median, item.high)],
    }


def _place(place: Place) -> list[int]:
    return [place.episode, place.step]


def _edge(edge: EdgeView) -> Json:
    listed = edge.symbols[:_EDGES_LISTED]
    more = edge.symbol_total - len(listed)
    return {
        "from": edge.source,
        "to": edge.target,
        "count": count(edge.count),
        "share": share(edge.share),
        "part": edge.share,
        "rule": edge.rule or "",
        "symbols": [[item.symbol, count(item.count)] for item in listed],
        "more": f"and {count(more)} more" if more > 0 else "",
        "names": [item.symbol for item in edge.symbols],
        "stochastic": edge.stochastic,
        "places": [_place(place) for place in edge.places],
    }


def _reductions(steps: Sequence[ReductionStep]) -> list[Json]:
    """Return the steps, each with whether it changed anything: what it merged, or the size that it left."""
    found, size = [], None
    for step in steps:
        now = (step.states, step.symbols, step.edges)
        found.append({**_reduction(step), "idle": step.merge_total == 0 and now == size})
        size = now
    return found


def _reduction(step: ReductionStep) -> Json:
    left = step.merge_total - len(step.merges)
    return {
        "title": step.title,
        "text": step.merged,
        "view": step.view,
        "states": None if step.states is None else plural(step.states, "state"),
        "total": plural(step.merge_total, "merge") if step.merge_total else "",
        "merges": [[merge.into, ", ".join(merge.parts)] for merge in step.merges],
        "more": f"and {count(left)} more" if left > 0 else "",
    }


def _decision(decision: DecisionPoint, data: ReportData, place: int) -> Json:
    entry = decision_entry(decision, data)
    return {
        "article": place if place <= DECISIONS_SHOWN else None,
        "view": decision.view,
        "node": decision.node,
        "label": entry.label,
        "word": entry.word,
        "share": share(decision.share),
        "meta": entry.meta,
        "test": entry.test or "",
        "branches": [
            {
                "mark": shown.mark.index,
                "node": branch.target,
                "word": shown.word,
                "label": shown.label,
                "part": shown.share,
                "share": shown.share_text,
                "count": shown.count_text,
                "rule": shown.rule or "",
                "forced": shown.forced or "",
                "pictures": list(shown.pictures),
                "features": [asdict(item) for item in shown.features if item.decisive],
                "place": None if branch.example is None else _place(branch.example.place),
            }
            for shown, branch in zip(entry.branches, decision.branches, strict=False)
        ],
        "left": entry.branches_left or "",
    }


def _episode(episode: Episode) -> Json:
    return {
        "number": episode.number,
        "caption": episode_caption(episode),
        "view": episode.view,
        "nodes": list(episode.nodes),
        "states": list(episode.states),
        "actions": list(episode.actions),
        "rewards": list(episode.rewards),
        "values": None if episode.values is None else list(episode.values),
        "symbols": list(episode.symbols),
        "decisions": list(episode.decisions),
        "film": episode.film,
        "shown": list(episode.shown),
        "traces": [{"name": t.name, "unit": t.unit, "values": list(t.values)} for t in episode.traces],
    }
