"""The evaluation: who plays what on which seeds, counted as by hand, and nothing played twice after an interruption."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.playing import play
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.automata.machine import BOT, OBSERVED, MooreMachine
from moorelens.fsm.automata.run import compile_machine
from moorelens.fsm.players import MachinePlayer
from moorelens.fsm.reading import codes_of, features_of
from moorelens.pipelines import measure
from moorelens.pipelines.explain import run_job
from moorelens.pipelines.job import Job, open_job
from moorelens.pipelines.machines import decode_traces, machine_stages, network_of
from moorelens.pipelines.measure import EVALUATION, evaluate_stage, recorded_edges
from moorelens.policies.players import PolicyPlayer
from moorelens.runs.arrays import decode_arrays
from moorelens.runs.checkpoints import Checkpoint
from tests.pipelines import small
from tests.runs.toy import tree

PLAYERS = ("policy", "policy_stochastic", "mmn", "machine", "reduced", "folded")
HELD_OUT = 30  # two blocks: 25 and 5


def opened(policy: Path, folder: Path) -> Job:
    return open_job(small.explaining(policy, folder, held_out=HELD_OUT))


def evaluated(job: Job) -> None:
    run_job(job, "explain", [*machine_stages(job), evaluate_stage(job)], progress=None)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measure")
    small.published(folder / "p.p")
    evaluated(opened(folder / "p.p", folder / "run"))
    return folder


@pytest.fixture(scope="module")
def job(place: Path) -> Job:
    return opened(place / "p.p", place / "run")


@pytest.fixture(scope="module")
def machine(place: Path) -> MooreMachine:
    return decode_machine((place / "run/machine.json").read_bytes())


@pytest.fixture(scope="module")
def counted(place: Path) -> dict[str, Any]:
    return dict(decode_arrays((place / "run" / EVALUATION).read_bytes()))


def test_every_player_plays_every_held_out_seed_once(counted: dict[str, Any]) -> None:
    for player in PLAYERS:
        assert len(counted[f"held_out/{player}/returns"]) == HELD_OUT
        assert (counted[f"held_out/{player}/steps"] == counted[f"held_out/{player}/returns"]).all()  # CartPole
    assert len(counted["assisted/machine/returns"]) == HELD_OUT
    assert not [name for name in counted if name.startswith("published/")]
    assert counted["replay"].tolist() == [1.0]


def test_atari_games_are_played_the_published_way_too(job: Job) -> None:
    atari = dataclasses.replace(job, request=EnvironmentRequest(id="ALE/Pong-v5"))
    units = [unit for unit in measure._units(atari) if unit.protocol == "published"]
    assert [unit.player for unit in units] == [player for player in PLAYERS if player != "policy_stochastic"]
    assert all(unit.request == atari.request and unit.seeds == atari.seeds("fit")[:1] for unit in units)
    assert len({unit.key for unit in measure._units(atari)}) == len(measure._units(atari))


def test_the_machine_plays_as_its_table_says(
    job: Job, place: Path, machine: MooreMachine, counted: dict[str, Any]
) -> None:
    """A slow run: one environment, one observation at a time, a dictionary of transitions."""
    network = network_of(job, (place / "run/quantiser.safetensors").read_bytes())
    symbols = {code.tobytes(): number for number, code in enumerate(machine.symbol_codes)}
    edges = zip(machine.sources.tolist(), machine.symbols.tolist(), machine.targets.tolist(), strict=True)
    table = {(source, symbol): target for source, symbol, target in edges}
    compared = 0
    for position, seed in enumerate(job.seeds("held_out")):
        if counted["held_out/machine/decided"][position] < counted["held_out/machine/steps"][position]:
            continue
        env = gymnasium.make("CartPole-v1", max_episode_steps=15)
        observation, _ = env.reset(seed=seed)
        state, total, ended = machine.start, 0.0, False
        while not ended:
            code = codes_of(network, features_of(network.policy, observation[None]))[0]
            state = table[state, symbols[code.tobytes()]]
            observation, reward, terminated, truncated, _ = env.step(int(machine.actions[state]))
            total, ended = total + float(reward), terminated or truncated
        env.close()
        assert total == counted["held_out/machine/returns"][position], seed
        compared += 1
    assert compared >= 3


def test_agreement_is_counted_step_by_step(
    job: Job, place: Path, machine: MooreMachine, counted: dict[str, Any]
) -> None:
    network = network_of(job, (place / "run/quantiser.safetensors").read_bytes())
    seeds = job.seeds("held_out")[:5]
    own = play(job.held_out, seeds, PolicyPlayer(job.loaded.policy))
    codes = codes_of(network, features_of(network.policy, own.frames))[own.frame_index]
    stepper = compile_machine(machine)
    for episode in range(5):
        at, agreed = stepper.start(1), 0
        for step in range(int(own.offsets[episode]), int(own.offsets[episode + 1])):
            symbol, _ = stepper.recognise(codes[step : step + 1])
            at, action, _ = stepper.step(at, symbol)
            agreed += int(action[0] == own.actions[step])
        assert agreed == counted["held_out/policy/machine_agrees"][episode]


def test_what_is_known_and_decided_is_counted_where_the_machine_plays(
    job: Job, place: Path, machine: MooreMachine, counted: dict[str, Any]
) -> None:
    network = network_of(job, (place / "run/quantiser.safetensors").read_bytes())
    played = play(job.held_out, job.seeds("held_out"), MachinePlayer(compile_machine(machine), network))
    for name in ("known", "decided"):
        parts = np.split(played.extras[name], played.offsets[1:-1])
        assert [int(part.sum()) for part in parts] == counted[f"held_out/machine/{name}"].tolist()
    assert (counted["held_out/machine/decided"] <= counted["held_out/machine/known"]).all()


def test_recorded_edges_are_the_observed_transitions_by_code(machine: MooreMachine) -> None:
    expected = {}
    for edge in range(len(machine.sources)):
        if machine.origins[edge] == OBSERVED:
            source, symbol, target = (int(a[edge]) for a in (machine.sources, machine.symbols, machine.targets))
            key = machine.state_codes[source].tobytes(), machine.symbol_codes[symbol].tobytes()
            expected[key] = machine.state_codes[target].tobytes()
    assert recorded_edges(machine) == expected


def test_the_start_and_a_state_with_its_code_lead_the_same_way(machine: MooreMachine) -> None:
    """Edges by code are a function because the network is one: the silent start has the code of a real state."""
    by_code: dict[tuple[bytes, int], set[int]] = {}
    for s, o, t in zip(machine.sources, machine.symbols, machine.targets, strict=True):
        by_code.setdefault((machine.state_codes[s].tobytes(), int(o)), set()).add(int(t))
    assert all(len(targets) == 1 for targets in by_code.values())
    assert machine.actions[machine.start] == BOT


class Interrupted(Exception):
    """Stands for whatever ends a process."""


def test_an_interrupted_evaluation_plays_nothing_twice(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = opened(place / "p.p", tmp_path / "run")
    played: list[str] = []
    original = measure._measure

    def measured(unit: Any, bench: Any) -> Any:
        if len(played) in (3, 9) and not interrupted.get(len(played)):
            interrupted[len(played)] = True
            raise Interrupted
        played.append(unit.key)
        return original(unit, bench)

    interrupted: dict[int, bool] = {}
    monkeypatch.setattr(measure, "_measure", measured)
    monkeypatch.setattr(Checkpoint, "due", lambda self, every_s=20.0: True)
    for _ in range(2):
        with pytest.raises(Interrupted):
            evaluated(job)
    evaluated(job)
    assert played == [unit.key for unit in measure._units(job)]
    assert tree(tmp_path / "run") == tree(place / "run")


def test_the_traces_are_the_machines_own(place: Path, machine: MooreMachine) -> None:
    _, traces = decode_traces((place / "run/traces.npz").read_bytes())
    assert (machine.actions[traces.states] == traces.actions).all()
