"""The last stage: summary, report data, HTML and PDF, each computed from the files of the run."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from moorelens.errors import MissingToolError
from moorelens.fsm.automata.decisions import DecisionPoint as MachineDecision
from moorelens.fsm.automata.decisions import decision_points, dwell_lengths
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.drawing import draw_machine
from moorelens.fsm.drawing_graph import DrawnGraph
from moorelens.fsm.drawing_style import action_styles
from moorelens.fsm.medoids import medoid
from moorelens.pipelines.films import code_texts, episodes_of
from moorelens.pipelines.frames import as_bytes, coloured, grey
from moorelens.pipelines.job import Job
from moorelens.pipelines.machines import (
    FOLDED,
    MACHINE,
    QUANTISE_REPORT,
    REDUCED,
    SIZES,
    TRACES,
    quantise_report,
)
from moorelens.pipelines.measure import EVALUATION
from moorelens.pipelines.pictures import LETTERS, Machines, drawings_of, layout, read_machines, state_rules, tell
from moorelens.pipelines.reductions import reduction_steps, stage_drawings, stages
from moorelens.pipelines.saliency import FOLDER as SALIENCY
from moorelens.pipelines.saliency import RECORDS
from moorelens.pipelines.saliency_report import saliency_part, with_pictures, with_saliency
from moorelens.pipelines.stability import REPEATS
from moorelens.pipelines.summarise import PRUNING, Summary, reference_of, summarise, with_pruning, with_stability
from moorelens.pipelines.views import machine_views, whole_graph
from moorelens.policies.base import identity
from moorelens.reports.build import (
    action_marks,
    decision_point,
    difference_picture,
    feature_example,
    frame_picture,
)
from moorelens.reports.data import (
    DecisionPoint,
    Example,
    Named,
    Picture,
    Place,
    ReductionStep,
    ReportData,
    Subject,
    encode_report_data,
)
from moorelens.reports.html import render_html
from moorelens.reports.paper_tables import FOLDER, paper_tables
from moorelens.reports.pdf import render_pdf
from moorelens.reports.pruning import Pruning, decode_pruning
from moorelens.reports.summary import encode_summary
from moorelens.runs.arrays import decode_arrays
from moorelens.runs.manifest import installed_versions
from moorelens.runs.stages import Stage, StageContext

SUMMARY, REPORT_DATA, HTML, PDF = "summary.json", "report-data.json", "report.html", "report.pdf"
PRUNED = "pruned.json"  # what `prune` adds to a run
_DECISIONS = 40  # a report lists at most so many decision points, the weightiest first

Array = npt.NDArray[Any]


def report_stage(job: Job) -> Stage:
    """Everything that was measured, as data and as pages."""
    repeated = (REPEATS,) if job.budget.repeats > 1 else ()

    def run(context: StageContext) -> Mapping[str, bytes]:
        machines = read_machines(job, context)
        sizes = msgspec.json.decode(context.read(SIZES))
        found = summary_of(job, context)
        data = report_data(job, machines, found, sizes=sizes, context=context)
        files = {
            SUMMARY: encode_summary(found.summary),
            REPORT_DATA: encode_report_data(data),
            HTML: render_html(data),
            **paper_tables(data),
        }
        try:
            files[PDF] = render_pdf(data)
        except MissingToolError as error:
            tell(context, PDF, str(error))
        return files

    return Stage(
        name="report",
        run=run,
        config=_shown(job),
        needs=(MACHINE, REDUCED, FOLDED, TRACES, SIZES, QUANTISE_REPORT, EVALUATION, SALIENCY, *repeated),
        uses=(PRUNING, PRUNED),
        outputs=(SUMMARY, REPORT_DATA, HTML, FOLDER, *((PDF,) if find_spec("typst") is not None else ())),
    )


def summary_of(job: Job, context: StageContext) -> Summary:
    """Return the summary that follows from the files of a run."""
    found = summarise(
        job,
        machine=decode_machine(context.read(MACHINE)),
        sizes=msgspec.json.decode(context.read(SIZES)),
        evaluation=decode_arrays(context.read(EVALUATION)),
    )
    found = with_saliency(found, context.read(RECORDS))
    if job.budget.repeats > 1:
        found = with_stability(found, context.read(REPEATS))
    return with_pruning(found, context.read(PRUNING)) if PRUNING in context.names() else found


def _shown(job: Job) -> dict[str, Any]:
    """Return what a report says of a job and no file of an earlier stage holds."""
    return {
        "policy": reference_of(job),
        "card": job.loaded.card.get("algorithm"),
        "env": job.env,
        "actions": job.action_names,
        "preset": job.config.preset,
        "seed": job.config.seed,
        "seeds": {role: job.seeds(role) for role in ("fit", "selection", "held_out")},
        "quantise": job.quantise,
        "layout": layout(),
    }


def report_data(
    job: Job, machines: Machines, found: Summary, *, sizes: Mapping[str, Any], context: StageContext
) -> ReportData:
    """Return everything that the report shows."""
    drawings = drawings_of(machines, legend=False, prefixed=True)
    others = {"folded": machines.folded}
    if PRUNED in context.names():
        others["pruned"] = decode_machine(context.read(PRUNED))
        drawings["pruned"] = draw_machine(
            others["pruned"],
            title="Pruned machine",
            styles=drawings["reduced"].styles,
            legend=False,
            prefix="p-",
            letter=LETTERS["pruned"],
        )
    pictures: dict[str, Picture] = {}
    pruning = decode_pruning(context.read(PRUNING)) if PRUNING in context.names() else None
    shown = {"reduced": drawings["reduced"].graph}
    whole = whole_graph("reduced", drawings["reduced"], machines, others=others)
    shown |= {} if whole is None else {"reduced-whole": whole}
    decisions = _decisions(job, machines, shown, pictures, pruning)
    states = {f"d{place}": point.state for place, point in enumerate(_ranked(machines))}
    decisions = with_pictures(decisions, pictures, read=context.read, names=context.names(), states=states)
    taken = stages(machines, sizes["reductions"])
    between, pictured = stage_drawings(
        machines, taken, texts=state_rules(machines), final=drawings["reduced"], first=drawings["machine"]
    )
    views = machine_views(
        machines, drawings, between, taken, others=others, decisions=decisions, pictures=pictures, names=job.env
    )
    episodes, films = episodes_of(job, machines, views[0])
    steps = reduction_steps(
        machines, taken, history=sizes["reductions"], shown=pictured, decisions=found.summary.decisions.structural
    )
    return ReportData(
        subject=_subject(job, found),
        summary=found.summary,
        actions=action_marks(action_styles(machines.machine.action_names)),
        intervals=found.intervals,
        settings=(
            *_settings(job, context.read(QUANTISE_REPORT), fit_episodes=machines.traces.n_episodes),
            *_pruning_settings(pruning),
        ),
        versions=tuple(Named(group="", name=name, value=value) for name, value in installed_versions().items()),
        seed_returns=found.seed_returns,
        reductions=(*steps, *_folded_step(found)),
        views=views,
        decisions=decisions,
        episodes=episodes,
        pictures=pictures,
        films=films,
        codes=code_texts(machines.machine.state_codes),
        stability=found.stability,
        saliency=saliency_part(context.read(RECORDS), decisions, states),
        notes=_notes(found),
    )


def _notes(found: Summary) -> tuple[str, ...]:
    if not found.copies:
        return ()
    games = "game replays" if found.copies == 1 else "games replay"
    return (f"{found.copies} held-out {games} a fit game, shifted in time, and count nowhere.",)


def _subject(job: Job, found: Summary) -> Subject:
    spec, card = job.loaded.policy.spec, job.loaded.card
    tensors = job.loaded.policy.tensors().values()
    return Subject(
        policy=found.summary.policy,
        policy_name=job.loaded.name,
        identity=f"sha256:{identity(job.loaded.policy)}",
        env=job.env.id,
        env_kind=job.env.kind,
        action_names=job.action_names,
        feature_names=job.env.feature_names,
        algorithm=card.get("algorithm"),
        cell=spec.cell.upper(),
        memory_units=spec.state_size,
        parameters=sum(tensor.numel() for tensor in tensors),
        max_steps=job.env.max_steps,
        reward_threshold=job.env.reward_threshold,
        preset=job.config.preset,
    )


def _settings(job: Job, report: bytes, *, fit_episodes: int) -> tuple[Named, ...]:
    found = quantise_report(report)
    entries = [
        ("episodes", "fit episodes", str(fit_episodes), "of the policy, to quantise: " + str(job.budget.episodes))
    ]
    entries.append(("episodes", "held-out episodes", str(job.budget.held_out), ""))
    entries.append(("episodes", "seed", str(job.config.seed), ""))
    if job.atari:
        protocol = f"sticky actions {job.held_out.sticky}, no-op starts up to {job.held_out.noops}"
        entries.append(("episodes", "held-out protocol", protocol, ""))
    if found is None:
        entries.append(("quantiser", "source", "the policy's file", "used as published"))
    else:
        config = job.quantise
        size = f"{found.size[0]} (memory), {found.size[1]} (observation)"
        entries += [
            ("quantiser", "kind", config.kind, ""),
            ("quantiser", "code digits", size, f"{config.levels} values a digit" if config.kind == "qbn" else ""),
            ("quantiser", "chosen after", f"{found.chosen.round} rounds", f"of at most {config.rounds}"),
            ("quantiser", "updates", str(found.updates), "all sizes and restarts tried"),
            ("quantiser", "candidates judged", str(len(found.judgements)), "on the selection seeds"),
            ("quantiser", "return on selection seeds", f"{found.chosen.score:.6g} of {found.policy_score:.6g}", ""),
            ("quantiser", "objective", config.objective, f"plus {config.state_weight:g} of the state's distance"),
        ]
    return tuple(Named(group=group, name=name, value=value, note=note) for group, name, value, note in entries)


def _pruning_settings(pruning: Pruning | None) -> tuple[Named, ...]:
    if pruning is None:
        return ()
    price = f"{pruning.cost.mean:.6g} on the pruning games"
    entries = [
        ("mode", pruning.mode, "what one candidate changes"),
        ("tolerance", f"{pruning.tolerance:.6g}", "of return, for all candidates together"),
        ("games", str(len(pruning.seeds)), "of the selection seeds, played by the held-out protocol"),
        ("where nothing was recorded", pruning.fallback, "while candidates were judged"),
        ("candidates", f"{sum(trial.accepted for trial in pruning.trials)} of {len(pruning.trials)} accepted", price),
    ]
    return tuple(Named(group="pruning", name=name, value=value, note=note) for name, value, note in entries)


def _folded_step(found: Summary) -> tuple[ReductionStep, ...]:
    folded = found.summary.sizes.folded
    if folded is None:
        return ()
    words = "proven minimal" if folded.proven else f"another machine; at least {folded.lower_bound} states"
    return (
        ReductionStep(
            key="folded", title="Folded", states=folded.states, symbols=folded.symbols, merged=words, view="folded"
        ),
    )


def _ranked(machines: Machines) -> list[MachineDecision]:
    """Return the decision points that a report shows, the weightiest first."""
    points = [point for point in decision_points(machines.machine) if not point.silent]
    return sorted(points, key=lambda point: (-point.bits, point.state))[:_DECISIONS]


def _decisions(
    job: Job,
    machines: Machines,
    graphs: Mapping[str, DrawnGraph],
    pictures: dict[str, Picture],
    pruning: Pruning | None,
) -> tuple[DecisionPoint, ...]:
    ranked = _ranked(machines)
    dwells = dwell_lengths(ranked, machines.traces)
    found = []
    for place, point in enumerate(ranked):
        # A state that the drawing does not show on its own is shown where all states are.
        makers = (
            decision_point(
                point,
                graph,
                key=f"d{place}",
                view=view,
                steps=machines.traces.n_steps,
                rules=machines.rules.get(point.state),
                examples=_examples(job, machines, point, pictures),
                dwell=dwells.get(point.state),
                forced={
                    row.target: row.cost for row in (pruning.effects if pruning else ()) if row.state == point.state
                },
            )
            for view, graph in graphs.items()
        )
        made = next((made for made in makers if made is not None), None)
        if made is not None:
            found.append(made)
    return tuple(found)


def _examples(job: Job, machines: Machines, point: MachineDecision, pictures: dict[str, Picture]) -> dict[int, Example]:
    played, before = machines.played, machines.before
    chosen: dict[int, int] = {}
    vector = job.env.feature_names is not None
    scale = played.frames.std(axis=0) if vector else None
    for branch in point.branches:
        rows = np.flatnonzero((before == point.state) & (machines.traces.states == branch.target))
        seen = played.frames[played.frame_index[rows]]
        chosen[branch.target] = int(rows[medoid(seen, scale=scale)])
    ranked = sorted(point.branches, key=lambda branch: (-branch.count, branch.target))
    other = {branch.target: ranked[1 if branch is ranked[0] else 0].target for branch in ranked}
    make = _feature_example if vector else _frame_example
    return {target: make(job, machines, point, chosen, target, other[target], pictures) for target in chosen}


def _feature_example(
    job: Job,
    machines: Machines,
    point: MachineDecision,
    chosen: Mapping[int, int],
    target: int,
    other: int,
    pictures: dict[str, Picture],
) -> Example:
    played, step = machines.played, chosen[target]
    entry = machines.rules.get(point.state)
    rule = None if entry is None else entry.rule(target)
    decisive = {condition.feature for clause in rule.clauses for condition in clause} if rule is not None else set()
    return feature_example(
        played.frames[played.frame_index[step]],
        played.frames[played.frame_index[chosen[other]]],
        feature_names=job.env.feature_names or (),
        place=_place(machines, step),
        symbol=int(machines.traces.symbols[step]),
        decisive=decisive,
    )


def _frame_example(
    job: Job,
    machines: Machines,
    point: MachineDecision,
    chosen: Mapping[int, int],
    target: int,
    other: int,
    pictures: dict[str, Picture],
) -> Example:
    played, step = machines.played, chosen[target]
    seen = (played.frames[played.frame_index[at]] for at in (step, chosen[other]))
    frame, against = as_bytes(*seen)
    name = f"S{point.state}-S{target}"
    pictures[name] = frame_picture(coloured(frame), alt=f"What was seen before S{target} followed S{point.state}.")
    pictures[f"{name}-difference"] = difference_picture(
        grey(frame), grey(against), alt=f"The same frame, with its difference to the one before S{other}."
    )
    return Example(
        place=_place(machines, step),
        symbol=f"o{int(machines.traces.symbols[step])}",
        picture=name,
        difference=f"{name}-difference",
    )


def _place(machines: Machines, step: int) -> Place:
    offsets = machines.traces.offsets
    episode = int(np.searchsorted(offsets, step, side="right")) - 1
    return Place(episode=episode, step=step - int(offsets[episode]))
