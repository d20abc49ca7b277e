"""Rows of `reproduce mce` and `tomita` as they were published: few words, nothing completed, the labels of then."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from moorelens.envs.memory.lessons import Lesson
from moorelens.envs.playing import play
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.automata.run import compile_machine
from moorelens.fsm.players import MachinePlayer
from moorelens.pipelines.explain import run_job
from moorelens.pipelines.job import Job
from moorelens.pipelines.machines import FOLDED, MACHINE, QUANTISER, SIZES, network_of
from moorelens.pipelines.reproduce_fit import FitSettings
from moorelens.pipelines.reproduce_memory import PERCENT, MemoryRow, row_job, row_stages, train_network
from moorelens.pipelines.reproduce_tables import PublishedRow
from moorelens.policies.training.supervised import TeachSettings
from moorelens.runs.progress import Progress
from moorelens.runs.stages import Stage, StageContext
from moorelens.stats import estimate

REPLICA = "replica.json"
# The published extraction recorded ten episodes; scores are of a hundred words, or of ten episodes of 300 steps.
EPISODES = 10
TESTED = {"tomita": 100, "mce": 10}


def make_replica(task: MemoryRow, *, progress: Progress | None = None) -> dict[str, Any]:
    """Return the block `ours_published` of a row: our code under the published protocol; what is there is kept.

    The network learns from the published words and labels only (those of Tomita 6 are wrong at a fifth of the steps),
    the quantisers begin with reconstruction, nothing is probed or tried again; the machine is what ten episodes ran
    through, its undefined transitions stay undefined, and it is folded. Ours are the minimiser, which keeps its
    traces where the published one did not, and fine-tuning on right answers instead of the policy's.
    """
    folder = Path(task.out) / "published"
    name = task.row.key if task.seed == 0 else f"{task.row.key}-seed{task.seed}"
    trained = folder / "training" / name
    train_network(task, replica_lesson(task.row), replica_settings(task.row), trained, progress=progress)
    run = folder / "rows" / name
    task = msgspec.structs.replace(task, held_out=TESTED[task.row.table])
    job = row_job(task, trained, out=run, episodes=EPISODES)
    run_job(job, "extract", row_stages(job, replica_stage(job, task.row)), progress=progress)
    found: dict[str, Any] = msgspec.json.decode((run / REPLICA).read_bytes())
    return found


def replica_lesson(row: PublishedRow) -> Lesson:
    """Return what the network of a row was taught: the task's own words, with the labels that it gave then."""
    return Lesson(task=row.name, plain=True, label_bug=row.name == "tomita6")


def replica_settings(row: PublishedRow) -> FitSettings:
    """Return how a row's network was made: no noise, features of Tomita as they are, codes that reconstruct."""
    digits = (row.digits[0], 0 if row.table == "tomita" else row.digits[1])
    return FitSettings(
        teaching=TeachSettings(noise=0.0),
        digits=digits,
        start="reconstruction",
        start_updates=4000,
        updates=1200,
        noise=0.0,
        state_weight=0.0,
        probes=0,
    )


def replica_stage(job: Job, row: PublishedRow) -> Stage:
    """The machine that was recorded, folded, plays words that it was not made from."""

    def run(context: StageContext) -> Mapping[str, bytes]:
        machine, folded = (decode_machine(context.read(name)) for name in (MACHINE, FOLDED))
        sizes = msgspec.json.decode(context.read(SIZES))["folded"]
        player = MachinePlayer(compile_machine(folded), network_of(job, context.read(QUANTISER)))
        games = play(job.held_out, job.seeds("held_out"), player, progress=context.progress)
        score = estimate(PERCENT[row.table] * games.returns)
        block = {
            "states": sizes["states"],
            "symbols": sizes["symbols"],
            "unminimised_states": machine.n_states,
            "unminimised_symbols": machine.n_symbols,
            "score": score.mean,
            "low": score.low,
            "high": score.high,
        }
        return {REPLICA: msgspec.json.format(msgspec.json.encode(block), indent=1) + b"\n"}

    return Stage(
        name="replica",
        run=run,
        config={"row": row.key, "held_out": job.seeds("held_out")},
        needs=(MACHINE, FOLDED, SIZES, QUANTISER),
        outputs=(REPLICA,),
    )
