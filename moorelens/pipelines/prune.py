"""`prune`: which decisions of a run's machine can go, judged on selection seeds and measured on held-out ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.envs.playing import Player, play
from moorelens.fsm.automata.decisions import decision_points
from moorelens.fsm.automata.exchange.machine_json import decode_machine, encode_machine
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.run import compile_machine
from moorelens.fsm.drawing import draw_machine
from moorelens.fsm.drawing_style import action_styles
from moorelens.fsm.evaluate import FallbackPlayer
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.players import MachinePlayer
from moorelens.fsm.prune import Effect, Pruned, effects, prune
from moorelens.fsm.pruning_moves import branches
from moorelens.fsm.reading import FeatureReader
from moorelens.fsm.seeds import episode_seeds
from moorelens.pipelines.extract import summary_stage
from moorelens.pipelines.job import Job
from moorelens.pipelines.machines import MACHINE, QUANTISER, network_of
from moorelens.pipelines.measure import EVALUATION
from moorelens.pipelines.opened_run import OpenedRun, job_of, open_run
from moorelens.pipelines.pictures import laid_out, layout, tell, unable
from moorelens.pipelines.pruning_games import PruningGames
from moorelens.pipelines.reporting import PRUNED, report_stage
from moorelens.pipelines.run_config import PruneConfig
from moorelens.pipelines.summarise import PRUNING, new_games, reference_of
from moorelens.pipelines.threads import limited_threads
from moorelens.policies.players import PolicyPlayer
from moorelens.reports.paper_tables import pruning_csv, pruning_latex
from moorelens.reports.pruning import EffectRow, HeldOut, Pruning, TrialRow, decode_pruning
from moorelens.reports.summary import encode_record, machine_score_of, score_of
from moorelens.runs.arrays import decode_arrays
from moorelens.runs.progress import Progress
from moorelens.runs.stages import Stage, StageContext, add_stages
from moorelens.stats import estimate, paired_difference

DOT, SVG = "pruned.dot", "pruned.svg"
CSV, LATEX = "tables/pruning.csv", "tables/pruning.tex"
SHARE = 0.01  # of the machine's return that may be lost, where no tolerance is given
GAMES, GAMES_ATARI = 30, 6

Array = npt.NDArray[Any]


def run_prune(config: PruneConfig, *, progress: Progress | None = None) -> Pruning | None:
    """Prune the machine of a run, add the results to it and bring its summary and report up to date.

    None where the time limit came first. Raises `RunFolderError` where `config.run` is no finished run, and what
    opening its policy raises.
    """
    run = open_run(config.run)
    run.read("summary.json")
    job = job_of(run, policy=config.policy, trust=config.trust)
    last = summary_stage(job) if run.verb == "extract" else report_stage(job)
    with limited_threads(job.threads):
        outcome = add_stages(
            run.folder, [prune_stage(run, job, config), last], progress=progress, max_minutes=config.max_minutes
        )
    if outcome.left_out:
        return None
    return decode_pruning((Path(run.folder) / PRUNING).read_bytes())


def prune_stage(run: OpenedRun, job: Job, config: PruneConfig) -> Stage:
    """The pruned machine, its log, and its held-out games."""
    measured = (EVALUATION,) if EVALUATION in run.manifest.files() else ()
    count = config.games or (GAMES_ATARI if job.atari else GAMES)
    seeds = episode_seeds("selection", count, seed=job.config.seed)

    def work(context: StageContext) -> Mapping[str, bytes]:
        bench = _Bench(job, config, seeds, context)
        found = bench.pruned()
        record = bench.record(found, bench.held_out(found))
        drawing = draw_machine(
            found.machine, title="Pruned machine", styles=action_styles(job.action_names), letter="P"
        )
        svg, note = laid_out(drawing)
        if svg is None:
            tell(context, SVG, note)
        return {
            PRUNING: encode_record(record),
            PRUNED: encode_machine(found.machine),
            DOT: drawing.dot.encode(),
            SVG: svg or unable(note),
            CSV: pruning_csv(record),
            LATEX: pruning_latex(record),
        }

    return Stage(
        name="pruning",
        run=work,
        config={
            "mode": config.mode,
            "tolerance": config.tolerance,
            "seeds": seeds,
            "held_out": job.seeds("held_out"),
            "fallback": config.fallback,
            "effects": config.effects,
            "protocol": job.held_out,
            "layout": layout(),
        },
        needs=(QUANTISER, MACHINE, *measured),
        outputs=(PRUNING, PRUNED, DOT, SVG, CSV, LATEX),
        added=True,
    )


class _Bench:
    def __init__(self, job: Job, config: PruneConfig, seeds: tuple[int, ...], context: StageContext) -> None:
        self._job, self._config, self._seeds, self._context = job, config, seeds, context
        self._machine: MooreMachine = decode_machine(context.read(MACHINE))
        self._network: MooreMachineNetwork = network_of(job, context.read(QUANTISER))
        self._reader = FeatureReader(job.loaded.policy)
        # Held-out games are played by the held-out protocol, so candidates are judged by it too, on other seeds.
        self._games = PruningGames(
            job.held_out,
            seeds,
            self._network,
            self._reader,
            helped=config.fallback == "network",
            workers=job.workers,
            checkpoint=context.checkpoint,
        )
        original = self._games(self._machine, open_loop=frozenset(), rows=range(len(seeds)))
        own = SHARE * abs(float(original.returns.mean()))
        self.tolerance = own if config.tolerance is None else config.tolerance

    def pruned(self) -> Pruned:
        """Prune."""
        return prune(
            self._machine,
            self._games,
            games=len(self._seeds),
            tolerance=self.tolerance,
            mode=self._config.mode,
            strict=self._config.fallback == "error",
            progress=self._context.progress,
        )

    def effects(self, found: Pruned) -> tuple[Effect, ...]:
        """Say what the weightiest decisions of the original machine are worth."""
        points = sorted(decision_points(self._machine), key=lambda point: (-point.bits, point.state))
        chosen = [point.state for point in points if not point.silent][: self._config.effects]
        with self._context.progress.task("forcing decisions", total=len(chosen)) as task:
            rows: list[Effect] = []
            for state in sorted(chosen):
                rows += effects(self._machine, self._games, original=found.original, states={state})
                task.advance()
        return tuple(rows)

    def held_out(self, found: Pruned) -> HeldOut:
        """Play the held-out games: the pruned machine alone, the network's core and heads unloaded."""
        seeds = self._job.seeds("held_out")
        policy, machine, new = self._measured(seeds)
        kept = tuple(seed for seed, keep in zip(seeds, new.tolist(), strict=True) if keep)
        player = FallbackPlayer(found.machine, self._network, open_loop=found.open_loop, features=self._reader)
        played = play(self._job.held_out, kept, player, workers=self._job.workers)
        spans = list(zip(played.offsets[:-1].tolist(), played.offsets[1:].tolist(), strict=True))
        decided = tuple(int(played.extras["decided"][a:b].sum()) for a, b in spans)
        share = sum(decided) / len(played.actions)
        return HeldOut(
            seeds=kept,
            policy=score_of(estimate(policy[new])),
            machine=score_of(estimate(machine[new])),
            pruned=machine_score_of(estimate(played.returns), decided=share),
            loss=score_of(paired_difference(policy[new], played.returns)),
            cost=score_of(paired_difference(machine[new], played.returns)),
            returns=tuple(played.returns.tolist()),
            decided=decided,
            steps=tuple(played.lengths.tolist()),
        )

    def _measured(self, seeds: tuple[int, ...]) -> tuple[Array, Array, Array]:
        """Return what policy and machine scored, and which games replay no fit game: measured before, or played."""
        if EVALUATION in self._context.names():
            arrays = decode_arrays(self._context.read(EVALUATION))
            new = new_games(arrays)
            if new.any():
                return arrays["held_out/policy/returns"], arrays["held_out/machine/returns"], new
        players: tuple[Player, ...] = (
            PolicyPlayer(self._job.loaded.policy),
            MachinePlayer(compile_machine(self._machine), self._network, features=self._reader),
        )
        first, second = (play(self._job.held_out, seeds, one, workers=self._job.workers).returns for one in players)
        return first, second, np.ones(len(seeds), dtype=np.bool_)

    def record(self, found: Pruned, held_out: HeldOut) -> Pruning:
        """Return `pruning.json`."""
        before, after = branches(self._machine), branches(found.machine)
        survivors = tuple(state for state in before if int(found.state_map[state]) in after)
        return Pruning(
            policy=reference_of(self._job),
            env=self._job.request.id,
            mode=self._config.mode,
            fallback=self._config.fallback,
            tolerance=self.tolerance,
            seeds=self._seeds,
            machine=score_of(estimate(found.original.returns)),
            pruned=score_of(estimate(found.outcome.returns)),
            cost=score_of(found.cost),
            held_out=held_out,
            states=(self._machine.n_states, found.machine.n_states),
            decisions=(len(before), len(after)),
            survivors=survivors,
            open_loop=tuple(sorted(found.open_loop)),
            trials=tuple(
                TrialRow(
                    state=_known(trial.move.state),
                    source=_known(trial.move.source),
                    target=_known(trial.move.target),
                    cost=score_of(trial.cost),
                    accepted=trial.accepted,
                )
                for trial in found.trials
            ),
            effects=tuple(
                EffectRow(
                    state=effect.state,
                    target=effect.target,
                    share=before[effect.state][effect.target] / sum(before[effect.state].values()),
                    cost=score_of(effect.cost),
                    kept=effect.state in survivors,
                )
                for effect in self.effects(found)
            ),
        )


def _known(value: int) -> int | None:
    return None if value < 0 else value
