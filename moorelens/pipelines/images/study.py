"""`image count` and `image crosstest`: records of single pictures, made in shards, and what they say of the models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

import msgspec
import torch

from moorelens.pipelines.images.study_config import CountConfig, CrosstestConfig, settings_of_study, study_out
from moorelens.pipelines.images.study_examples import count_examples, crosstest_examples
from moorelens.pipelines.images.study_records import (
    CountRecord,
    CrossRecord,
    from_parquet,
    require_parquet,
    to_parquet,
)
from moorelens.pipelines.images.study_subject import Study, open_study
from moorelens.pipelines.images.study_summary import count_summary, crosstest_summary, head_of
from moorelens.pipelines.images.study_work import Done, shards_of, work
from moorelens.pipelines.threads import limited_threads
from moorelens.reports.study import MAPPED, CountSummary, CrosstestSummary, decode_study, encode_study
from moorelens.reports.study_figures import landscape_svg, matrix_svg, measures_svg
from moorelens.reports.study_html import render_study
from moorelens.reports.study_tables import study_table_files
from moorelens.runs.arrays import decode_arrays, encode_arrays
from moorelens.runs.executor import open_executor
from moorelens.runs.hashing import digest
from moorelens.runs.manifest import Header, make_header
from moorelens.runs.progress import Progress
from moorelens.runs.stages import Stage, StageContext, run_stages
from moorelens.saliency.images.gradients import check_gradient
from moorelens.saliency.registry import make_explainer

RECORDS, MAPS, SUMMARY, PAGE = "records.parquet", "heatmaps.npz", "summary.json", "report.html"
MEASURES, MATRIX, LANDSCAPE = "measures.svg", "matrix.svg", "map.svg"

Config = CountConfig | CrosstestConfig
Summary = CountSummary | CrosstestSummary


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """A study's end; `summary` is None where a time limit came before it."""

    folder: Path
    summary: Summary | None
    left_out: tuple[str, ...]


def run_count(config: CountConfig, *, progress: Progress | None = None) -> StudyResult:
    """Count sub-explanations in the folder `config.out`; the same call goes on where one was stopped.

    Raises `MissingToolError` without pyarrow, `RequestError` for what is wrong in the request, both before any work.
    """
    return _run("count", config, progress=progress)


def run_crosstest(config: CrosstestConfig, *, progress: Progress | None = None) -> StudyResult:
    """Show the heat maps of each model to all, in the folder `config.out`; as `run_count` otherwise."""
    make_explainer(config.explainer, **config.settings)  # refused before any model is opened
    return _run("crosstest", config, progress=progress)


def _run(method: str, config: Config, *, progress: Progress | None) -> StudyResult:
    version = require_parquet()
    folder = Path(config.out or study_out(method, config))
    with limited_threads(1):
        study = open_study(config)
        if isinstance(config, CrosstestConfig):
            for model in study.models.opened:
                check_gradient(model, method=config.explainer)
        stages = [_measure_stage(study, config, version), _summary_stage(study, config), _page_stage(study, config)]
        outcome = run_stages(
            folder,
            stages,
            header=_header(method, study, config),
            force=config.force,
            progress=progress,
            max_minutes=config.max_minutes,
        )
    done = stages[1].name in {*outcome.ran, *outcome.held}
    summary = _read(folder / SUMMARY, config) if done else None
    return StudyResult(folder=folder, summary=summary, left_out=outcome.left_out)


def _read(path: Path, config: Config) -> Summary:
    data = path.read_bytes()
    return decode_study(data, CountSummary) if isinstance(config, CountConfig) else decode_study(data, CrosstestSummary)


def _header(method: str, study: Study, config: Config) -> Header:
    """Return whose folder it is: other models, pictures or settings are another study, which `--force` starts over."""
    settings = settings_of_study(config)
    return make_header(
        f"image {method}",
        identity={
            "models": digest(list(study.models.identities)),
            "pictures": study.pictures_id,
            "settings": digest(settings),
        },
        config={**settings, "models": list(study.models.references), "pictures": _source(config)},
        threads=1,
        seeds={"run": [config.seed]},
    )


def _source(config: Config) -> str:
    return config.task if config.images is None else PurePath(config.images.replace("\\", "/")).name


def _measure_stage(study: Study, config: Config, version: Mapping[str, str]) -> Stage:
    """Every picture under every model, in shards; a kill loses those under way."""
    counting = isinstance(config, CountConfig)

    def run(context: StageContext) -> Mapping[str, bytes]:
        done = _all_shards(context, study, config)
        if counting:
            counted = [record for one in done for record in msgspec.json.decode(one.records, type=list[CountRecord])]
            return {RECORDS: to_parquet(counted, CountRecord)}
        crossed = [record for one in done for record in msgspec.json.decode(one.records, type=list[CrossRecord])]
        maps = {name: array for one in done for name, array in decode_arrays(one.arrays).items()}
        return {RECORDS: to_parquet(crossed, CrossRecord), MAPS: encode_arrays(maps)}

    return Stage(
        name="measure",
        run=run,
        config={"names": list(study.models.names), "library": dict(version)},
        outputs=(RECORDS,) if counting else (RECORDS, MAPS),
    )


def _all_shards(context: StageContext, study: Study, config: Config) -> list[Done]:
    """Return what all shards came to, in order, those of an earlier call included."""
    shards = shards_of(study, config)
    saved = dict(context.checkpoint.load() or {})
    # A shard of another size is another piece of work.
    names = [f"{shard.first}+{len(shard.subjects)}" for shard in shards]
    missing = [shard for name, shard in zip(names, shards, strict=True) if name not in saved]
    with (
        context.progress.task("pictures", total=len(study.subjects)) as task,
        open_executor(min(config.workers, max(1, len(missing)))) as executor,
    ):
        task.advance(len(study.subjects) - sum(len(shard.subjects) for shard in missing))
        found: Iterator[Done] = executor.map(work, missing)
        for shard, done in zip(missing, found, strict=True):
            saved[f"{shard.first}+{len(shard.subjects)}"] = msgspec.msgpack.encode(done)
            task.advance(len(shard.subjects))
            context.checkpoint.save(saved)
    return [msgspec.msgpack.decode(saved[name], type=Done) for name in names]


def _summary_stage(study: Study, config: Config) -> Stage:
    mapped = len(study.models.names) >= MAPPED
    outputs = (MEASURES,) if isinstance(config, CountConfig) else (MATRIX, LANDSCAPE) if mapped else (MATRIX,)

    def run(context: StageContext) -> Mapping[str, bytes]:
        head = head_of(study, config, source=_source(config))
        summary: Summary
        if isinstance(config, CountConfig):
            summary = count_summary(head, from_parquet(context.read(RECORDS), CountRecord), config)
            figures = {MEASURES: measures_svg(summary)}
        else:
            summary = crosstest_summary(head, from_parquet(context.read(RECORDS), CrossRecord), config)
            names = [model.name for model in head.models]
            figures = {MATRIX: matrix_svg(summary)}
            if mapped:
                figures[LANDSCAPE] = landscape_svg(summary.landscape, names)
        drawn = {name: svg.encode("utf-8") for name, svg in figures.items()}
        return {SUMMARY: encode_study(summary), **drawn, **study_table_files(summary)}

    return Stage(
        name="summary",
        run=run,
        config={"picked": msgspec.to_builtins(study.picked)},
        needs=(RECORDS,),
        outputs=(SUMMARY, *outputs, "tables/"),
    )


def _page_stage(study: Study, config: Config) -> Stage:
    def run(context: StageContext) -> Mapping[str, bytes]:
        data = context.read(SUMMARY)
        if isinstance(config, CountConfig):
            records = from_parquet(context.read(RECORDS), CountRecord)
            return {PAGE: render_study(decode_study(data, CountSummary), count_examples(study, records, config))}
        arrays = decode_arrays(context.read(MAPS))
        maps = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        return {PAGE: render_study(decode_study(data, CrosstestSummary), crosstest_examples(study, maps, config))}

    needs = (RECORDS, SUMMARY) if isinstance(config, CountConfig) else (MAPS, SUMMARY)
    return Stage(name="page", run=run, needs=needs, outputs=(PAGE,))
