"""Rows of `reproduce mce` and `tomita`: train, judge by selection seeds, extract, complete, minimise, score."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.memory.lessons import Lesson
from moorelens.envs.playing import play
from moorelens.fsm.automata.exchange.machine_json import decode_machine, encode_machine
from moorelens.fsm.automata.run import compile_machine
from moorelens.fsm.players import MachinePlayer
from moorelens.fsm.quantisers.files import read_quantisers, write_quantisers
from moorelens.pipelines.config import ExplainConfig
from moorelens.pipelines.explain import run_job
from moorelens.pipelines.extract import summary_stage
from moorelens.pipelines.job import Job, open_job
from moorelens.pipelines.machines import MACHINE, QUANTISER, TRACES, decode_traces, machine_stages, network_of
from moorelens.pipelines.reproduce_fit import FitSettings, Fitted, fit_network
from moorelens.pipelines.reproduce_tables import PublishedRow
from moorelens.pipelines.reproduce_truth import judge_machine
from moorelens.pipelines.threads import limited_threads
from moorelens.policies.native import write_native
from moorelens.policies.networks import GRUPolicy
from moorelens.policies.training.supervised import TeachSettings
from moorelens.runs.manifest import make_header
from moorelens.runs.progress import Progress
from moorelens.runs.stages import Stage, StageContext, run_stages
from moorelens.stats import estimate

POLICY, FIT = "policy.safetensors", "fit.json"
COMPLETED, MINIMISED, ROW = "completed.json", "minimised.json", "row.json"
# Words are short and many of them are needed to meet every transition; an episode of a mode counter has 300 steps.
FIT_EPISODES = {"tomita": 200, "mce": 20}
PERCENT = {"tomita": 100.0, "mce": 100.0 / 300.0}


class MemoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is made of one row: where, with which seed, and how often it may begin again."""

    row: PublishedRow
    out: str
    seed: int
    restarts: int
    held_out: int
    force: bool = False

    @property
    def rows(self) -> tuple[PublishedRow, ...]:
        """The one row, as a task of several says it."""
        return (self.row,)


def make_memory_row(task: MemoryRow, *, progress: Progress | None = None) -> dict[str, Any]:
    """Make one row and return its block `ours` with `equivalent` and `restarts`; what is there already is kept.

    Training begins again, with another seed, while answers on selection seeds are wrong, `task.restarts` times at most;
    of several attempts that all make mistakes the one with the fewest goes on. Held-out seeds choose nothing.
    """
    folder = Path(task.out)
    lesson, settings = lesson_of(task.row), settings_of(task.row)
    name = task.row.key if task.seed == 0 else f"{task.row.key}-seed{task.seed}"
    attempts: list[tuple[Fitted, Path]] = []
    for attempt in range(1 + task.restarts):
        place = folder / "training" / f"{name}-{attempt}"
        attempts.append((train_network(task, lesson, settings, place, attempt=attempt, progress=progress), place))
        if attempts[-1][0].exact:
            break
    chosen = max(range(len(attempts)), key=lambda i: (attempts[i][0].exact, *attempts[i][0].network, -i))
    run = folder / "rows" / name
    job = row_job(task, attempts[chosen][1], out=run)
    run_job(job, "extract", row_stages(job, score_stage(job, task.row, restarts=len(attempts) - 1)), progress=progress)
    found: dict[str, Any] = msgspec.json.decode((run / ROW).read_bytes())
    return found


def train_network(
    task: MemoryRow,
    lesson: Lesson,
    settings: FitSettings,
    place: Path,
    *,
    attempt: int = 0,
    progress: Progress | None = None,
) -> Fitted:
    """Train a quantised network in the folder `place`, where it is not there yet, and return what came of it."""
    seed = 1000 * task.seed + attempt
    kwargs = {"label_bug": "gym_x"} if lesson.label_bug else {}

    def run(context: StageContext) -> Mapping[str, bytes]:
        network, fitted = fit_network(lesson, settings, seed=seed, progress=context.progress)
        policy = network.policy
        assert isinstance(policy, GRUPolicy)
        quantisers: Any = {"observation": network.observation, "state": network.state}
        return {
            POLICY: write_native(policy, EnvironmentRequest(id=lesson.env_id, kwargs=kwargs)),
            QUANTISER: write_quantisers({name: one for name, one in quantisers.items() if one is not None}),
            FIT: msgspec.json.encode(fitted) + b"\n",
        }

    described = {"lesson": lesson, "settings": settings, "seed": seed}
    stage = Stage(name="fit", run=run, config=msgspec.to_builtins(described), outputs=(POLICY, QUANTISER, FIT))
    identity = {"row": task.row.key, "seed": str(seed)}
    header = make_header("reproduce", identity=identity, config=msgspec.to_builtins(described), threads=1)
    with limited_threads(1):
        run_stages(place, [stage], header=header, force=task.force, progress=progress)
    return msgspec.json.decode((place / FIT).read_bytes(), type=Fitted)


def row_job(task: MemoryRow, trained: Path, *, out: Path, episodes: int | None = None) -> Job:
    """Return the job that extracts the machine of a trained network: an ordinary one, with its quantisers as given."""
    config = ExplainConfig(
        policy=str(trained / POLICY),
        out=str(out),
        seed=task.seed,
        episodes=episodes or FIT_EPISODES[task.row.table],
        held_out=task.held_out,
        preset="quick",
        force=task.force,
    )
    job = open_job(config)
    return dataclasses.replace(job, published=read_quantisers((trained / QUANTISER).read_bytes()))


def row_stages(job: Job, last: Stage) -> Sequence[Stage]:
    """Return the stages of a row: those of `extract` without pictures, the policy's file, and what scores the row."""
    policy_file = Path(job.config.policy)
    kept = Stage(name="policy", run=lambda context: {POLICY: policy_file.read_bytes()}, outputs=(POLICY,))
    return [*machine_stages(job), summary_stage(job), kept, last]


def score_stage(job: Job, row: PublishedRow, *, restarts: int) -> Stage:
    """The machine is completed, minimised, compared with the task's own, and played on held-out seeds."""
    lesson = lesson_of(row)

    def run(context: StageContext) -> Mapping[str, bytes]:
        machine = decode_machine(context.read(MACHINE))
        played, traces = decode_traces(context.read(TRACES))
        network = network_of(job, context.read(QUANTISER))
        truth = judge_machine(machine, network, lesson, played=played, traces=traces)
        small = truth.minimised
        player = MachinePlayer(compile_machine(small.machine), network)
        games = play(job.held_out, job.seeds("held_out"), player, progress=context.progress)
        score = estimate(PERCENT[row.table] * games.returns)
        full = truth.completed.machine
        ours = {
            "states": small.machine.n_states,
            "symbols": int(small.symbol_classes.max(initial=-1)) + 1,
            "unminimised_states": full.n_states,
            "unminimised_symbols": full.n_symbols,
            "score": score.mean,
            "low": score.low,
            "high": score.high,
        }
        found = {"ours": ours, "equivalent": truth.equivalent, "restarts": restarts, "word": list(truth.word)}
        return {
            COMPLETED: encode_machine(full),
            MINIMISED: encode_machine(small.machine),
            ROW: msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n",
        }

    return Stage(
        name="score",
        run=run,
        config={"row": row.key, "lesson": lesson, "restarts": restarts, "held_out": job.seeds("held_out")},
        needs=(MACHINE, TRACES, QUANTISER),
        outputs=(COMPLETED, MINIMISED, ROW),
    )


def lesson_of(row: PublishedRow) -> Lesson:
    """Return what the network of a row is taught under the corrected protocol."""
    return Lesson(task=row.name)


def settings_of(row: PublishedRow) -> FitSettings:
    """Return how the network of a row is made under the corrected protocol."""
    return FitSettings(teaching=TeachSettings(), digits=row.digits)
