"""`saliency --method sag`: the parts of an observation that alone make a policy act as it did, for two branches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec
from PIL import Image

from moorelens.errors import OptionError
from moorelens.pipelines.images.drawing import as_rgb, png
from moorelens.pipelines.job import Job
from moorelens.pipelines.machines import MACHINE, QUANTISER, TRACES
from moorelens.pipelines.saliency import read_scene
from moorelens.reports.format import feature, listed, share
from moorelens.reports.sag_html import render_sag
from moorelens.reports.sag_svg import SAGPictures, sag_svg
from moorelens.reports.sag_words import SAGSubject, findings, lede
from moorelens.runs.stages import Stage, StageContext
from moorelens.saliency.differential.analysis import Scene, compared_pairs
from moorelens.saliency.differential.config import DifferentialConfig
from moorelens.saliency.differential.sufficient import BranchSets, shown_image, sufficient_parts
from moorelens.saliency.sets.sag import SAG

SAG_METHOD = "sag"
_SHOWN_FEATURES = 8


class BranchGraph(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One branch: the step that stands for it, the step of the other branch it is compared with, and the graph."""

    target: int
    action: str
    step: int
    compared_with: int
    text: str
    graph: SAG


class BranchGraphs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`saliency-asked/*-sag.json`: the sufficient parts of an observation for each of two branches."""

    format: Literal["moorelens.saliency.sets/1"] = "moorelens.saliency.sets/1"
    method: Literal["sag"] = "sag"
    config: DifferentialConfig
    state: int
    targets: tuple[int, int]
    seen: tuple[int, int]
    branches: tuple[BranchGraph, BranchGraph]


def check_sag_score(score: str) -> None:
    """Raise `OptionError` for a score of which no share can be kept."""
    if score != "action":
        raise OptionError(
            f"The method sag looks for what keeps most of an action's probability, and --score {score} is none: leave "
            "it out."
        )


def sag_stage(job: Job, settings: DifferentialConfig, *, state: int, targets: tuple[int, int], stem: str) -> Stage:
    """Two branches of one decision point, a drawing and a page for each."""
    drawings = {target: f"{stem}-S{target}.svg" for target in targets}
    pages = {target: f"{stem}-S{target}.html" for target in targets}

    def run(context: StageContext) -> Mapping[str, bytes]:
        scene, _ = read_scene(job, context, settings, memories=True)
        pairs = compared_pairs(scene, state=state, targets=targets, config=settings)
        names = job.env.feature_names or ()
        graphs: list[BranchGraph] = []
        files: dict[str, bytes] = {}
        for one in sufficient_parts(scene, pairs, names=names):
            subject, pictures = _subject(job, scene, one, state=state, targets=targets), _pictures(one)
            drawing = sag_svg(one.sag, pictures, title=subject.title, answer=subject.answer)
            files[drawings[one.target]] = drawing.encode("utf-8")
            files[pages[one.target]] = render_sag(one.sag, pictures, subject, source=f"{stem}.json")
            graphs.append(_graph(job, one, subject))
        document = BranchGraphs(
            config=settings, state=state, targets=targets, seen=pairs.seen, branches=(graphs[0], graphs[1])
        )
        return {f"{stem}.json": msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n", **files}

    return Stage(
        name=stem,
        run=run,
        config={
            "method": SAG_METHOD,
            "differential": settings,
            "features": job.env.feature_names,
            "actions": job.action_names,
        },
        needs=(QUANTISER, MACHINE, TRACES),
        outputs=(f"{stem}.json", *drawings.values(), *pages.values()),
        added=True,
    )


def _graph(job: Job, one: BranchSets, subject: SAGSubject) -> BranchGraph:
    said = [f"{found.question} {found.word}: {found.text}" for found in findings(one.sag, subject)]
    return BranchGraph(
        target=one.target,
        action=job.action_names[one.action],
        step=one.row,
        compared_with=one.counterpart,
        text="\n".join([lede(one.sag, subject), *said]),
        graph=one.sag,
    )


def _subject(job: Job, scene: Scene, one: BranchSets, *, state: int, targets: tuple[int, int]) -> SAGSubject:
    action = job.action_names[one.action]
    opposite = targets[1] if one.target == targets[0] else targets[0]
    facts = [("policy", job.loaded.name), ("environment", job.env.id), ("decision", f"S{state} to S{one.target}")]
    names = job.env.feature_names
    if names:
        own, else_ = scene.observations[one.row], scene.observations[one.counterpart]
        facts += [
            (name, f"{feature(float(value))}, else {feature(float(shown))}")
            for name, value, shown in list(zip(names, own, else_, strict=True))[:_SHOWN_FEATURES]
        ]
    return SAGSubject(
        title=f"{action} at S{state}, on to S{one.target}",
        answer=f"probability of {action}",
        said=f"Where S{state} goes on to S{one.target}, the policy takes {action} ({share(one.sag.full)}).",
        hidden=f"what was seen where S{state} goes on to S{opposite}",
        facts=tuple(facts),
        also=f", and {action} is still the likeliest action" if one.greedy else "",
        advice=(
            "The branches then differ in what the policy remembers, not in what it does next: --method igos --score "
            "memory:K explains digit K of the memory it goes on with."
        ),
        kicker=f"what is enough for a decision between {listed([f'S{target}' for target in targets])}",
    )


def _pictures(one: BranchSets) -> SAGPictures | None:
    if one.v.grid.labels.ndim == 1:
        return None

    def seen(patches: tuple[int, ...]) -> bytes:
        return png(Image.fromarray(as_rgb(shown_image(one.v, patches).cpu())))

    nodes = tuple(seen(node.patches) for node in one.sag.nodes)
    return SAGPictures(whole=seen(tuple(range(one.v.count))), nothing=seen(()), nodes=nodes)
