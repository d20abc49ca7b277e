"""The evaluation stage: every player plays the held-out episodes, and what is compared is counted per episode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.copies import shifted_copies
from moorelens.envs.playing import Player, play
from moorelens.envs.rollouts import Rollouts
from moorelens.fsm import memory
from moorelens.fsm.automata.codes import as_codes, code_keys
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.automata.exchange.reduced_json import decode_reduced
from moorelens.fsm.automata.machine import OBSERVED, MooreMachine
from moorelens.fsm.automata.run import Stepper, compile_machine, compile_reduced
from moorelens.fsm.automata.traces import Traces
from moorelens.fsm.fidelity import drive, policy_choices, share_repeated
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.players import AssistedPlayer, MachinePlayer, NetworkPlayer
from moorelens.fsm.reading import FeatureReader, symbol_codes_of
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
from moorelens.policies.players import PolicyPlayer
from moorelens.runs.arrays import decode_arrays, encode_arrays
from moorelens.runs.stages import Stage, StageContext

EVALUATION = "evaluation.npz"
_BLOCK = 25  # episodes played at once: under a minute of work, which is what a kill may cost

Array = npt.NDArray[Any]
Arrays = dict[str, Array]


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """Everything that plays or judges in an evaluation."""

    job: Job
    network: MooreMachineNetwork
    reader: FeatureReader
    machine: MooreMachine
    steppers: Mapping[str, Stepper]
    traces: Traces
    tree_inputs: Array
    fit_games: Rollouts | None


@dataclass(frozen=True, kw_only=True)
class _Unit:
    """One block of episodes of one player under one protocol."""

    protocol: str
    player: str
    request: EnvironmentRequest
    seeds: tuple[int, ...]

    @property
    def key(self) -> str:
        return f"{self.protocol}/{self.player}/{self.seeds[0]}"


def evaluate_stage(job: Job) -> Stage:
    """Every player on the same held-out seeds; one plain game each where the environment is deterministic."""

    def run(context: StageContext) -> Mapping[str, bytes]:
        bench = _bench(job, context)
        saved = context.checkpoint.load()
        done: dict[str, Arrays] = msgspec.msgpack.decode(saved["units"], type=dict[str, Any]) if saved else {}
        units = _units(job)
        with context.progress.task("evaluating", total=len(units)) as task:
            for unit in units:
                if unit.key not in done:
                    measured = _measure(unit, bench)
                    done[unit.key] = encode_arrays(measured)  # type: ignore[assignment]
                    if context.checkpoint.due():
                        context.checkpoint.save({"units": msgspec.msgpack.encode(done)})
                task.advance()
        return {EVALUATION: encode_arrays(_joined(units, done) | _replay(bench))}

    return Stage(
        name="evaluate",
        run=run,
        config={"held_out": job.seeds("held_out"), "protocol": job.held_out, "published": job.deterministic},
        needs=(QUANTISER, MACHINE, REDUCED, FOLDED, TRACES, ROLLOUTS),
        outputs=(EVALUATION,),
    )


def _bench(job: Job, context: StageContext) -> _Bench:
    network = network_of(job, context.read(QUANTISER))
    machine = decode_machine(context.read(MACHINE))
    played, traces = decode_traces(context.read(TRACES))
    steppers = {
        "machine": compile_machine(machine),
        "reduced": compile_reduced(decode_reduced(context.read(REDUCED))),
        "folded": compile_machine(decode_machine(context.read(FOLDED))),
    }
    return _Bench(
        job=job,
        network=network,
        reader=FeatureReader(job.loaded.policy),
        machine=machine,
        steppers=steppers,
        traces=traces,
        tree_inputs=memory.tree_inputs(played.frames)[played.frame_index],
        fit_games=Rollouts.from_bytes(context.read(ROLLOUTS)) if job.deterministic else None,
    )


def _units(job: Job) -> list[_Unit]:
    held_out = job.seeds("held_out")
    blocks = [held_out[i : i + _BLOCK] for i in range(0, len(held_out), _BLOCK)]
    players = ("policy", "policy_stochastic", "mmn", "machine", "reduced", "folded")
    units = [
        _Unit(protocol="held_out", player=player, request=job.held_out, seeds=block)
        for player in players
        for block in blocks
    ]
    units += [_Unit(protocol="assisted", player="machine", request=job.held_out, seeds=block) for block in blocks]
    if job.deterministic:
        plain = job.seeds("fit")[:1]
        units += [
            _Unit(protocol="published", player=player, request=job.request, seeds=plain)
            for player in players
            if player != "policy_stochastic"
        ]
    return units


def _measure(unit: _Unit, bench: _Bench) -> Arrays:
    played = play(unit.request, unit.seeds, _player(unit, bench), workers=bench.job.workers)
    measured: Arrays = {"returns": played.returns, "steps": played.lengths}
    for name in ("decided", "known"):
        if name in played.extras:
            measured[name] = _per_episode(played, played.extras[name])
    if unit.protocol == "held_out":
        compare = _COMPARED.get(unit.player)
        measured |= compare(played, bench) if compare else {}
    return measured


def _player(unit: _Unit, bench: _Bench) -> Player:
    if unit.protocol == "assisted":
        return AssistedPlayer(bench.network, edges=recorded_edges(bench.machine), features=bench.reader)
    if unit.player in bench.steppers:
        return MachinePlayer(bench.steppers[unit.player], bench.network, features=bench.reader)
    if unit.player == "mmn":
        return NetworkPlayer(bench.network, features=bench.reader)
    greedy = unit.player == "policy"
    return PolicyPlayer(bench.job.loaded.policy, greedy=greedy, seed=unit.seeds[0])


def recorded_edges(machine: MooreMachine) -> dict[tuple[bytes, bytes], bytes]:
    """Return the recorded transitions of an extracted machine by codes: (state, symbol) -> state."""
    states, symbols = code_keys(as_codes(machine.state_codes)), code_keys(as_codes(machine.symbol_codes))
    rows = zip(machine.sources, machine.symbols, machine.targets, machine.origins, strict=True)
    return {(states[s], symbols[o]): states[t] for s, o, t, origin in rows if origin == OBSERVED}


def _compare_policy(played: Rollouts, bench: _Bench) -> Arrays:
    """The machine watches what the policy saw and did."""
    driven = drive(bench.steppers["machine"], symbol_codes_of(bench.network, played), played.offsets)
    found: Arrays = {"machine_agrees": _per_episode(played, driven.actions == played.actions)}
    if bench.fit_games is not None:
        found["copy"] = shifted_copies(played, of=bench.fit_games)
    return found


def _compare_network(played: Rollouts, bench: _Bench) -> Arrays:
    """The machine, and each rival without memory, watch what the quantised network saw and did."""
    stepper, traces = bench.steppers["machine"], bench.traces
    codes = symbol_codes_of(bench.network, played)
    driven = drive(stepper, codes, played.offsets)
    symbols, _ = stepper.recognise(codes)
    found = {
        "machine_agrees": _per_episode(played, driven.actions == played.actions),
        "table": np.array(
            [memory.table_score(traces.symbols, traces.actions, test_symbols=symbols, test_actions=played.actions)]
        ),
        "clock": np.array(
            [
                memory.open_loop_score(
                    traces.actions, traces.offsets, test_actions=played.actions, test_offsets=played.offsets
                )
            ]
        ),
    }
    seen = memory.tree_inputs(played.frames)[played.frame_index]
    found["tree"] = np.array(
        [memory.tree_score(bench.tree_inputs, traces.actions, test_observations=seen, test_actions=played.actions)]
    )
    return found | {"block_steps": np.array([len(played.actions)])}


def _compare_machine(played: Rollouts, bench: _Bench) -> Arrays:
    """The policy watches what the machine saw and did."""
    chosen = policy_choices(bench.job.loaded.policy, played, reader=bench.reader)
    return {"policy_agrees": _per_episode(played, chosen == played.actions)}


_COMPARED: dict[str, Callable[[Rollouts, _Bench], Arrays]] = {
    "policy": _compare_policy,
    "mmn": _compare_network,
    "machine": _compare_machine,
}


def _per_episode(played: Rollouts, flags: Array) -> Array:
    spans = zip(played.offsets[:-1], played.offsets[1:], strict=True)
    return np.array([int(np.sum(flags[a:b])) for a, b in spans], dtype=np.int64)


def _replay(bench: _Bench) -> Arrays:
    codes = bench.machine.symbol_codes[bench.traces.symbols]
    shares = [
        share_repeated(stepper, symbol_codes=codes, actions=bench.traces.actions, offsets=bench.traces.offsets)
        for _, stepper in sorted(bench.steppers.items())
    ]
    return {
        "replay": np.array([min(shares)]),
        "reactivity": np.array([memory.reactivity(bench.traces.symbols, bench.traces.actions)]),
    }


def _joined(units: list[_Unit], done: Mapping[str, Any]) -> Arrays:
    joined: dict[str, list[Array]] = {}
    for unit in units:
        for name, array in decode_arrays(done[unit.key]).items():
            joined.setdefault(f"{unit.protocol}/{unit.player}/{name}", []).append(array)
    return {name: np.concatenate(parts) for name, parts in joined.items()}
