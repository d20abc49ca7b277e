"""The tabs over the drawings of a machine, in the order of its story."""

from __future__ import annotations

from dataclasses import dataclass

from moorelens.reports.data import MachineView, ReportData
from moorelens.reports.format import count


@dataclass(frozen=True, kw_only=True)
class TabEntry:
    """One tab over the drawings: which view it shows, and whether the one before it led to it."""

    view: int
    title: str
    size: str
    follows: bool


def tabs_of(data: ReportData) -> tuple[TabEntry, ...]:
    """Return the tabs in the order of the story: as extracted, each step, reduced, then what was made otherwise."""
    order = list(dict.fromkeys(step.view for step in data.reductions if step.view is not None))
    places = {view.key: place for place, view in enumerate(data.views)}
    steps = [key for key in order if key != "folded"]
    keys = [key for key in [*steps, *places] if key in places]
    return tuple(
        TabEntry(
            view=places[key],
            title=data.views[places[key]].title,
            size=size_of(data.views[places[key]], data),
            follows=key in steps[1:],
        )
        for key in dict.fromkeys(keys)
    )


def size_of(view: MachineView, data: ReportData) -> str:
    """Return how many states a view is a picture of, drawn or not."""
    known = [step.states for step in data.reductions if step.view == view.key and step.states is not None]
    return count(known[-1] if known else len(view.states))
