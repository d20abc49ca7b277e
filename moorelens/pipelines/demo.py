"""`demo`: the whole job on a bundled policy; everything but its weights is computed in the run."""

from __future__ import annotations

from moorelens.pipelines.config import DemoConfig
from moorelens.pipelines.explain import explain_stages, run_job
from moorelens.pipelines.job import open_job
from moorelens.pipelines.outcome import RunResult
from moorelens.pipelines.zoo import demonstrated
from moorelens.runs.progress import Progress


def run_demo(config: DemoConfig, *, progress: Progress | None = None) -> RunResult:
    """Explain a bundled policy (`demonstrated`); raises what `run_explain` raises."""
    job = open_job(demonstrated(config))
    return run_job(job, "demo", explain_stages(job), progress=progress)
