"""`moorelens image METHOD`: each picture explained in a folder of its own, and an index of them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from moorelens.pipelines.images.config import ImageConfig, settings_of
from moorelens.pipelines.images.drawing import draw_layers, outline_of, thumbnail
from moorelens.pipelines.images.job import ImageJob, Source, open_image_job
from moorelens.pipelines.images.measuring import measure, model_facts
from moorelens.pipelines.images.summing import summary_csv, summary_of
from moorelens.pipelines.threads import limited_threads
from moorelens.reports.image import Explanation, ImagesSummary, decode_explanation, encode_image
from moorelens.reports.image_html import PageLayers, render_image
from moorelens.reports.image_index import render_index
from moorelens.reports.image_svg import curves_svg
from moorelens.runs.progress import NullProgress, Progress, TaskProgress
from moorelens.runs.stages import Stage, StageContext, run_stages

EXPLANATION, MAP, OVERLAY, CURVES, PAGE = (
    "explanation.json",
    "attribution.npz",
    "overlay.png",
    "curves.svg",
    "report.html",
)
PICTURE = "picture.png"
FILES = (EXPLANATION, MAP, PICTURE, OVERLAY, CURVES, PAGE)
SUMMARY, TABLE, INDEX = "summary.json", "summary.csv", "index.html"


@dataclass(frozen=True, kw_only=True)
class ImageResult:
    """A run's end: of one picture its `explanation`, of several their `summary`."""

    folder: Path
    explanation: Explanation | None
    summary: ImagesSummary | None


def run_image(config: ImageConfig, *, method: str, progress: Progress | None = None) -> ImageResult:
    """Explain a picture, or each of several, into the folder `config.out`; the same call goes on where one stopped.

    Raises: ModelError, ImageError, OptionError and RunFolderError for what is wrong in the request, ModelFailure where
    the model fails on a picture.
    """
    return run_image_job(open_image_job(config, method=method), progress=progress)


def run_image_job(job: ImageJob, *, progress: Progress | None = None) -> ImageResult:
    """Run an opened job."""
    shown = progress or NullProgress()
    with limited_threads(job.config.threads), shown.task(f"image {job.method}", total=len(job.sources)) as task:
        stages = image_stages(job, task)
        run_stages(job.folder, stages, header=job.header(), force=job.config.force)
    if job.single:
        explanation = decode_explanation((job.folder / EXPLANATION).read_bytes())
        return ImageResult(folder=job.folder, explanation=explanation, summary=None)
    summary = msgspec.json.decode((job.folder / SUMMARY).read_bytes(), type=ImagesSummary)
    return ImageResult(folder=job.folder, explanation=None, summary=summary)


def image_stages(job: ImageJob, task: TaskProgress) -> list[Stage]:
    """Return a stage for each picture, and one for the index of several."""
    stages = [_picture_stage(job, source, task) for source in job.sources]
    return stages if job.single else [*stages, _index_stage(job)]


def place(source: Source, file: str) -> str:
    """Return the name of one of a picture's files in the run folder."""
    return f"{source.key}/{file}" if source.key else file


def _picture_stage(job: ImageJob, source: Source, task: TaskProgress) -> Stage:
    def run(context: StageContext) -> Mapping[str, bytes]:
        files = explained_files(job, source, up="../index.html" if source.key else None)
        task.advance()
        return {place(source, name): data for name, data in files.items()}

    return Stage(
        name=f"explain {source.key}".rstrip(),
        run=run,
        config=_stage_config(job, source),
        outputs=tuple(place(source, name) for name in FILES),
    )


def _stage_config(job: ImageJob, source: Source) -> dict[str, Any]:
    """Return all that the files of a picture depend on, besides the model."""
    config = job.config
    names = ("baseline", "score", "fit", "steps", "seed", "max_batch")
    return {
        "method": job.method,
        "settings": settings_of(config),
        "picture": source.sha,
        "file": source.name,
        "class": job.target,
        "device": job.device,
        **{name: getattr(config, name) for name in names},
    }


def explained_files(job: ImageJob, source: Source, *, up: str | None) -> dict[str, bytes]:
    """Return the files of one picture by name; `up`: the page that leads to this one."""
    sample = source.read()
    measured = measure(job, sample)
    layers = draw_layers(measured, sample.picture.raw)
    explanation = measured.explanation
    page = PageLayers(
        picture=layers.picture,
        hidden=layers.hidden,
        heat=layers.heat,
        steps=layers.steps,
        outline=None if sample.truth is None else outline_of(sample.truth),
    )
    return {
        EXPLANATION: encode_image(explanation),
        MAP: measured.attribution.to_bytes(),
        PICTURE: layers.picture,
        OVERLAY: layers.overlay,
        CURVES: curves_svg(explanation).encode("utf-8"),
        PAGE: render_image(explanation, page, up=up),
    }


def _index_stage(job: ImageJob) -> Stage:
    needs = tuple(place(source, name) for source in job.sources for name in (EXPLANATION, OVERLAY))
    left_out = [(one.name, one.reason) for one in job.skipped]

    def run(context: StageContext) -> Mapping[str, bytes]:
        found = {source.key: decode_explanation(context.read(place(source, EXPLANATION))) for source in job.sources}
        summary = summary_of(job.method, model_facts(job), job.config, found, left_out)
        thumbs = {source.key: thumbnail(context.read(place(source, OVERLAY))) for source in job.sources}
        return {
            SUMMARY: encode_image(summary),
            TABLE: summary_csv(summary),
            INDEX: render_index(summary, thumbs),
        }

    return Stage(
        name="index",
        run=run,
        config={"left_out": left_out, "files": [source.key for source in job.sources]},
        needs=needs,
        outputs=(SUMMARY, TABLE, INDEX),
    )
