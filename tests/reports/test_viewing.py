"""What stands around a drawing: states most visited first, whose numbers they are, which steps changed nothing."""

from __future__ import annotations

import msgspec

from moorelens.reports.data import ReductionStep, ReportData
from moorelens.reports.payload import payload
from moorelens.reports.tabs import tabs_of
from moorelens.reports.viewing import view_entries


def test_states_are_listed_with_the_most_visited_first(cart_pole: ReportData) -> None:
    for entry, view in zip(view_entries(cart_pole), cart_pole.views, strict=True):
        ranked = sorted(view.states, key=lambda state: -state.visits)
        assert [row.label for row in entry.rows] == [state.label for state in ranked]


def test_each_drawing_says_of_which_file_its_numbers_are(cart_pole: ReportData) -> None:
    numbers = {entry.key: entry.numbers for entry in view_entries(cart_pole)}
    assert "reduced.json" in numbers["reduced"]
    assert "machine.json" in numbers["machine"]


def test_all_states_of_a_large_machine_are_in_one_table(large: ReportData) -> None:
    entries = {entry.key: entry for entry in view_entries(large)}
    assert not entries["machine"].rows
    assert len(entries["machine-whole"].rows) == sum(
        view.key == "machine-whole" and len(view.states) for view in large.views
    )
    assert entries["machine"].extent is not None
    assert "all" in entries["machine"].extent.whole_text


def test_a_step_that_left_everything_as_it_was_says_so(cart_pole: ReportData) -> None:
    sizes = {"states": 5, "symbols": 9, "edges": 12}
    steps = (
        ReductionStep(key="machine", title="As extracted", view="machine", **sizes),
        ReductionStep(key="trim", title="Trim", view="machine", **sizes),
        ReductionStep(key="edges", title="Join edges", view="machine", states=5, symbols=9, edges=8),
        ReductionStep(key="loops", title="Join loops", view="machine", states=5, symbols=9, edges=8),
    )
    data = msgspec.structs.replace(cart_pole, reductions=steps)
    idle = [step["title"] for step in payload(data)["reductions"] if step["idle"]]
    assert idle == ["Trim", "Join loops"]


def test_a_tab_that_shows_the_same_picture_as_the_one_before_says_so(cart_pole: ReportData) -> None:
    machine = next(view for view in cart_pole.views if view.key == "machine")
    twin = msgspec.structs.replace(machine, key="reduced", title="Reduced")
    steps = (
        ReductionStep(key="machine", title="As extracted", view="machine"),
        ReductionStep(key="chains", title="Join chains", view="reduced"),
    )
    data = msgspec.structs.replace(cart_pole, views=(twin, machine), reductions=steps, decisions=(), episodes=())
    assert [(tab.title, tab.same) for tab in tabs_of(data)] == [(machine.title, False), ("Reduced", True)]
    other = msgspec.structs.replace(twin, edges=twin.edges[1:])
    changed = msgspec.structs.replace(data, views=(other, machine))
    assert not any(tab.same for tab in tabs_of(changed))
