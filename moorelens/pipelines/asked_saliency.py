"""`saliency`: one decision point of a finished run, explained by one method, added to the run."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from moorelens.errors import OptionError
from moorelens.fsm.automata.exchange.reduced_json import decode_reduced
from moorelens.fsm.automata.reduced import ReducedMachine, members_of
from moorelens.pipelines.asked_sag import SAG_METHOD, BranchGraphs, check_sag_score, sag_stage
from moorelens.pipelines.job import Job
from moorelens.pipelines.machines import MACHINE, QUANTISER, REDUCED, TRACES
from moorelens.pipelines.opened_run import job_of, open_run
from moorelens.pipelines.saliency import FOLDER as SALIENCY
from moorelens.pipelines.saliency import explained, main_branches, ranked_points, read_scene
from moorelens.pipelines.saliency_config import AskedSaliency, SaliencyConfig, branch_numbers, state_number
from moorelens.pipelines.threads import limited_threads
from moorelens.runs.progress import Progress
from moorelens.runs.stages import Stage, StageContext, add_stages
from moorelens.saliency.differential.analysis import BranchSaliency, Scene, branch_saliency, compared_pairs
from moorelens.saliency.differential.asked_scores import check_score
from moorelens.saliency.differential.attributed import attributed_branches
from moorelens.saliency.differential.config import DifferentialConfig
from moorelens.saliency.differential.records import BranchRecord
from moorelens.saliency.registry import full_name, make_explainer

FOLDER = "saliency-asked/"
DIFFERENTIAL = "differential"


def run_saliency(config: SaliencyConfig, *, progress: Progress | None = None) -> AskedSaliency:
    """Explain one decision point of a run and add the files to it, under `saliency-asked/`.

    Raises `RunFolderError` where `config.run` is no finished run, `OptionError` for a state, branches or a method that
    there are not, and what opening its policy raises.
    """
    config = msgspec.structs.replace(config, method=full_name(config.method))
    if config.method == SAG_METHOD:
        check_sag_score(config.score)
    elif config.method != DIFFERENTIAL:
        make_explainer(config.method)
    run = open_run(config.run)
    job = job_of(run, policy=config.policy, trust=config.trust)
    settings = differential_config(config)
    scene, _ = read_scene(job, run, settings, memories=config.method != DIFFERENTIAL)
    state, targets = asked_branches(scene, config, reduced=decode_reduced(run.read(REDUCED)))
    stem = f"{FOLDER}S{state}-S{targets[0]}-S{targets[1]}-{config.method}"
    if config.method != DIFFERENTIAL:
        check_score(scene, config.score)
        stem += "" if config.score == "action" else f"-{config.score.replace(':', '')}"
    with limited_threads(job.threads), job.workers:
        if config.method == SAG_METHOD:
            stage = sag_stage(job, settings, state=state, targets=targets, stem=stem)
        else:
            stage = asked_stage(job, config, state=state, targets=targets, stem=stem)
        add_stages(run.folder, [stage], progress=progress)
    files = tuple(str(run.folder / name) for name in stage.outputs)
    if config.method == SAG_METHOD:
        graphs = msgspec.json.decode((run.folder / f"{stem}.json").read_bytes(), type=BranchGraphs)
        return AskedSaliency(method=config.method, score=config.score, branch=graphs, files=files)
    record = msgspec.json.decode((run.folder / f"{stem}.json").read_bytes(), type=_Document).branch
    return AskedSaliency(
        method=config.method, score=None if config.method == DIFFERENTIAL else config.score, branch=record, files=files
    )


class _Document(msgspec.Struct, frozen=True, kw_only=True):
    format: str = "moorelens.saliency.branch/1"
    method: str
    score: str | None
    config: DifferentialConfig
    branch: BranchRecord


def asked_stage(job: Job, config: SaliencyConfig, *, state: int, targets: tuple[int, int], stem: str) -> Stage:
    """One decision point, one method."""
    settings = differential_config(config)
    score = None if config.method == DIFFERENTIAL else config.score

    def run(context: StageContext) -> Mapping[str, bytes]:
        scene, played = read_scene(job, context, settings, memories=score is not None)
        found = _found(scene, config, settings, state=state, targets=targets)
        record, files = explained(job, scene, played, found, games=0)
        document = _Document(method=config.method, score=score, config=settings, branch=record)
        endings = {name.removeprefix(SALIENCY + record.key): data for name, data in files.items()}
        named = {stem + ending: data for ending, data in endings.items() if ending.startswith(".")}
        return {f"{stem}.json": msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n", **named}

    return Stage(
        name=stem,
        run=run,
        config={"method": config.method, "score": score, "differential": settings},
        needs=(QUANTISER, MACHINE, TRACES),
        outputs=(f"{stem}.json", f"{stem}.npz", f"{stem}.{'svg' if job.env.feature_names else 'png'}"),
        added=True,
    )


def _found(
    scene: Scene, config: SaliencyConfig, settings: DifferentialConfig, *, state: int, targets: tuple[int, int]
) -> BranchSaliency:
    if config.method == DIFFERENTIAL:
        return branch_saliency(scene, state=state, targets=targets, config=settings)
    pairs = compared_pairs(scene, state=state, targets=targets, config=settings)
    return attributed_branches(scene, pairs, make_explainer(config.method), score=config.score, config=settings)


def differential_config(config: SaliencyConfig) -> DifferentialConfig:
    """Return the settings of the comparison."""
    names = ("level", "target", "steps", "pairs", "pairing", "area", "seed")
    return DifferentialConfig(**{name: getattr(config, name) for name in names})


def _numbered(text: str, reduced: ReducedMachine) -> int:
    """Return the state that `text` names: S3 as extracted, or M3 of the reduced machine, which decides in its last."""
    if not text.strip().upper().startswith("M"):
        return state_number(text, option="--state")
    number = state_number(text.strip()[1:], option="--state")
    if number >= reduced.n_macros:
        raise OptionError(
            f"The reduced machine has the states M0 to M{reduced.n_macros - 1}, and {text} is none of them."
        )
    return members_of(reduced, number)[-1]


def asked_branches(scene: Scene, config: SaliencyConfig, *, reduced: ReducedMachine) -> tuple[int, tuple[int, int]]:
    """Return the decision point and the two branches that are asked for; raises `OptionError` where there are none."""
    points = ranked_points(scene)
    if not points:
        raise OptionError("This machine has no decision point: from every state it goes one way, whatever is seen.")
    chosen = points[0]
    if config.state is not None:
        number = _numbered(config.state, reduced)
        known = {point.state: point for point in points}
        if number not in known:
            first = ", ".join(f"S{point.state}" for point in points[:8])
            raise OptionError(
                f"A decision is explained where a state leads to several, and S{number} does not: its decision points "
                f"are {first}{' and others' if len(points) > 8 else ''}."
            )
        chosen = known[number]
    return chosen.state, branch_numbers(config.branches) or main_branches(chosen)
