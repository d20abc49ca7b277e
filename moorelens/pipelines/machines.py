"""The stages from a policy to its machines: play, quantise, extract, reduce."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping

import msgspec
import numpy as np

from moorelens.envs.playing import play
from moorelens.envs.rollouts import Rollouts, concatenate
from moorelens.fsm.automata.decisions import decision_points
from moorelens.fsm.automata.exchange.machine_json import decode_machine, encode_machine
from moorelens.fsm.automata.exchange.reduced_json import encode_reduced
from moorelens.fsm.automata.folding import fold
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.reduced import ChainMode
from moorelens.fsm.automata.reductions import ALL_STEPS, DEFAULT_STEPS, reduce
from moorelens.fsm.automata.traces import Traces
from moorelens.fsm.extract import machine_of
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.players import NetworkPlayer
from moorelens.fsm.quantise import QuantiseReport, QuantiserSearch
from moorelens.fsm.quantisers.files import read_quantisers, write_quantisers
from moorelens.fsm.reading import FeatureReader
from moorelens.fsm.seeds import episode_seeds
from moorelens.pipelines.config import placed
from moorelens.pipelines.job import Job
from moorelens.policies.players import PolicyPlayer
from moorelens.runs.arrays import decode_arrays, encode_arrays
from moorelens.runs.hashing import digest
from moorelens.runs.stages import Stage, StageContext
from moorelens.text import one_line

QUANTISER, QUANTISE_REPORT = "quantiser.safetensors", "quantise.json"
ROLLOUTS, TRACES, TRACE_CSV = "rollouts.npz", "traces.npz", "trace.csv"
POLICY_READ = "policy read"  # the event of the run log that says where the policy's file was
# More fit episodes are played until this share of transitions was seen only once, or so many steps were.
COVERED_SHARE, COVERED_STEPS = 0.01, 60_000
MACHINE, REDUCED, FOLDED, SIZES = "machine.json", "reduced.json", "folded.json", "sizes.json"


def rollouts_stage(job: Job) -> Stage:
    """The policy plays its fit episodes, greedily."""

    def run(context: StageContext) -> Mapping[str, bytes]:
        context.log(POLICY_READ, policy=placed(job.config.policy))
        played = job.play_fit(PolicyPlayer(job.loaded.policy, record=("values",)), progress=context.progress)
        return {ROLLOUTS: played.to_bytes()}

    return Stage(
        name="rollouts", run=run, config={"seeds": job.seeds("fit"), "fitting": job.fitting}, outputs=(ROLLOUTS,)
    )


def quantise_stage(job: Job) -> Stage:
    """Quantisers that keep the return are found, or taken from the policy's file where it brings both."""

    def run(context: StageContext) -> Mapping[str, bytes]:
        if job.published:
            return {QUANTISER: write_quantisers(job.published), QUANTISE_REPORT: b"null\n"}
        search = QuantiserSearch(
            policy=job.loaded.policy,
            request=job.fitting,
            config=job.quantise,
            rollouts=Rollouts.from_bytes(context.read(ROLLOUTS)),
            reader=FeatureReader(job.loaded.policy),
            plain=job.request if job.atari else None,
            workers=job.workers,
        )
        found, report = search.run(
            checkpoint=context.checkpoint,
            progress=context.progress,
            log=lambda event, judgement: context.log(event, **msgspec.to_builtins(judgement)),
        )
        return {QUANTISER: write_quantisers(found), QUANTISE_REPORT: msgspec.json.encode(report) + b"\n"}

    published = {name: {key: t.numpy() for key, t in qbn.tensors().items()} for name, qbn in job.published.items()}
    source = digest(published) if published else job.quantise
    return Stage(
        name="quantise",
        run=run,
        config={"quantise": source, "fitting": job.fitting},
        needs=(ROLLOUTS,),
        outputs=(QUANTISER, QUANTISE_REPORT),
    )


def extract_stage(job: Job) -> Stage:
    """The quantised network plays the fit episodes, and the machine it runs through is written down."""

    def run(context: StageContext) -> Mapping[str, bytes]:
        player = NetworkPlayer(network_of(job, context.read(QUANTISER)))
        played = covered(job, player, job.play_fit(player, progress=context.progress))
        meta = {
            "policy": job.loaded.name,
            "environment": job.env.id,
            "seeds": played.seeds.tolist(),
            "start": "quantised",
        }
        machine, traces = machine_of(played, player=player, meta=meta)
        machine = dataclasses.replace(machine, action_names=job.action_names)
        return {
            MACHINE: encode_machine(machine),
            TRACES: encode_traces(played, traces),
            TRACE_CSV: trace_table(played, traces, machine),
        }

    return Stage(
        name="extract",
        run=run,
        config={
            "policy": job.loaded.name,
            "seeds": job.seeds("fit"),
            "fitting": job.fitting,
            "actions": job.action_names,
        },
        needs=(QUANTISER,),
        outputs=(MACHINE, TRACES, TRACE_CSV),
    )


def reduce_stage(job: Job) -> Stage:
    """The machine is reduced without loss, and folded as small as its traces allow.

    A game is one long run with few decisions: its chains are joined whatever their actions (`sequence`), and states
    that no word tells apart too, or a picture of hundreds of states would show nothing.
    """
    mode: ChainMode = "sequence" if job.atari else "same_action"
    steps = ALL_STEPS if job.atari else DEFAULT_STEPS

    def run(context: StageContext) -> Mapping[str, bytes]:
        machine = decode_machine(context.read(MACHINE))
        traces = decode_traces(context.read(TRACES))[1]
        reduction = reduce(machine, steps=steps, mode=mode, traces=traces)
        folded = fold(machine, traces=traces)
        sizes = {
            "reductions": [msgspec.to_builtins(step) for step in reduction.history],
            "folded": folded.sizes,
        }
        return {
            REDUCED: encode_reduced(reduction.reduced),
            FOLDED: encode_machine(folded.machine),
            SIZES: msgspec.json.encode(sizes) + b"\n",
        }

    return Stage(
        name="reduce",
        run=run,
        config={"steps": steps, "mode": mode},
        needs=(MACHINE, TRACES),
        outputs=(REDUCED, FOLDED, SIZES),
    )


def machine_stages(job: Job) -> list[Stage]:
    """Return the stages from the policy to its machines."""
    return [rollouts_stage(job), quantise_stage(job), extract_stage(job), reduce_stage(job)]


def covered(job: Job, player: NetworkPlayer, played: Rollouts) -> Rollouts:
    """Return the fit episodes with more of them, in doublings, until hardly a transition is new.

    The share of transitions seen once estimates how often the next step is one never seen (Good-Turing, spec-fsm 4.11).
    Acrobot's 32 episodes of 70 steps leave a fifth of the steps to guesswork. The preset's number is kept where
    `--episodes` gave it, for games, of which all fit episodes are nearly one, and above `COVERED_STEPS`.
    """
    if job.config.episodes is not None or job.atari:
        return played
    while len(played.actions) < COVERED_STEPS and singletons(machine_of(played, player=player)[0]) > COVERED_SHARE:
        count = min(len(played.seeds), max(1, int((COVERED_STEPS - len(played.actions)) / played.lengths.mean())))
        seeds = episode_seeds("fit", count, seed=job.config.seed, first=len(played.seeds))
        played = concatenate([played, play(job.fitting, seeds, player, workers=job.workers)])
    return played


def singletons(machine: MooreMachine) -> float:
    """Return the estimated share of steps that would take a transition never seen before."""
    return float(np.sum(machine.counts == 1) / max(1, int(machine.counts.sum())))


def network_of(job: Job, quantisers: bytes) -> MooreMachineNetwork:
    """Return the policy with the quantisers of a run inserted."""
    found = read_quantisers(quantisers)
    return MooreMachineNetwork(job.loaded.policy, observation=found.get("observation"), state=found["state"])


def quantise_report(data: bytes) -> QuantiseReport | None:
    """Return the report of the search, None where the policy brought its own quantisers."""
    return msgspec.json.decode(data, type=QuantiseReport | None)


def encode_traces(played: Rollouts, traces: Traces) -> bytes:
    """Return the episodes that the machine was read off: frames, and by step what was seen and what followed."""
    arrays = {
        "frames": played.frames,
        "frame_index": played.frame_index,
        "rewards": played.rewards,
        "values": played.extras["value"],
        "seeds": played.seeds,
    }
    for name in ("symbols", "states", "actions", "offsets", "terminated", "truncated"):
        arrays[name] = getattr(traces, name)
    return encode_arrays(arrays)


def decode_traces(data: bytes) -> tuple[Rollouts, Traces]:
    """Read what `encode_traces` wrote."""
    arrays = decode_arrays(data)
    shared = {name: np.array(arrays[name]) for name in ("actions", "offsets", "terminated", "truncated")}
    traces = Traces(symbols=arrays["symbols"], states=arrays["states"], **shared)
    played = Rollouts(
        frames=arrays["frames"],
        frame_index=arrays["frame_index"],
        rewards=arrays["rewards"],
        seeds=arrays["seeds"],
        extras={"value": arrays["values"]},
        **shared,
    )
    return played, traces


def trace_table(played: Rollouts, traces: Traces, machine: MooreMachine) -> bytes:
    """Return `trace.csv`: one row a step, states and symbols as ids of `machine`, `decision` 1 at decision points.

    A step's decision is that of the state it begins in; an unknown value is empty.
    """
    deciding = {point.state for point in decision_points(machine)}
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["episode", "t", "symbol", "state", "action", "reward", "value", "decision"])
    values = played.extras["value"]
    for episode in range(traces.n_episodes):
        before = machine.start
        first, end = int(traces.offsets[episode]), int(traces.offsets[episode + 1])
        for row in range(first, end):
            value = "" if np.isnan(values[row]) else f"{values[row]:.6g}"
            state = int(traces.states[row])
            action = one_line(machine.action_names[int(traces.actions[row])])
            reward = f"{played.rewards[row]:.6g}"
            writer.writerow(
                [episode, row - first, int(traces.symbols[row]), state, action, reward, value, int(before in deciding)]
            )
            before = state
    return buffer.getvalue().encode()
