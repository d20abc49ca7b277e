"""`evaluate`: a finished run's machine with every fallback, disturbed, and against rivals without memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from moorelens.envs.playing import Player
from moorelens.envs.rollouts import Rollouts
from moorelens.errors import OptionError
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.automata.exchange.reduced_json import decode_reduced
from moorelens.fsm.automata.run import compile_machine, compile_reduced
from moorelens.fsm.evaluate import Disturbance, FallbackPlayer
from moorelens.fsm.players import MachinePlayer, NetworkPlayer
from moorelens.fsm.reading import FeatureReader
from moorelens.fsm.seeds import episode_seeds
from moorelens.pipelines.evaluation_summary import evaluation_of
from moorelens.pipelines.games import HELD_OUT, Arrays, Entrant, Judges, Played, measured, units_of
from moorelens.pipelines.job import Job
from moorelens.pipelines.machines import (
    FOLDED,
    MACHINE,
    QUANTISER,
    REDUCED,
    ROLLOUTS,
    TRACES,
    decode_traces,
    network_of,
)
from moorelens.pipelines.opened_run import job_of, open_run
from moorelens.pipelines.rivals import Fitting, RivalPlayer, make_rivals
from moorelens.pipelines.run_config import FALLBACKS, EvaluateConfig
from moorelens.pipelines.threads import limited_threads
from moorelens.policies.players import PolicyPlayer
from moorelens.reports.evaluation import Evaluation, decode_evaluation
from moorelens.reports.paper_tables import evaluation_csv, evaluation_latex
from moorelens.reports.summary import encode_record
from moorelens.runs.arrays import decode_arrays, encode_arrays
from moorelens.runs.progress import Progress
from moorelens.runs.stages import Stage, StageContext, add_stages

EVALUATION = "evaluation.json"
CSV, LATEX = "tables/evaluation.csv", "tables/evaluation.tex"
STICKY = 0.25  # Machado et al. 2018


def run_evaluate(config: EvaluateConfig, *, progress: Progress | None = None) -> Evaluation | None:
    """Evaluate a run and add `evaluation.json` and its tables to it; None where the time limit came first.

    Raises `RunFolderError` where `config.run` is no finished run, and what opening its policy raises.
    """
    run = open_run(config.run)
    run.read(REDUCED)
    job = job_of(run, policy=config.policy, trust=config.trust)
    with limited_threads(job.threads):
        outcome = add_stages(
            run.folder, [evaluation_stage(job, config)], progress=progress, max_minutes=config.max_minutes
        )
    if outcome.left_out:
        return None
    return decode_evaluation((Path(run.folder) / EVALUATION).read_bytes())


def evaluation_stage(job: Job, config: EvaluateConfig) -> Stage:
    """Every player on the held-out games under every condition, in blocks that a kill may interrupt."""
    conditions = conditions_of(job, config)
    seeds = episode_seeds("held_out", config.held_out or job.budget.held_out, seed=job.config.seed)

    def run(context: StageContext) -> Mapping[str, bytes]:
        bench = _Bench(job, config, context)
        units = units_of([bench.scaled(one) for one in conditions], bench.entrants(), seeds)
        saved = context.checkpoint.load()
        done: dict[str, Any] = msgspec.msgpack.decode(saved["units"]) if saved else {}
        with context.progress.task("evaluating", total=len(units)) as task:
            for unit in units:
                if unit.key not in done:
                    plain = done.get(unit.key.replace(f"/{unit.entrant.key}/", "/machine/"))
                    nearest: Arrays | None = None if plain is None else dict(decode_arrays(plain))
                    done[unit.key] = encode_arrays(measured(unit, bench.judges, nearest=nearest))
                    if context.checkpoint.due():
                        context.checkpoint.save({"units": msgspec.msgpack.encode(done)})
                task.advance()
        found = evaluation_of(job, units, {key: decode_arrays(data) for key, data in done.items()}, bench.rivals)
        return {EVALUATION: encode_record(found), CSV: evaluation_csv(found), LATEX: evaluation_latex(found)}

    return Stage(
        name="evaluation",
        run=run,
        config={
            "seeds": seeds,
            "conditions": [(one.key, one.request, config.starts, config.noise) for one in conditions],
            "fallback": config.fallback,
            "rivals": config.rivals,
        },
        needs=(QUANTISER, MACHINE, REDUCED, FOLDED, TRACES, ROLLOUTS),
        outputs=(EVALUATION, CSV, LATEX),
        added=True,
    )


def conditions_of(job: Job, config: EvaluateConfig) -> list[Played]:
    """Return the held-out protocol, changed as asked for, and the disturbances; raises `OptionError`."""
    if config.noops is not None and not job.atari:
        raise OptionError(f"--noops belongs to Atari games and {job.request.id} is none: leave it out.")
    changes = {"sticky": config.sticky, "noops": config.noops} if job.atari else {}
    request = msgspec.structs.replace(job.held_out, **{k: v for k, v in changes.items() if v is not None})
    own = Disturbance(sticky=config.sticky) if config.sticky and not job.atari else None
    detail = f"sticky actions {request.sticky:g}, no-op starts up to {request.noops}" if job.atari else "fresh seeds"
    told = detail if own is None else f"fresh seeds, the last action taken again with chance {config.sticky:g}"
    found = [Played(key=HELD_OUT, title="Held-out games", detail=told, request=request, disturbance=own)]
    wanted = {"auto": () if job.atari else ("starts", "sticky", "noise"), "none": (),
              "all": ("starts", "sticky", "noise")}.get(config.disturb, (config.disturb,))  # fmt: skip
    kinds = {
        "starts": ("Random first actions", f"up to {config.starts} before the player decides",
                   Disturbance(starts=config.starts)),
        "sticky": ("Sticky actions", f"the last action is taken again with chance {STICKY:g}",
                   Disturbance(sticky=STICKY)),
        "noise": ("Noisy observations", f"Gaussian noise of {config.noise:g} of each feature's own spread",
                  Disturbance(noise=config.noise)),
    }  # fmt: skip
    for key in wanted:
        title, words, what = kinds[key]
        found.append(Played(key=key, title=title, detail=words, request=request, disturbance=what))
    return found


class _Bench:
    """The files of a run as players and judges."""

    def __init__(self, job: Job, config: EvaluateConfig, context: StageContext) -> None:
        self._job, self._config, self._context = job, config, context
        self._network = network_of(job, context.read(QUANTISER))
        self._reader = FeatureReader(job.loaded.policy)
        self._machine, self._folded = (decode_machine(context.read(name)) for name in (MACHINE, FOLDED))
        self._own = Rollouts.from_bytes(context.read(ROLLOUTS))
        steppers = {
            "machine": compile_machine(self._machine),
            "reduced": compile_reduced(decode_reduced(context.read(REDUCED))),
            "folded": compile_machine(self._folded),
        }
        fit_games = self._own if job.deterministic else None
        self.judges = Judges(
            job=job, network=self._network, reader=self._reader, steppers=steppers, fit_games=fit_games
        )
        self.rivals: tuple[RivalPlayer, ...] = ()
        if config.rivals == "all":
            traces = decode_traces(context.read(TRACES))[1]
            fitting = Fitting(
                job=job,
                network=self._network,
                reader=self._reader,
                machine=self._machine,
                own=self._own,
                traces=traces,
            )
            self.rivals = make_rivals(fitting, progress=context.progress)

    def scaled(self, condition: Played) -> Played:
        """Return the condition with the spread of each feature where noise is added."""
        what = condition.disturbance
        if what is None or not what.noise:
            return condition
        frames = self._own.frames[self._own.frame_index[:20_000]].astype(np.float64)
        scale: npt.NDArray[Any] = frames.std(axis=0)
        noisy = Disturbance(noise=what.noise, scale=scale)
        return Played(
            key=condition.key, title=condition.title, detail=condition.detail, request=condition.request,
            disturbance=noisy,
        )  # fmt: skip

    def entrants(self) -> list[Entrant]:
        """Return everyone who plays, the policy first."""
        policy, steppers = self._job.loaded.policy, self.judges.steppers

        found = [
            Entrant(key="policy", title="Policy", make=lambda _: PolicyPlayer(policy), disturbed=True),
            Entrant(
                key="mmn",
                title="Quantised network",
                make=lambda _: NetworkPlayer(self._network, features=self._reader),
                disturbed=True,
            ),
            Entrant(
                key="machine",
                title="Machine",
                fallback="nearest",
                make=lambda _: MachinePlayer(steppers["machine"], self._network, features=self._reader),
                disturbed=True,
            ),
        ]
        found += [self._fallback(name) for name in self._asked()]
        for key, title in (("reduced", "Reduced machine"), ("folded", "Folded machine")):
            found.append(Entrant(key=key, title=title, fallback="nearest", make=self._stepping(key)))
        for rival in self.rivals:
            found.append(Entrant(key=rival.key, title=rival.title, make=_always(rival.player), disturbed=True))
        return found

    def _asked(self) -> list[str]:
        asked = self._config.fallback
        names = FALLBACKS if asked == "all" else () if asked == "none" else (asked,)
        return [name for name in names if name != "nearest"]

    def _fallback(self, name: str) -> Entrant:
        unseen = {"nearest_state": "nearest", "default_action": "nearest"}.get(name, name)
        player = FallbackPlayer(
            self._machine, self._network, unseen=unseen, undefined=name, features=self._reader  # type: ignore[arg-type]
        )  # fmt: skip
        return Entrant(key=f"machine:{name}", title="Machine", fallback=name, make=_always(player), as_nearest=True)

    def _stepping(self, key: str) -> Any:
        return _always(MachinePlayer(self.judges.steppers[key], self._network, features=self._reader))


def _always(player: Player) -> Any:
    return lambda seeds: player
