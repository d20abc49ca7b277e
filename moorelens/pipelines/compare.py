"""`compare`: quantisers of several kinds, and state merging without a memory, on the same episodes of one policy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from moorelens.fsm.automata.exchange.machine_json import decode_machine, encode_machine
from moorelens.fsm.passive import learn_machine
from moorelens.pipelines.compare_config import (
    MERGING,
    CompareConfig,
    kind_of,
    names_of,
    quantise_config_of,
    symbol_source,
)
from moorelens.pipelines.compare_play import VariantGames, games_stage, policy_stage
from moorelens.pipelines.compare_table import COMPARISON, Comparison, decode_comparison, table_stage
from moorelens.pipelines.config import default_out
from moorelens.pipelines.job import Job, open_job
from moorelens.pipelines.machines import (
    MACHINE,
    QUANTISER,
    ROLLOUTS,
    TRACES,
    decode_traces,
    extract_stage,
    quantise_stage,
    reduce_stage,
    rollouts_stage,
)
from moorelens.pipelines.threads import limited_threads
from moorelens.runs.manifest import installed_versions
from moorelens.runs.progress import Progress
from moorelens.runs.runlog import read_log
from moorelens.runs.stages import Stage, StageContext, run_stages


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareResult:
    """A comparison's end; `comparison` is None where a time limit came before the table was made.

    `seconds`: how long each row took, as this machine's log says; no file of the folder but the log holds it.
    """

    folder: Path
    comparison: Comparison | None
    seconds: Mapping[str, float]
    left_out: tuple[str, ...] = ()


def run_compare(config: CompareConfig, *, progress: Progress | None = None) -> CompareResult:
    """Compare ways of quantising a policy in the folder `config.out`; the same call goes on where one was stopped.

    Raises what `run_explain` raises, and `MissingToolError` where a quantiser's library is not installed.
    """
    job = open_job(config)
    return compare_job(job, names_of(config), progress=progress)


def compare_job(job: Job, names: tuple[str, ...], *, progress: Progress | None = None) -> CompareResult:
    """Run the comparison of an opened job."""
    folder = Path(job.config.out or default_out("compare", job.config.policy))
    stages = compare_stages(job, names)
    with limited_threads(job.threads), job.workers:
        outcome = run_stages(
            folder,
            stages,
            header=job.header("compare"),
            force=job.config.force,
            progress=progress,
            max_minutes=job.config.max_minutes,
        )
    finished = stages[-1].name in {*outcome.ran, *outcome.held}
    return CompareResult(
        folder=folder,
        comparison=decode_comparison((folder / COMPARISON).read_bytes()) if finished else None,
        seconds=seconds_of(folder, names),
        left_out=outcome.left_out,
    )


def compare_stages(job: Job, names: tuple[str, ...]) -> list[Stage]:
    """Return the stages of a comparison: the policy's episodes once, four stages a quantiser, and the table."""
    stages = [rollouts_stage(job), policy_stage(job)]
    for name in names:
        stages += _merging_stages(job, name, symbol_source(names)) if name in MERGING else _quantiser_stages(job, name)
    return [*stages, table_stage(job, names)]


def _quantiser_stages(job: Job, name: str) -> list[Stage]:
    settings = quantise_config_of(name, job.quantise, preset=job.config.preset)
    own = dataclasses.replace(job, quantise=settings, published={})
    inside = [quantise_stage(own), extract_stage(own), reduce_stage(own)]
    return [
        *(_under(stage, name, kind=kind_of(name)) for stage in inside),
        games_stage(own, VariantGames(name=name, machine=f"{name}/{MACHINE}", quantiser=f"{name}/{QUANTISER}")),
    ]


def _merging_stages(job: Job, name: str, source: str) -> list[Stage]:
    """State merging on the traces of another row: its symbols and actions, nothing of its states."""
    needs = (f"{source}/{MACHINE}", f"{source}/{TRACES}")

    def run(context: StageContext) -> Mapping[str, bytes]:
        given = decode_machine(context.read(needs[0]))
        _, traces = decode_traces(context.read(needs[1]))
        machine, _ = learn_machine(
            traces,
            symbol_codes=given.symbol_codes,
            action_names=given.action_names,
            method=MERGING[name],
            meta={**given.meta, "states": f"{name} on {source}"},
        )
        return {f"{name}/{MACHINE}": encode_machine(machine)}

    config = {"method": MERGING[name], "library": installed_versions(("aalpy",))}
    learn = Stage(name=f"learn-{name}", run=run, config=config, needs=needs, outputs=(f"{name}/{MACHINE}",))
    games = VariantGames(name=name, machine=f"{name}/{MACHINE}", quantiser=f"{source}/{QUANTISER}", network=False)
    return [learn, games_stage(job, games)]


class _Inside(StageContext):
    """What a stage sees when its files lie in a folder of their own."""

    def __init__(self, outer: StageContext, *, folder: str, shared: Sequence[str]) -> None:
        self.__dict__ = outer.__dict__
        self._folder_name, self._shared = folder, tuple(shared)

    def read(self, name: str) -> bytes:
        return super().read(name if name in self._shared else f"{self._folder_name}/{name}")


def _under(stage: Stage, folder: str, *, kind: str | None, shared: tuple[str, ...] = (ROLLOUTS,)) -> Stage:
    """Return `stage` with all files but the shared ones in `folder`; its key holds the version of the library."""

    def placed(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name if name in shared else f"{folder}/{name}" for name in names)

    def run(context: StageContext) -> Mapping[str, bytes]:
        files = stage.run(_Inside(context, folder=folder, shared=shared))
        return {f"{folder}/{name}": data for name, data in files.items()}

    library = installed_versions(("vector-quantize-pytorch",)) if kind == "fsq" else {}
    return dataclasses.replace(
        stage,
        name=f"{stage.name}-{folder}",
        run=run,
        config={"stage": msgspec.to_builtins(stage.config), "library": library},
        needs=placed(stage.needs),
        outputs=placed(stage.outputs),
    )


def seconds_of(folder: Path, names: Sequence[str]) -> dict[str, float]:
    """Return how long the stages of each row took when they were last run to their end, as the folder's log says.

    A stage that was killed and continued counts from where it was continued.
    """
    log = read_log(folder)
    events = [event for session in log.sessions for event in session.events] if log else []
    took = {event["stage"]: float(event["seconds"]) for event in events if event["event"] == "stage ended"}
    rows = {name: [f"{stage}-{name}" for stage in ("quantise", "extract", "reduce", "learn", "play")] for name in names}
    return {name: round(sum(took.get(stage, 0.0) for stage in stages), 1) for name, stages in rows.items()}
