"""Repeated extractions: is this the machine, or one of many? The quantisers are fitted again from other seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from moorelens.envs.rollouts import Rollouts
from moorelens.fsm.automata.decisions import decision_counts, decision_points
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.run import compile_machine
from moorelens.fsm.extract import machine_of
from moorelens.fsm.fidelity import agreement, drive
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.players import NetworkPlayer
from moorelens.fsm.quantise import QuantiserSearch
from moorelens.fsm.reading import FeatureReader, symbol_codes_of
from moorelens.fsm.recurring import deciding, decision_places, recurring
from moorelens.pipelines.job import Job
from moorelens.pipelines.machines import MACHINE, QUANTISER, ROLLOUTS, TRACES, covered, decode_traces, network_of
from moorelens.reports.data import StabilityPart, StabilityRow
from moorelens.reports.summary import Stability
from moorelens.runs.arrays import decode_arrays, encode_arrays
from moorelens.runs.checkpoints import Checkpoint
from moorelens.runs.stages import Stage, StageContext

REPEATS = "repeats.json"


class Repeats(msgspec.Struct, frozen=True, kw_only=True):
    """What K extractions found, the run's own first; `agreements (K, K)` are shares of equal actions.

    `recurring`: share of each machine's decision points that recur (`moorelens.fsm.recurring`). `deciding`: share of
    the shared steps at which it is at a decision point.
    """

    states: tuple[int, ...]
    decisions: tuple[int, ...]
    recurring: tuple[float | None, ...]
    deciding: tuple[float, ...]
    scores: tuple[float, ...]
    agreements: tuple[tuple[float, ...], ...]


@dataclass(kw_only=True)
class _Nested:
    """A checkpoint inside another: the search's files travel with what earlier repeats found."""

    outer: Checkpoint
    kept: Mapping[str, bytes]
    begun: Mapping[str, bytes] | None

    def load(self) -> Mapping[str, bytes] | None:
        return self.begun

    def save(self, files: Mapping[str, bytes]) -> None:
        self.outer.save({**self.kept, **{f"search/{name}": data for name, data in files.items()}})

    def due(self, every_s: float = 20.0) -> bool:
        return self.outer.due(every_s)

    def stop_if_late(self) -> None:
        self.outer.stop_if_late()


def repeats_stage(job: Job) -> Stage:
    """K - 1 further extractions from other seeds; all machines watch the policy's fit episodes and are compared."""

    def run(context: StageContext) -> Mapping[str, bytes]:
        played = Rollouts.from_bytes(context.read(ROLLOUTS))
        reader = FeatureReader(job.loaded.policy)
        saved = context.checkpoint.load() or {}
        kept = {name: data for name, data in saved.items() if not name.startswith("search/")}
        begun = {name.removeprefix("search/"): data for name, data in saved.items() if name.startswith("search/")}
        if not kept:
            own = network_of(job, context.read(QUANTISER))
            score = float(decode_traces(context.read(TRACES))[0].returns.mean())
            kept["0"] = _found(own, decode_machine(context.read(MACHINE)), played, score)
        for repeat in range(len(kept), job.budget.repeats):
            nested = _Nested(outer=context.checkpoint, kept=kept, begun=begun or None)
            kept[str(repeat)] = _repeat(job, repeat, played, reader, context, nested)
            begun = {}
            context.checkpoint.save(kept)
        return {REPEATS: msgspec.json.encode(_compared(kept)) + b"\n"}

    return Stage(
        name="repeats",
        run=run,
        config={"repeats": job.budget.repeats, "quantise": job.quantise, "fitting": job.fitting},
        needs=(ROLLOUTS, QUANTISER, MACHINE, TRACES),
        outputs=(REPEATS,),
    )


def stability_of(data: bytes) -> tuple[Stability, StabilityPart]:
    """Return the stability block of the summary and its table, from what the stage wrote."""
    found = msgspec.json.decode(data, type=Repeats)
    count = len(found.states)
    pairs = [found.agreements[i][j] for i, j in combinations(range(count), 2)]
    rows = tuple(
        StabilityRow(
            repeat=i,
            states=found.states[i],
            decisions=found.decisions[i],
            recurring=found.recurring[i],
            deciding=found.deciding[i],
            agreement=float(np.mean([found.agreements[i][j] for j in range(count) if j != i])),
            score=found.scores[i],
        )
        for i in range(count)
    )
    block = Stability(
        repeats=count,
        states=float(np.mean(found.states)),
        decisions=float(np.mean(found.decisions)),
        agreement=float(np.mean(pairs)),
        recurring=found.recurring[0],
    )
    note = (
        "All machines watch the policy's fit episodes. Recurring: share of the decision points that at least 80 % of "
        "the extractions find, which they do by being at a decision point in at least half of the steps at which it is "
        "visited. Deciding: share of steps at a decision point; where it is high, much is found by chance. Agreement: "
        "share of equal actions, on average over the other extractions. Return: of the fit episodes."
    )
    return block, StabilityPart(rows=rows, note=note)


def _repeat(
    job: Job, repeat: int, played: Rollouts, reader: FeatureReader, context: StageContext, checkpoint: _Nested
) -> bytes:
    search = QuantiserSearch(
        policy=job.loaded.policy,
        request=job.fitting,
        config=msgspec.structs.replace(job.quantise, seed=job.quantise.seed + repeat),
        rollouts=played,
        reader=reader,
        plain=job.request if job.atari else None,
        workers=job.workers,
    )
    quantisers, _ = search.run(checkpoint=checkpoint, progress=context.progress)  # type: ignore[arg-type]
    network = MooreMachineNetwork(job.loaded.policy, observation=quantisers["observation"], state=quantisers["state"])
    player = NetworkPlayer(network, features=reader)
    own = covered(job, player, job.play_fit(player))
    machine, _ = machine_of(own, player=player)
    return _found(network, machine, played, float(own.returns.mean()))


def _found(network: MooreMachineNetwork, machine: MooreMachine, played: Rollouts, score: float) -> bytes:
    driven = drive(compile_machine(machine), symbol_codes_of(network, played), played.offsets)
    facts = [machine.n_states, decision_counts(decision_points(machine))["structural"]]
    arrays: dict[str, npt.NDArray[Any]] = {
        "actions": driven.actions,
        "places": decision_places(machine, driven.sources),
        "facts": np.array(facts),
        "score": np.array([score]),
    }
    return encode_arrays(arrays)


def _compared(kept: Mapping[str, bytes]) -> Repeats:
    found = [decode_arrays(kept[str(repeat)]) for repeat in range(len(kept))]
    actions, places = ([arrays[name] for arrays in found] for name in ("actions", "places"))
    return Repeats(
        states=tuple(int(arrays["facts"][0]) for arrays in found),
        decisions=tuple(int(arrays["facts"][1]) for arrays in found),
        recurring=recurring(places),
        deciding=tuple(deciding(one) for one in places),
        scores=tuple(float(arrays["score"][0]) for arrays in found),
        agreements=tuple(tuple(agreement(one, other) for other in actions) for one in actions),
    )
