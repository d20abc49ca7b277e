"""Each drawing of a report with what stands around it: its caption, whose numbers it uses, its states as a table."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from moorelens.reports.data import MachineView, ReportData
from moorelens.reports.format import count, plural, share
from moorelens.reports.tabs import size_of

# More rows make a page nobody reads; the rest stays in report-data.json, and the page says how many.
ROWS_SHOWN = 400
_TARGETS = 6
# Which file a number is of: the forms of one machine number their states each on their own.
_NUMBERS = {
    "machine": "S3 is state 3 of machine.json, as in the player and in trace.csv.",
    "reduced": "M3 is macro-state 3 of reduced.json and stands for the states S of machine.json that its panel lists.",
    "folded": "F3 is state 3 of folded.json, another machine; its panel lists the states S of machine.json met there.",
    "pruned": "P3 is state 3 of pruned.json, another machine; its panel lists the states S of machine.json met there.",
    "skeleton": "M3 is macro-state 3 of reduced.json.",
}
_STEP_NUMBERS = "M3 is numbered after this step alone; S3 is state 3 of machine.json."


@dataclass(frozen=True, kw_only=True)
class StateRow:
    """One state in the table under a drawing."""

    label: str
    word: str
    visits: str
    share: str
    targets: str


@dataclass(frozen=True, kw_only=True)
class Extent:
    """The choice between the most visited states of a large machine and all of them: places of views, and texts."""

    part: int
    whole: int
    part_text: str
    whole_text: str


@dataclass(frozen=True, kw_only=True)
class ViewEntry:
    """One drawing of the machine with its table; `whole_of`: the place of the view whose machine it shows in full.

    `numbers` says of which file the numbers of its states are. A view with an `extent` leaves its table to its whole.
    """

    key: str
    title: str
    caption: str
    svg: str | None
    note: str
    numbers: str
    rows: tuple[StateRow, ...]
    rows_left: str | None
    size: str
    whole_of: int | None
    extent: Extent | None


def view_entries(data: ReportData) -> tuple[ViewEntry, ...]:
    """Return the views of `data` in their order, formatted."""
    places = {view.key: place for place, view in enumerate(data.views)}
    wholes = {view.whole_of or "": place for place, view in enumerate(data.views) if view.whole_of is not None}
    return tuple(_entry(view, data, places=places, wholes=wholes) for view in data.views)


def numbers_of(view: MachineView) -> str:
    """Return of which file the numbers in a view are."""
    return _NUMBERS.get(view.whole_of or view.key, _STEP_NUMBERS)


def _entry(view: MachineView, data: ReportData, *, places: dict[str, int], wholes: dict[str, int]) -> ViewEntry:
    whole = wholes.get(view.key)
    rows = () if whole is not None else _rows(view)
    left = len(view.states) - len(rows) if whole is None else 0
    base = None if view.whole_of is None else places[view.whole_of]
    return ViewEntry(
        key=view.key,
        title=view.title,
        caption=view.caption,
        svg=view.svg,
        note=view.note,
        numbers=numbers_of(view),
        rows=rows,
        rows_left=f"{plural(left, 'further state')} are not listed." if left > 0 else None,
        size=size_of(view, data),
        whole_of=base,
        extent=None if whole is None else _extent(places[view.key], whole, data),
    )


def _extent(part: int, whole: int, data: ReportData) -> Extent:
    drawn = len(data.views[part].states) - 1
    return Extent(
        part=part,
        whole=whole,
        part_text=f"the {count(drawn)} most visited",
        whole_text=f"all {count(len(data.views[whole].states))}",
    )


def _rows(view: MachineView) -> tuple[StateRow, ...]:
    """Return the states, the most visited first, equal ones in the order of their numbers."""
    labels = {state.node: state.label for state in view.states}
    leaving: dict[str, list[str]] = defaultdict(list)
    for edge in sorted(view.edges, key=lambda edge: -edge.count):
        leaving[edge.source].append(f"{labels[edge.target]} {share(edge.share)}")
    ranked = sorted(view.states, key=lambda state: -state.visits)
    return tuple(
        StateRow(
            label=state.label,
            word=state.word,
            visits=count(state.visits),
            share=share(state.share),
            targets=", ".join(leaving.get(state.node, ["\u2013"])[:_TARGETS])
            + (", \u2026" if len(leaving.get(state.node, [])) > _TARGETS else ""),
        )
        for state in ranked[:ROWS_SHOWN]
    )
