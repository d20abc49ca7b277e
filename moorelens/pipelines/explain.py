"""`explain`: from a policy to its machine, what it is worth, and a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from moorelens.pipelines.config import DemoConfig, ExplainConfig, default_out
from moorelens.pipelines.job import Job, open_job
from moorelens.pipelines.machines import machine_stages
from moorelens.pipelines.measure import evaluate_stage
from moorelens.pipelines.outcome import RunResult
from moorelens.pipelines.pictures import draw_stage
from moorelens.pipelines.reporting import SUMMARY, report_stage
from moorelens.pipelines.saliency import saliency_stage
from moorelens.pipelines.stability import repeats_stage
from moorelens.pipelines.threads import limited_threads
from moorelens.reports.summary import decode_summary
from moorelens.runs.progress import Progress
from moorelens.runs.stages import Stage, run_stages


def run_explain(config: ExplainConfig, *, progress: Progress | None = None) -> RunResult:
    """Explain a policy into the folder `config.out`; the same call goes on where an earlier one was stopped.

    Raises `RequestError` for what is wrong in the request, and what the stages raise.
    """
    job = open_job(config)
    return run_job(job, "explain", explain_stages(job), progress=progress)


def explain_stages(job: Job) -> list[Stage]:
    """Return the stages of the whole job."""
    repeats = [repeats_stage(job)] if job.budget.repeats > 1 else []
    return [
        *machine_stages(job),
        draw_stage(job),
        saliency_stage(job),
        evaluate_stage(job),
        *repeats,
        report_stage(job),
    ]


def run_job(
    job: Job, verb: str, stages: Sequence[Stage], *, progress: Progress | None, summary: str = SUMMARY
) -> RunResult:
    """Run the stages of a job in its folder and read the summary that they left."""
    config: ExplainConfig | DemoConfig = job.config
    folder = Path(config.out or default_out(verb, config.policy))
    with limited_threads(job.threads), job.workers:
        outcome = run_stages(
            folder,
            stages,
            header=job.header(verb),
            force=config.force,
            progress=progress,
            max_minutes=config.max_minutes,
        )
    reached = {*outcome.ran, *outcome.held}
    finished = any(stage.name in reached and summary in stage.outputs for stage in stages)
    return RunResult(
        folder=folder,
        summary=decode_summary((folder / summary).read_bytes()) if finished else None,
        left_out=outcome.left_out,
    )
