"""`moorelens image sag`: minimal sufficient sets of one picture, their graph, its drawing and its page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from PIL import Image
from torch import Tensor

from moorelens.errors import ModelFailure, OptionError
from moorelens.pipelines.images.drawing import as_rgb, png
from moorelens.pipelines.images.job import ImageJob, baseline_of, class_of, device_of, model_of, sources_of
from moorelens.pipelines.images.measuring import answer
from moorelens.pipelines.images.sag_config import SAGConfig, baselines_of, grid_of, image_config, sag_out
from moorelens.pipelines.threads import limited_threads
from moorelens.reports.format import count, listed, share
from moorelens.reports.image_words import BASELINES, taken_for_granted
from moorelens.reports.sag_html import render_sag
from moorelens.reports.sag_svg import SAGPictures, sag_svg
from moorelens.reports.sag_words import SAGSubject
from moorelens.runs.progress import NullProgress, Progress, TaskProgress
from moorelens.runs.stages import Stage, StageContext, run_stages
from moorelens.saliency.images.faults import blaming
from moorelens.saliency.images.gradients import check_gradient
from moorelens.saliency.images.loading import Picture
from moorelens.saliency.images.models import identity
from moorelens.saliency.patches import PatchGrid
from moorelens.saliency.sets.functions import Memory
from moorelens.saliency.sets.graph import build_sag, sag_grid
from moorelens.saliency.sets.guide import explainer_guide
from moorelens.saliency.sets.sag import SAG, decode_sag, encode_sag
from moorelens.saliency.sets.search import find_mse, is_vacuous
from moorelens.saliency.sets.segments import superpixel_grid
from moorelens.saliency.sets.text import sag_dnf, sag_dot
from moorelens.saliency.sets.values import SetValue, class_value

GRAPH, DRAWING, PAGE, DOT, FORMULA = "sag.json", "sag.svg", "report.html", "sag.dot", "sag.txt"
FILES = (GRAPH, DRAWING, PAGE, DOT, FORMULA)
_GUIDES: dict[str, dict[str, Any]] = {"occlusion": {}, "igos": {"size": 7}}


@dataclass(frozen=True, kw_only=True)
class SAGResult:
    """A run's end: the graph, what it is of, and where its files are."""

    folder: Path
    sag: SAG
    subject: SAGSubject


def run_image_sag(config: SAGConfig, *, progress: Progress | None = None) -> SAGResult:
    """Find the sets of one picture and write their graph into the folder `config.out`.

    A picture without a sufficient set, or that needs none, is a result. Raises: ModelError, ImageError, OptionError and
    RunFolderError for what is wrong in the request, ModelFailure where the model fails on the picture.
    """
    job = open_sag_job(config)
    with limited_threads(config.threads):
        stage = _stage(config, job, progress or NullProgress())
        run_stages(job.folder, [stage], header=job.header(), force=config.force)
    sag = decode_sag((job.folder / GRAPH).read_bytes())
    return SAGResult(folder=job.folder, sag=sag, subject=subject_of(sag))


def open_sag_job(config: SAGConfig) -> ImageJob:
    """Understand a request; raises `RequestError` for what is wrong in it, before anything is written."""
    if config.image is not None and Path(config.image).is_dir():
        raise OptionError(
            f"An attention graph is of one picture, and --image {config.image} is a folder: give one file of it."
        )
    shared = image_config(config)
    device = device_of(shared)
    model = model_of(shared)
    if config.guide != "ends":
        check_gradient(model, method=config.guide)
    target = None if config.class_ is None else class_of(model, config.class_)
    _, sources, skipped = sources_of(shared, model)
    model.module.to(device)
    return ImageJob(
        config=shared,
        method="sag",
        model=model,
        model_id=identity(model),
        device=device,
        target=target,
        sources=sources[:1],
        skipped=skipped,
        single=True,
        folder=Path(config.out or sag_out(config)),
    )


def _stage(config: SAGConfig, job: ImageJob, progress: Progress) -> Stage:
    source = job.sources[0]
    asked = msgspec.to_builtins(config)
    unused = {"out", "force", "image", "model", "weights", "model_args", "class_", "classes", "threads"}

    def run(context: StageContext) -> Mapping[str, bytes]:
        try:
            with blaming(job.model, name=source.name):
                return _files(config, job, source.read().picture, context, progress)
        except torch.OutOfMemoryError as error:
            raise ModelFailure(
                f"A model needs memory for each picture of a batch, and {job.model.name} ran out of it with "
                f"{config.max_batch} of {source.name}: pass a smaller --max-batch, such as 16."
            ) from error

    return Stage(
        name="sag",
        run=run,
        config={
            "picture": source.sha,
            "file": source.name,
            "class": job.target,
            "device": job.device,
            **{name: value for name, value in asked.items() if name not in unused},
        },
        outputs=FILES,
    )


def _files(
    config: SAGConfig, job: ImageJob, picture: Picture, context: StageContext, progress: Progress
) -> dict[str, bytes]:
    x = picture.input(job.model).to(job.device)
    probabilities = answer(job.model, x, name=picture.name).softmax(dim=1)[0]
    predicted = int(probabilities.argmax())
    target = predicted if job.target is None else job.target
    v = _value(config, job, picture, x, target)
    with progress.task("image sag: sets", total=config.budget) as task:
        _resumed(v, context, task)
        sag = _graph(config, v)
        v.watch = None
    about = {
        "picture": picture.name,
        "model": job.model.name,
        "identity": job.model_id,
        "class": job.model.classes[target],
        "index": target,
        "probability": float(probabilities[target]),
        "predicted": job.model.classes[predicted],
        "predicted_probability": float(probabilities[predicted]),
        "baselines": list(baselines_of(config)),
        "forwards": v.n_forward,
        "assumed": list(job.model.assumed),
        **{name: getattr(config, name) for name in _SETTINGS},
    }
    sag = msgspec.structs.replace(sag, grid=sag_grid(v.grid), subject=about)
    return sag_files(sag, _pictures(sag, v, job), subject_of(sag))


def _resumed(v: SetValue, context: StageContext, task: TaskProgress) -> None:
    """Take up what an earlier process evaluated before it was killed, and keep what this one does."""
    saved = context.checkpoint.load()
    if saved is not None:
        found = msgspec.msgpack.decode(saved["sets"], type=tuple[dict[str, float], dict[str, float]])
        v.recall(Memory(*({int(bits, 16): value for bits, value in part.items()} for part in found)))

    def watch(new: int) -> None:
        task.advance(new)
        if context.checkpoint.due():
            # As text: a set of more than 64 patches is larger than the numbers of the format.
            parts = [{f"{bits:x}": value for bits, value in part.items()} for part in v.memory()]
            context.checkpoint.save({"sets": msgspec.msgpack.encode(parts)})

    v.watch = watch


_SETTINGS = ("grid", "score", "keep_class", "guide", "beam", "q", "max_roots", "budget", "fit", "seed", "max_batch")


def _value(config: SAGConfig, job: ImageJob, picture: Picture, x: Tensor, target: int) -> SetValue:
    shape = grid_of(config)
    size = (x.shape[2], x.shape[3])
    grid = superpixel_grid(picture.raw, shape) if isinstance(shape, int) else PatchGrid.regular(*shape, size)
    baselines = [
        baseline_of(msgspec.structs.replace(job.config, baseline=name), job.model) for name in baselines_of(config)
    ]
    return class_value(
        job.model.module, x, target, baselines, grid, score=config.score, keep_class=config.keep_class,
        generator=torch.Generator().manual_seed(config.seed), max_batch=config.max_batch,
    )  # fmt: skip


def _graph(config: SAGConfig, v: SetValue) -> SAG:
    guide = None
    if config.guide != "ends" and not is_vacuous(v, config.p_high):
        guide = explainer_guide(v, config.guide, max_batch=config.max_batch, **_GUIDES[config.guide])
    search = find_mse(
        v,
        guide=guide,
        p_high=config.p_high,
        beam=config.beam,
        q=config.q,
        max_roots=config.max_roots,
        budget=config.budget,
    )
    return build_sag(
        v,
        search,
        p_low=config.p_low,
        k_children=config.children,
        overlap=config.overlap,
        k_roots=config.roots,
        max_nodes=config.max_nodes,
    )


def _pictures(sag: SAG, v: SetValue, job: ImageJob) -> SAGPictures:
    """Return what the model saw of each node, back in the colours of the picture."""

    def seen(patches: int) -> bytes:
        shown = v.shown([patches])[0].cpu()
        column = [torch.tensor(part)[:, None, None] for part in (job.model.normaliser.std, job.model.normaliser.mean)]
        return png(Image.fromarray(as_rgb((shown * column[0] + column[1]).clamp(0, 1))))

    nodes = tuple(seen(sum(1 << patch for patch in node.patches)) for node in sag.nodes)
    return SAGPictures(whole=seen(v.everything), nothing=seen(0), nodes=nodes)


def sag_files(sag: SAG, pictures: SAGPictures | None, subject: SAGSubject) -> dict[str, bytes]:
    """Return the files of a graph by name."""
    drawing = sag_svg(sag, pictures, title=subject.title, answer=subject.answer)
    return {
        GRAPH: encode_sag(sag),
        DRAWING: drawing.encode("utf-8"),
        PAGE: render_sag(sag, pictures, subject),
        DOT: sag_dot(sag).encode("utf-8"),
        FORMULA: (sag_dnf(sag) + "\n").encode("utf-8"),
    }


def subject_of(sag: SAG) -> SAGSubject:
    """Return what a graph of a picture is of, in words."""
    about = sag.subject
    hidden = [BASELINES[name] for name in about["baselines"]]
    said = f"{about['model']} says {about['predicted']}, with a probability of {share(about['predicted_probability'])}."
    if about["class"] != about["predicted"]:
        said += f" Explained is {about['class']} ({share(about['probability'])}), which was asked for."
    kind = "margin" if about["score"] == "margin" else "probability"
    return SAGSubject(
        title=f"{about['class']} in {about['picture']}",
        answer=f"{kind} of {about['class']}",
        said=said,
        hidden=listed(hidden, last="or") + (", whichever leaves less" if len(hidden) > 1 else ""),
        facts=(
            ("model", str(about["model"])),
            ("patches", f"{sag.count} ({about['grid']})"),
            ("hidden patches show", listed(hidden, last="or")),
            ("through the model", f"{count(about['forwards'])} pictures"),
        ),
        kicker="attention graph of one picture",
        granted=taken_for_granted(str(about["model"]), about.get("assumed", ())),
        also=f", and the model still says {about['class']}" if about["keep_class"] else "",
    )
