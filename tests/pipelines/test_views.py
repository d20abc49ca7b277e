"""What a report shows of recorded steps: stays, places, ranges, merges and the way between decisions, done slowly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from moorelens.envs.config import EnvironmentSpec
from moorelens.envs.rollouts import Rollouts
from moorelens.fsm.automata.folding import fold
from moorelens.fsm.automata.reduced import macro_of
from moorelens.fsm.automata.reductions import reduce
from moorelens.fsm.automata.traces import previous_states
from moorelens.fsm.drawing import draw_reduced
from moorelens.pipelines import reductions
from moorelens.pipelines.films import code_texts, rounded
from moorelens.pipelines.pictures import Machines, drawings_of
from moorelens.pipelines.reductions import heads, reduction_steps, skeleton, stage_drawings, stages
from moorelens.pipelines.views import machine_views, places_in, whole_graph
from moorelens.pipelines.visits import Recording, with_visits
from moorelens.reports.build import machine_view
from tests.reports.samples import FEATURES, recorded_cart_pole


@pytest.fixture(scope="module")
def machines() -> Machines:
    recorded = recorded_cart_pole(episodes=6, steps=200)
    machine, traces = recorded.machine, recorded.traces
    played = Rollouts(
        frames=recorded.observations, frame_index=np.arange(traces.n_steps, dtype=np.int32), actions=traces.actions,
        rewards=np.ones(traces.n_steps), offsets=traces.offsets, terminated=traces.terminated,
        truncated=traces.truncated, seeds=np.arange(6), extras={"value": recorded.observations[:, 0].astype(float)},
    )  # fmt: skip
    return Machines(
        machine=machine,
        reduced=reduce(machine, traces=traces, mode="sequence").reduced,
        folded=fold(machine, traces=traces).machine,
        played=played,
        traces=traces,
        rules={},
    )


def recording(machines: Machines) -> Recording:
    return Recording(
        before=previous_states(machines.traces, start=machines.machine.start),
        states=machines.traces.states,
        offsets=machines.traces.offsets,
        frames=machines.played.frames,
        frame_index=machines.played.frame_index,
        values=machines.played.extras["value"],
        feature_names=FEATURES,
    )


def history(machines: Machines) -> list[dict[str, object]]:
    found = reduce(machines.machine, traces=machines.traces, mode="sequence").history
    return [{"step": s.step, "states": s.states, "symbols": s.symbols, "edges": s.edges} for s in found]


def test_stays_places_ranges_and_values_are_those_of_the_steps(machines: Machines) -> None:
    drawing = drawings_of(machines, legend=False, prefixed=True)["machine"]
    view = with_visits(machine_view(drawing, None, key="machine", title="m"), recording(machines), pictures={})
    traces = machines.traces
    for state in view.states:
        rows = [step for step in range(traces.n_steps) if traces.states[step] in state.members]
        seen = machines.played.frames[rows]
        assert state.value == pytest.approx(machines.played.extras["value"][rows].mean())
        assert [item.median for item in state.features] == pytest.approx(np.median(seen, axis=0).tolist())
        stays = []
        for low, high in itertools.pairwise(traces.offsets.tolist()):
            for here, run in itertools.groupby(traces.states[low:high].tolist()):
                stays += [len(list(run))] if here in state.members else []
        assert sum(item.count for item in state.dwell) == len(stays)
        for place in state.places:
            assert traces.states[traces.offsets[place.episode] + place.step] in state.members


def test_examples_of_an_edge_took_it(machines: Machines) -> None:
    drawings = drawings_of(machines, legend=False, prefixed=True)
    before, traces = previous_states(machines.traces, start=machines.machine.start), machines.traces
    for key, entered in (("machine", None), ("reduced", heads(machines.reduced))):
        plain = machine_view(drawings[key], None, key=key, title=key)
        view = with_visits(plain, recording(machines), pictures={}, heads=entered)
        node = {member: state.node for state in view.states for member in state.members}
        for edge in view.edges:
            assert edge.places, edge
            for place in edge.places:
                step = int(traces.offsets[place.episode]) + place.step
                assert node.get(int(before[step]), view.start) == edge.source
                assert node[int(traces.states[step])] == edge.target
                assert entered is None or int(traces.states[step]) in entered


def test_each_step_merges_what_stood_apart_before_it(machines: Machines) -> None:
    taken = stages(machines, history(machines))
    shown = {stage.step: "reduced" for stage in taken}
    steps = reduction_steps(machines, taken, history=history(machines), shown=shown, decisions=None)
    macros = macro_of(machines.reduced)[machines.reduced.state_map]
    chains = next(step for step in steps if step.key == "chains")
    assert chains.merge_total >= 1
    for merge in chains.merges:
        members = [int(part[1:]) for part in merge.parts]
        assert len(members) > 1
        assert len(set(macros[members].tolist())) == 1
    merged = sum(len(merge.parts) - 1 for merge in chains.merges)
    assert machines.machine.n_states - merged == chains.states
    classes = next(step for step in steps if step.key == "classes")
    for merge in classes.merges:
        symbols = [int(part[1:]) for part in merge.parts if part.startswith("o")]
        assert len(set(machines.reduced.symbol_classes[symbols].tolist())) == 1


def test_a_step_that_changes_nothing_to_see_shows_the_picture_before_it(machines: Machines) -> None:
    drawings = drawings_of(machines, legend=False, prefixed=True)
    taken = stages(machines, history(machines))
    drawn, shown = stage_drawings(machines, taken, texts={}, final=drawings["reduced"], first=drawings["machine"])
    assert shown["trim"] == "machine"
    assert shown[taken[-1].step] == "reduced"
    assert set(drawn) <= set(shown.values())


def test_the_skeleton_counts_the_way_from_decision_to_decision(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reductions, "SKELETON_ABOVE", 3)
    like = draw_reduced(machines.reduced)
    found = skeleton(machines, bits={}, like=like)
    assert found is not None
    place = {member: node.node for node in found.graph.nodes for member in node.members}
    entered = heads(machines.reduced)
    counts: dict[tuple[str, str], int] = {}
    for low, high in itertools.pairwise(machines.traces.offsets.tolist()):
        met = [place[s] for s in machines.traces.states[low:high].tolist() if s in place and s in entered]
        for pair in itertools.pairwise(["k-start", *met]):
            counts[pair] = counts.get(pair, 0) + 1
    assert {(edge.source, edge.target): edge.count for edge in found.graph.edges}.items() <= counts.items()
    assert len(found.graph.edges) >= 2


def test_every_recorded_state_has_its_place_in_the_folded_machine(machines: Machines) -> None:
    places = places_in(machines.folded, machines)
    state_map = fold(machines.machine, traces=machines.traces).state_map
    visited = np.unique(machines.traces.states)
    assert np.array_equal(places[visited], state_map[visited])


def test_codes_are_signs_where_they_can_be() -> None:
    assert code_texts(np.array([[-1, 0, 1], [0, 0, 0]], dtype=np.int8)) == ("-0+", "000")
    assert code_texts(np.array([[2, 10]], dtype=np.int8)) == ("2 10",)
    assert rounded(np.array([1.23456789, -0.0001234567])) == [1.2346, -0.00012346]


def test_a_form_that_is_drawn_in_part_is_held_in_full(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit in (("LABELLED_STATES", 0), ("PLAIN_STATES", 2), ("TOP_STATES", 2)):
        monkeypatch.setattr(f"moorelens.fsm.drawing.{name}", limit)
    monkeypatch.setattr("moorelens.pipelines.views.laid_out", lambda drawing, **_: (b"<svg/>", ""))
    views = machine_views(
        machines, drawings_of(machines, legend=False, prefixed=True), {}, (), others={"folded": machines.folded},
        decisions=(), pictures={}, names=EnvironmentSpec(
            id="CartPole-v1", kind="control", observation_shape=(4,), observation_dtype="float32",
            action_names=("left", "right"), feature_names=FEATURES, max_steps=None, reward_threshold=None,
        ),
    )  # fmt: skip
    found = {view.key: view for view in views}
    assert found["machine-whole"].whole_of == "machine"
    assert len(found["machine-whole"].states) == machines.machine.n_states
    assert all(state.dwell or not state.visits for state in found["machine-whole"].states)
    # The machine as extracted has S, its reduced form M, and what is folded numbers its states anew.
    letters = {key: {state.label[0] for state in view.states} for key, view in found.items() if view.whole_of}
    assert letters["machine-whole"] == {"S"}
    assert letters.get("reduced-whole", {"M"}) == {"M"}
    assert letters.get("folded-whole", {"F"}) == {"F"}
    monkeypatch.setattr("moorelens.pipelines.views.WHOLE_STATES", 2)
    drawing = drawings_of(machines, legend=False, prefixed=True)["machine"]
    assert whole_graph("machine", drawing, machines, others={}) is None
