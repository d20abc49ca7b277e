"""A drawing shows the machine and nothing but the machine, and says what it leaves out."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pygraphviz
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.reduced import ReducedMachine
from moorelens.fsm.automata.reductions import reduce
from moorelens.fsm.drawing import Drawing, draw_machine, draw_reduced, structural_decisions
from moorelens.fsm.drawing_dot import FAINT_SHARE, lighter, percent, symbols_text, wrap_rule
from moorelens.fsm.drawing_sources import word_text
from moorelens.fsm.drawing_style import action_styles
from moorelens.graphviz import render

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = ("<script>alert(1)</script>", '</script><img src=x onerror="alert(2)">', "<<b>&amp;\\N\x07\x00\ud800")


def machine_of(edges: list[tuple[int, int, int, int]], actions: list[int], *, names: tuple[str, ...]) -> MooreMachine:
    """A machine with silent start 0; `edges` are (source, symbol, target, count)."""
    table = np.array(sorted(edges)).reshape(-1, 4)
    states, symbols = len(actions), 1 + max((edge[1] for edge in edges), default=0)
    visits = np.bincount(table[:, 2], weights=table[:, 3], minlength=states).astype(int)
    return MooreMachine(
        state_codes=np.stack([np.arange(states) // 100, np.arange(states) % 100], axis=1),
        symbol_codes=np.stack([np.arange(symbols) // 100, np.arange(symbols) % 100], axis=1),
        actions=actions,
        visits=visits,
        terminals=np.zeros(states, dtype=int),
        truncations=np.zeros(states, dtype=int),
        sources=table[:, 0],
        symbols=table[:, 1],
        targets=table[:, 2],
        counts=table[:, 3],
        origins=np.zeros(len(table), dtype=int),
        start=0,
        action_names=names,
    )


def lasso(names: tuple[str, ...] = ("a", "b", "c")) -> MooreMachine:
    """The worked example of spec-fsm 6.4b."""
    edges = [
        (0, 1, 1, 9), (1, 2, 2, 9), (2, 3, 3, 4), (2, 4, 3, 3), (2, 5, 6, 2), (3, 6, 4, 7), (4, 6, 5, 5), (4, 7, 5, 2),
        (5, 8, 2, 9), (6, 9, 5, 2),
    ]  # fmt: skip
    return machine_of(edges, [-1, 0, 0, 1, 1, 0, 2], names=names)


def ring(states: int, *, detours: int = 0) -> MooreMachine:
    """A cycle of `states` states; the first `detours` also jump ahead, rarely."""
    edges = [(0, 0, 1, 1)] + [(s, 0, s % states + 1, 1000) for s in range(1, states + 1)]
    edges += [(s, 1, (s + 6) % states + 1, 1) for s in range(1, detours + 1)]
    return machine_of(edges, [-1] + [s % 2 for s in range(states)], names=("LEFT", "RIGHT"))


def parsed(drawing: Drawing) -> pygraphviz.AGraph:
    return pygraphviz.AGraph(string=drawing.dot)


def test_the_dot_text_has_one_node_per_state_and_one_edge_per_pair_of_states() -> None:
    graph = parsed(draw_machine(lasso()))
    assert set(graph.nodes()) == {"start", "s1", "s2", "s3", "s4", "s5", "s6"}
    assert set(graph.edges()) == {
        ("start", "s1"), ("s1", "s2"), ("s2", "s3"), ("s2", "s6"), ("s3", "s4"), ("s4", "s5"), ("s5", "s2"),
        ("s6", "s5"),
    }  # fmt: skip


def test_only_decision_points_have_a_double_border() -> None:
    graph = parsed(draw_machine(lasso()))
    doubled = {node for node in graph.nodes() if node.attr["peripheries"] == "2"}
    assert doubled == {"s2"} == {f"s{state}" for state in structural_decisions(lasso())}


def test_a_symbol_with_two_successors_is_a_stochastic_branch_and_no_decision() -> None:
    machine = machine_of([(0, 0, 1, 5), (1, 0, 1, 3), (1, 0, 2, 2), (2, 1, 1, 2)], [-1, 0, 1], names=("a", "b"))
    assert structural_decisions(machine) == frozenset()
    graph = parsed(draw_machine(machine))
    styles = {edge: graph.get_edge(*edge).attr["style"] or None for edge in (("s1", "s1"), ("s1", "s2"), ("s2", "s1"))}
    assert styles == {("s1", "s1"): "dashed", ("s1", "s2"): "dashed", ("s2", "s1"): None}


def test_an_edge_is_the_wider_the_more_often_it_is_taken() -> None:
    graph = parsed(draw_machine(lasso()))
    widths = {
        edge: float(graph.get_edge(*edge).attr["penwidth"]) for edge in (("s1", "s2"), ("s2", "s3"), ("s2", "s6"))
    }
    assert widths["s1", "s2"] > widths["s2", "s3"] > widths["s2", "s6"]


def test_edges_carry_their_rule_or_else_at_most_three_symbols() -> None:
    graph = parsed(draw_machine(lasso(), rules={(2, 3): "pole angle > 0.03"}))
    assert "pole angle &gt; 0.03" in graph.get_edge("s2", "s3").attr["label"]
    assert "o5" in graph.get_edge("s2", "s6").attr["label"]
    assert graph.get_edge("s3", "s4").attr["label"] in (None, "")
    assert symbols_text([(7, 9), (1, 3), (2, 2), (3, 1), (4, 1)]) == "o7, o1, o2 +2"


def test_every_label_is_explicit() -> None:
    graph = parsed(draw_machine(lasso()))
    assert all(
        "label=" in line for line in draw_machine(lasso()).dot.splitlines() if "->" in line or "peripheries" in line
    )
    assert all(node.attr["label"] for node in graph.nodes())


def test_names_from_outside_stay_text_in_dot_and_svg() -> None:
    drawing = draw_machine(lasso(HOSTILE))
    root = ET.fromstring(render(drawing.dot))
    assert {element.tag for element in root.iter()} <= {
        f"{SVG}{tag}" for tag in ("svg", "g", "title", "polygon", "ellipse", "path", "text")
    }
    words = "".join(root.itertext())
    assert all(name.split("\x07")[0] in words.replace("\xa0", " ") for name in HOSTILE)
    assert "URL" not in drawing.dot and "href" not in drawing.dot


def test_the_same_machine_gives_the_same_text() -> None:
    assert draw_machine(lasso()) == draw_machine(lasso())


@pytest.mark.parametrize(
    ("states", "detail", "nodes"), [(40, "labels", 40), (41, "plain", 41), (150, "plain", 150), (151, "top", 61)]
)
def test_the_size_decides_how_much_is_drawn(states: int, detail: str, nodes: int) -> None:
    drawing = draw_machine(ring(states))
    assert (drawing.detail, len(drawing.graph.nodes)) == (detail, nodes)
    assert ("Edge labels are left out" in drawing.caption) == (detail != "labels")
    assert ("drawn as one node" in drawing.caption) == (detail == "top")


def test_a_large_machine_is_folded_without_losing_a_step() -> None:
    machine = ring(200, detours=100)
    drawing = draw_machine(machine)
    assert sum(node.visits for node in drawing.graph.nodes) == machine.visits.sum()
    assert len([member for node in drawing.graph.nodes for member in node.members]) == 200


def test_rarely_taken_edges_of_a_large_machine_are_left_out_and_counted() -> None:
    machine = ring(100, detours=50)
    drawing = draw_machine(machine)
    assert len(drawing.graph.edges) == 101
    assert "50 rarely taken edges" in drawing.caption
    assert FAINT_SHARE > 50 / 100_051


@given(st.lists(st.text(max_size=12), min_size=1, max_size=18))
def test_no_two_actions_look_alike(names: list[str]) -> None:
    looks = [(style.fill, style.shape) for style in action_styles(names).values()]
    assert len(set(looks)) == len(looks)


def test_direction_names_get_the_shape_that_points_there() -> None:
    names = ("NOOP", "FIRE", "RIGHT", "left", "push_up", "fire left engine", "UPRIGHT", "left right")
    shapes = {style.name: style.shape for style in action_styles(names).values()}
    assert [shapes[name] for name in ("NOOP", "FIRE", "RIGHT", "push_up")] == ["ellipse", "octagon", "right", "up"]
    assert shapes["left right"] not in ("left", "right")


@settings(max_examples=200)
@given(st.floats(min_value=0, max_value=1))
def test_a_share_reads_as_none_or_all_only_if_it_is(share: float) -> None:
    text = percent(share)
    assert (text == "0 %") == (share == 0)
    assert (text == "100 %") == (share == 1)


def test_long_rules_break_before_and_and_or() -> None:
    assert wrap_rule("pole angle > 0.03 and pole velocity > −0.2 or x = 1") == [
        "pole angle > 0.03", "and pole velocity > −0.2", "or x = 1",
    ]  # fmt: skip
    assert lighter("#000000") == "#7f7f7f"


def reduced_lasso() -> ReducedMachine:
    return reduce(lasso()).reduced


def test_a_reduced_machine_is_drawn_with_its_words_and_the_start_apart() -> None:
    graph = parsed(draw_reduced(reduced_lasso()))
    assert len(graph.nodes()) == 1 + 5
    assert len(graph.edges()) == 1 + 6
    assert graph.successors("start") == ["m0"]
    words = {node.attr["label"].split("</b>")[0].split("<b>")[1] for node in graph.nodes() if node != "start"}
    assert words == {"a", "b ×2", "c"}


def test_reduction_keeps_the_decision_points_in_the_drawing() -> None:
    decisions = [node for node in draw_reduced(reduced_lasso()).graph.nodes if node.decision]
    assert [node.members for node in decisions] == [(2,)]


def test_the_steps_spent_in_the_macro_states_add_up() -> None:
    drawing = draw_reduced(reduced_lasso())
    assert sum(node.visits for node in drawing.graph.nodes) == lasso().visits.sum()
    assert sum(node.share for node in drawing.graph.nodes) == pytest.approx(1)


def test_a_long_word_is_cut_and_says_how_much() -> None:
    runs = [(0, 3), (1, 2), (0, 1), (1, 1), (0, 5), (1, 2)]
    assert word_text(runs, ("left", "right")) == "left ×3, right ×2, left, right, … (+7)"
    assert word_text([(0, 2)], ("left",), loop=True) == "↻ left ×2"


def test_a_share_below_a_tenth_of_a_percent_can_be_drawn() -> None:
    edges = [(0, 0, 1, 1), (1, 0, 2, 99_999), (1, 1, 3, 1), (2, 0, 1, 99_999), (3, 0, 1, 1)]
    drawing = draw_machine(machine_of(edges, [-1, 0, 1, 0], names=("a", "b")))
    graph = parsed(drawing)
    assert "&lt;0.1 %" in graph.get_edge("s1", "s3").attr["label"]
    assert "<0.1 %" in "".join(ET.fromstring(render(drawing.dot)).itertext())
