"""`extract`: from a policy to its machines and their drawings."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.automata.run import compile_machine
from moorelens.fsm.fidelity import share_repeated
from moorelens.pipelines.config import ExplainConfig
from moorelens.pipelines.explain import run_job
from moorelens.pipelines.job import Job, open_job
from moorelens.pipelines.machines import MACHINE, SIZES, TRACES, decode_traces, machine_stages
from moorelens.pipelines.outcome import RunResult
from moorelens.pipelines.pictures import draw_stage
from moorelens.pipelines.reporting import SUMMARY
from moorelens.pipelines.summarise import PRUNING, pruned_summary, reference_of, unmeasured
from moorelens.reports.summary import encode_summary
from moorelens.runs.progress import Progress
from moorelens.runs.stages import Stage, StageContext


def run_extract(config: ExplainConfig, *, progress: Progress | None = None) -> RunResult:
    """Extract the machines of a policy into the folder `config.out`; raises what `run_explain` raises."""
    job = open_job(config)
    return run_job(job, "extract", extract_stages(job), progress=progress)


def extract_stages(job: Job) -> list[Stage]:
    """Return the stages up to the machines and their drawings."""
    return [*machine_stages(job), draw_stage(job), summary_stage(job)]


def summary_stage(job: Job) -> Stage:
    """What is known without held-out games: sizes, decisions and the replay check."""

    def run(context: StageContext) -> Mapping[str, bytes]:
        machine = decode_machine(context.read(MACHINE))
        _, traces = decode_traces(context.read(TRACES))
        replay = share_repeated(
            compile_machine(machine),
            symbol_codes=machine.symbol_codes[traces.symbols],
            actions=traces.actions,
            offsets=traces.offsets,
        )
        sizes = msgspec.json.decode(context.read(SIZES))
        summary = unmeasured(job, machine=machine, sizes=sizes, replay=replay)
        if PRUNING in context.names():
            summary = pruned_summary(summary, context.read(PRUNING))
        return {SUMMARY: encode_summary(summary)}

    shown = {"policy": reference_of(job), "seeds": {role: job.seeds(role) for role in ("fit", "selection")}}
    return Stage(
        name="summary", run=run, config=shown, needs=(MACHINE, TRACES, SIZES), uses=(PRUNING,), outputs=(SUMMARY,)
    )
