"""The tabs over the drawings of a machine, in the order of its story."""

from __future__ import annotations

from dataclasses import dataclass

from moorelens.reports.data import MachineView, ReportData
from moorelens.reports.format import count


@dataclass(frozen=True, kw_only=True)
class TabEntry:
    """One tab over the drawings: which view it shows, and whether the one before it led to it, changed or not."""

    view: int
    title: str
    size: str
    follows: bool
    same: bool


def tabs_of(data: ReportData) -> tuple[TabEntry, ...]:
    """Return the tabs in the order of the story: as extracted, each step, reduced, then what was made otherwise."""
    order = list(dict.fromkeys(step.view for step in data.reductions if step.view is not None))
    places = {view.key: place for place, view in enumerate(data.views)}
    steps = [key for key in order if key != "folded"]
    keys = list(dict.fromkeys(key for key in [*steps, *places] if key in places))
    found: list[TabEntry] = []
    before: MachineView | None = None
    for key in keys:
        view, follows = data.views[places[key]], key in steps[1:]
        if view.whole_of is not None:
            continue
        same = follows and before is not None and _picture(before) == _picture(view)
        size = size_of(view, data)
        found.append(TabEntry(view=places[key], title=view.title, size=size, follows=follows, same=same))
        before = view
    return tuple(found)


def _picture(view: MachineView) -> tuple[object, ...]:
    """Return what two views share that show the same machine states with the same arrows between them."""
    members = {state.node: state.members for state in view.states}
    ends = sorted((members.get(edge.source, ()), members.get(edge.target, ())) for edge in view.edges)
    return tuple(sorted(members.values())), tuple(ends)


def size_of(view: MachineView, data: ReportData) -> str:
    """Return how many states a view is a picture of, drawn or not."""
    known = [step.states for step in data.reductions if step.view == view.key and step.states is not None]
    return count(known[-1] if known else len(view.states))
