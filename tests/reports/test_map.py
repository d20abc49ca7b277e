"""The map of a machine too large for a layout: every state once, neighbours side by side, nothing taken for markup."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET

import msgspec
import pytest

from moorelens.errors import InvariantError
from moorelens.reports.data import EdgeView, MachineView, ReportData, StateView
from moorelens.reports.html import render_html
from moorelens.reports.map import CELL, draw_map, reading_order


def view_of(arrows: list[tuple[int, int, int]], *, states: int, word: str = "left") -> MachineView:
    """A view from (source, target, count); state 0 is the silent start."""
    name = ["start", *(f"n{state}" for state in range(1, states))]
    return MachineView(
        key="machine-whole", title="whole", caption="", svg=None, start="start", whole_of="machine",
        states=tuple(
            StateView(node=name[state], label=f"S{state}", word=word, actions=(0,), visits=states - state, share=0.1)
            for state in range(1, states)
        ),
        edges=tuple(
            EdgeView(edge=f"e{place}", source=name[a], target=name[b], count=count, share=1.0)
            for place, (a, b, count) in enumerate(arrows)
        ),
    )  # fmt: skip


def test_the_order_follows_the_most_taken_arrow_to_a_new_state_and_then_goes_back() -> None:
    arrows = [(0, 1, 9), (1, 2, 5), (1, 3, 8), (3, 1, 8), (3, 4, 1), (2, 2, 7)]
    # From 1 to 3 and on to 4; nothing new from there, so back to 1 and to 2; 5 is reached by nothing.
    assert reading_order(view_of(arrows, states=6)) == ["start", "n1", "n3", "n4", "n2", "n5"]


def test_a_long_chain_is_no_deep_recursion() -> None:
    chain = view_of([(state, state + 1, 1) for state in range(4999)], states=5000)
    assert len(reading_order(chain)) == 5000


def test_every_state_has_a_place_of_its_own_and_neighbours_in_the_order_lie_side_by_side() -> None:
    view = view_of([(state, state + 1, 1) for state in range(40)], states=41)
    root = ET.fromstring(draw_map(view, ()))
    places = {}
    for group in root.iter("{http://www.w3.org/2000/svg}g"):
        text = group.find("{http://www.w3.org/2000/svg}text")
        if text is not None:
            places[group.get("id")] = (
                float(text.get("x", "")),
                float(text.get("y", "")) - (13 if "start" not in group.get("class", "") else 0),
            )
    assert len(places) == len(set(places.values())) == 41
    order = reading_order(view)
    for here, following in itertools.pairwise(order):
        (x, y), (u, v) = places[here], places[following]
        assert abs(x - u) + abs(y - v) <= max(CELL) + 1


def test_words_are_text_and_the_same_data_gives_the_same_map() -> None:
    view = view_of([(0, 1, 1)], states=2, word='<script>alert("x")</script>')
    first = draw_map(view, ())
    assert first == draw_map(view, ())
    assert "<script" not in first


def test_a_report_holds_all_states_of_a_large_machine_and_reads_them_only_when_asked(large: ReportData) -> None:
    wholes = [view for view in large.views if view.whole_of is not None]
    assert wholes
    page = render_html(large).decode()
    for view in wholes:
        base = next(one for one in large.views if one.key == view.whole_of)
        drawn = {member for state in base.states for member in state.members}
        assert {member for state in view.states for member in state.members} == drawn
        assert len(view.states) > len(base.states)
    outside = re.sub(r"<template>.*?</template>", "", page, flags=re.DOTALL)
    assert wholes[0].states[-1].node in page
    assert f'id="{wholes[0].states[-1].node}"' not in outside


def test_the_whole_of_nothing_is_refused(large: ReportData) -> None:
    whole = next(view for view in large.views if view.whole_of is not None)
    lone = msgspec.structs.replace(whole, whole_of="gone")
    with pytest.raises(InvariantError, match="missing view 'gone'"):
        msgspec.structs.replace(large, views=(*large.views, msgspec.structs.replace(lone, key="lone")))
