"""The pictures of a machine in a report: every form and every step of the reduction, with what was recorded of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from moorelens.envs.config import EnvironmentSpec
from moorelens.fsm.automata.decisions import decision_points
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.run import compile_machine
from moorelens.fsm.drawing import Drawing
from moorelens.fsm.drawing_graph import DrawnGraph
from moorelens.fsm.drawing_sources import graph_of_machine, graph_of_reduced
from moorelens.pipelines.pictures import LETTERS, TITLES, VIEWS, Machines, laid_out, macro_rules, state_rules
from moorelens.pipelines.reductions import STEP_WORDS, Stage, heads, skeleton
from moorelens.pipelines.visits import Recording, with_machine_states, with_visits
from moorelens.reports.build import machine_view, whole_view
from moorelens.reports.data import DecisionPoint, MachineView, Picture

# A picture of a step in between is worth less waiting than that of the result.
_SECONDS_BETWEEN = 10.0
# Of larger machines a report holds the most visited states only: with 5,000 it has some 15 MB.
WHOLE_STATES = 4000


def machine_views(
    machines: Machines,
    drawings: Mapping[str, Drawing],
    between: Mapping[str, Drawing],
    taken: Sequence[Stage],
    *,
    others: Mapping[str, MooreMachine],
    decisions: Sequence[DecisionPoint],
    pictures: dict[str, Picture],
    names: EnvironmentSpec,
) -> tuple[MachineView, ...]:
    """Return the views of a report, the reduced machine first; pictures that they show are added to `pictures`.

    `drawings`: the machine's forms by view; `others`: those that are machines of their own; `between`: the steps of the
    reduction that look different.
    """
    recording = recording_of(machines, feature_names=names.feature_names)
    by_node = {(decision.view, decision.node): decision.key for decision in decisions}
    entered = {stage.step: heads(stage.reduced) for stage in taken}
    views = []
    for key, drawing in drawings.items():
        title = TITLES.get(key, key.capitalize())
        forms = [_view(key, drawing, title=title, decisions=by_node)]
        graph = whole_graph(key, drawing, machines, others=others)
        if graph is not None:
            forms.append(whole_view(graph, of=key, title=title, decisions=by_node))
        if key in others:
            places = places_in(others[key], machines)
            forms = [with_machine_states(view, places) for view in forms]
        heading = heads(machines.reduced) if key == "reduced" else None
        views += [with_visits(view, recording, pictures=pictures, heads=heading) for view in forms]
    for key, drawing in _further(machines, drawings, between):
        title = "Decision skeleton" if key == "skeleton" else STEP_WORDS[key][0]
        view = _view(key, drawing, title=title, decisions={}, seconds=_SECONDS_BETWEEN)
        views.append(with_visits(view, recording, pictures=pictures, heads=entered.get(key, heads(machines.reduced))))
    return tuple(views)


def _further(
    machines: Machines, drawings: Mapping[str, Drawing], between: Mapping[str, Drawing]
) -> Iterator[tuple[str, Drawing]]:
    bits = {point.state: point.bits for point in decision_points(machines.machine) if not point.silent}
    bones = skeleton(machines, bits=bits, like=drawings[VIEWS[0]])
    if bones is not None:
        yield "skeleton", bones
    yield from between.items()


def whole_graph(
    key: str, drawing: Drawing, machines: Machines, *, others: Mapping[str, MooreMachine]
) -> DrawnGraph | None:
    """Return all of the machine of which `drawing` shows a part, None where it shows all or a page cannot hold it."""
    if drawing.detail != "top":
        return None
    texts = state_rules(machines)
    prefix = f"{key}-whole-"
    if key == "reduced":
        graph, _ = graph_of_reduced(machines.reduced, rules=macro_rules(texts, machines.reduced), prefix=prefix)
    elif key in others:
        graph, _ = graph_of_machine(others[key], prefix=prefix, letter=LETTERS[key])
    else:
        graph, _ = graph_of_machine(machines.machine, rules=texts, prefix=prefix)
    return graph if len(graph.nodes) <= WHOLE_STATES else None


def _view(
    key: str, drawing: Drawing, *, title: str, decisions: Mapping[tuple[str, str], str], seconds: float | None = None
) -> MachineView:
    svg, note = laid_out(drawing) if seconds is None else laid_out(drawing, seconds=seconds)
    own = {node: decision for (view, node), decision in decisions.items() if view == key}
    return machine_view(drawing, svg, key=key, title=title, decisions=own, note=note)


def recording_of(machines: Machines, *, feature_names: tuple[str, ...] | None) -> Recording:
    """Return the recorded steps of a run as states, frames and values."""
    values = machines.played.extras["value"]
    return Recording(
        before=machines.before,
        states=machines.traces.states,
        offsets=machines.traces.offsets,
        frames=machines.played.frames,
        frame_index=machines.played.frame_index,
        values=None if np.isnan(values).any() else values,
        feature_names=feature_names,
    )


def places_in(other: MooreMachine, machines: Machines) -> npt.NDArray[np.int64]:
    """Return which state of `other`, read along the recorded episodes, each machine state (S,) meets most often."""
    traces, machine = machines.traces, machines.machine
    stepper = compile_machine(other)
    symbols, _ = stepper.recognise(machine.symbol_codes)
    n_states, n_other = len(machine.actions), len(other.actions)
    met = np.zeros((n_states, n_other), dtype=np.int64)
    alive = np.arange(traces.n_episodes)
    lengths = np.diff(traces.offsets)
    positions = stepper.start(traces.n_episodes)
    for step in range(int(lengths.max(initial=0))):
        alive = alive[step < lengths[alive]]
        rows = traces.offsets[alive] + step
        reached, _, _ = stepper.step(positions[alive], symbols[traces.symbols[rows]])
        positions[alive] = reached
        np.add.at(met, (traces.states[rows], reached), 1)
    places = np.where(met.sum(axis=1) > 0, met.argmax(axis=1), -1)
    places[machine.start] = other.start
    return places
