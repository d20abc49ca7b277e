"""The drawings of a run: each form of the machine as DOT and, where a Graphviz is at hand, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from moorelens import graphviz
from moorelens.envs.rollouts import Rollouts
from moorelens.errors import LayoutTimeout, MissingToolError
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.automata.exchange.reduced_json import decode_reduced
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.reduced import ReducedMachine, macro_of
from moorelens.fsm.automata.traces import Traces, previous_states
from moorelens.fsm.drawing import Drawing, draw_machine, draw_reduced
from moorelens.fsm.drawing_style import action_styles
from moorelens.fsm.predicates import StateRules, branch_rules, rule_texts
from moorelens.pipelines.job import Job
from moorelens.pipelines.machines import FOLDED, MACHINE, REDUCED, TRACES, decode_traces
from moorelens.runs.stages import Stage, StageContext
from moorelens.text import escape

VIEWS = ("reduced", "folded", "machine")
TITLES = {"reduced": "Reduced", "folded": "Folded", "machine": "As extracted"}
_PREFIX = {"reduced": "r-", "folded": "f-", "machine": "u-"}
# States of the forms that are machines of their own are numbered anew: another letter says so.
LETTERS = {"folded": "F", "pruned": "P"}
_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Machines:
    """The machine of a run in its three forms, with its traces and, for control tasks, the rules of its branches."""

    machine: MooreMachine
    reduced: ReducedMachine
    folded: MooreMachine
    played: Rollouts
    traces: Traces
    rules: Mapping[int, StateRules]

    @property
    def before(self) -> np.ndarray:
        """The state (T,) that each recorded step began in."""
        return previous_states(self.traces, start=self.machine.start)


def read_machines(job: Job, context: StageContext) -> Machines:
    """Read the machine of a run and find the rules on named features that tell its branches apart."""
    machine = decode_machine(context.read(MACHINE))
    played, traces = decode_traces(context.read(TRACES))
    rules: Mapping[int, StateRules] = {}
    if job.env.feature_names is not None:
        rules = branch_rules(
            played.frames[played.frame_index],
            previous_states(traces, start=machine.start),
            traces.states,
            feature_names=job.env.feature_names,
        )
    return Machines(
        machine=machine,
        reduced=decode_reduced(context.read(REDUCED)),
        folded=decode_machine(context.read(FOLDED)),
        played=played,
        traces=traces,
        rules=rules,
    )


def drawings_of(machines: Machines, *, legend: bool, prefixed: bool) -> dict[str, Drawing]:
    """Return the drawing of each form; `prefixed` where several stand on one page."""
    styles = action_styles(machines.machine.action_names)
    texts = state_rules(machines)
    prefix = {view: _PREFIX[view] if prefixed else "" for view in VIEWS}
    return {
        "reduced": draw_reduced(
            machines.reduced,
            rules=macro_rules(texts, machines.reduced),
            styles=styles,
            legend=legend,
            prefix=prefix["reduced"],
        ),
        "folded": draw_machine(
            machines.folded,
            title="Folded machine",
            styles=styles,
            legend=legend,
            prefix=prefix["folded"],
            letter=LETTERS["folded"],
        ),
        "machine": draw_machine(machines.machine, rules=texts, styles=styles, legend=legend, prefix=prefix["machine"]),
    }


def state_rules(machines: Machines) -> dict[tuple[int, int], str]:
    """Return the rules that tell branches apart by pair of states; entering an episode is no branch."""
    silent = machines.machine.start
    return {pair: text for pair, text in rule_texts(machines.rules).items() if pair[0] != silent}


def macro_rules(texts: Mapping[tuple[int, int], str], reduced: ReducedMachine) -> dict[tuple[int, int], str]:
    """Return the rules by pair of states as rules by pair of macro-states."""
    macros = macro_of(reduced)
    place = {state: int(macros[at]) for state, at in enumerate(reduced.state_map.tolist()) if at >= 0}
    return {(place[source], place[target]): text for (source, target), text in texts.items()}


def draw_stage(job: Job) -> Stage:
    """DOT of every form, and SVG of those that could be laid out; the others' SVG says why it is none."""

    def run(context: StageContext) -> Mapping[str, bytes]:
        drawings = drawings_of(read_machines(job, context), legend=True, prefixed=False)
        files: dict[str, bytes] = {}
        for view, drawing in drawings.items():
            files[f"{view}.dot"] = drawing.dot.encode()
            svg, note = laid_out(drawing)
            if svg is None:
                tell(context, f"{view}.svg", note)
            files[f"{view}.svg"] = svg or unable(note)
        return files

    outputs = tuple(f"{view}.{ending}" for view in VIEWS for ending in ("dot", "svg"))
    return Stage(
        name="draw",
        run=run,
        config={"layout": layout(), "features": job.env.feature_names},
        needs=(MACHINE, REDUCED, FOLDED, TRACES),
        outputs=outputs,
    )


def layout() -> str:
    """Return what draws here, without its place: a drawing made without Graphviz is made anew once there is one."""
    return next((route.kind for route in graphviz.routes()), "none")


def tell(context: StageContext, file: str, why: str) -> None:
    """Say in one sentence which file of a stage is not what it could be, to the reader and to the log."""
    context.log("not made", file=file, why=why)
    with context.progress.task(file) as task:
        task.note(why)


def laid_out(drawing: Drawing, *, seconds: float = _SECONDS) -> tuple[bytes | None, str]:
    """Return the SVG of a drawing and "", or None and the reason in a sentence."""
    try:
        return graphviz.render(drawing.dot, timeout_s=seconds), ""
    except MissingToolError as error:
        return None, str(error)
    except LayoutTimeout as error:
        return None, str(error)


def unable(note: str) -> bytes:
    """Return an SVG that says in words why it shows no drawing."""
    body = f'<text x="10" y="24" font-family="sans-serif" font-size="12">{escape(note)}</text>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="900" height="40">{body}</svg>\n'.encode()
