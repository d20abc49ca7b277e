"""One checkpoint of a training: the machine of the policy as it is, and the numbers that say what it is worth."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.playing import play
from moorelens.fsm import memory
from moorelens.fsm.automata.decisions import decision_counts, decision_points
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.run import compile_machine
from moorelens.fsm.config import QuantiseConfig
from moorelens.fsm.extract import machine_of
from moorelens.fsm.fidelity import drive
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.players import MachinePlayer, NetworkPlayer
from moorelens.fsm.quantise import QuantiserSearch
from moorelens.fsm.quantisers.files import write_quantisers
from moorelens.fsm.reading import FeatureReader, symbol_codes_of
from moorelens.fsm.seeds import episode_seeds
from moorelens.policies.base import RecurrentPolicy
from moorelens.policies.players import PolicyPlayer
from moorelens.reports.growth import Growth
from moorelens.runs.hashing import digest

# Less than a job's quick preset: it is done many times in a training, and judged by its trend.
GROWTH_QUANTISE = QuantiseConfig(
    sizes=((4, 4), (8, 8)),
    rounds=24,
    restarts=0,
    patience=1,
    practice_steps=2000,
    first_updates=200,
    selection_episodes=20,
    tolerance=0.05,
)


@dataclass(frozen=True, kw_only=True)
class GrowthPlan:
    """How much work a checkpoint is: episodes to extract from and to measure on, and how the quantisers are found."""

    episodes: int = 16
    held_out: int = 20
    quantise: QuantiseConfig = GROWTH_QUANTISE


def grown(
    policy: RecurrentPolicy, request: EnvironmentRequest, *, steps: int, plan: GrowthPlan
) -> tuple[Growth, MooreMachine]:
    """Return what is measured of a policy's machine, and the machine; seeds are those of a job with the same seed."""
    seed, reader = plan.quantise.seed, FeatureReader(policy)
    fit = play(request, episode_seeds("fit", plan.episodes, seed=seed), PolicyPlayer(policy))
    search = QuantiserSearch(policy=policy, request=request, config=plan.quantise, rollouts=fit, reader=reader)
    found, _ = search.run()
    network = MooreMachineNetwork(policy, observation=found["observation"], state=found["state"])
    player = NetworkPlayer(network, features=reader)
    meta = {
        "policy": "training",
        "environment": request.id,
        "steps": steps,
        "quantiser": digest(write_quantisers(found)),
    }
    machine, traces = machine_of(play(request, fit.seeds.tolist(), player), player=player, meta=meta)
    machine = dataclasses.replace(machine, action_names=policy.spec.action_names)
    held_out = episode_seeds("held_out", plan.held_out, seed=seed)
    stepper = compile_machine(machine)
    own = play(request, held_out, PolicyPlayer(policy)).returns
    theirs = play(request, held_out, MachinePlayer(stepper, network, features=reader)).returns
    watched = play(request, held_out, player)
    codes = symbol_codes_of(network, watched)
    agreed = float(np.mean(drive(stepper, codes, watched.offsets).actions == watched.actions))
    table = memory.table_score(
        traces.symbols, traces.actions, test_symbols=stepper.recognise(codes)[0], test_actions=watched.actions
    )
    return (
        Growth(
            steps=steps,
            states=machine.n_states,
            symbols=machine.n_symbols,
            decisions=decision_counts(decision_points(machine))["structural"],
            policy=float(own.mean()),
            machine=float(theirs.mean()),
            loss=float((own - theirs).mean()),
            gain=agreed - table,
            reactivity=memory.reactivity(traces.symbols, traces.actions),
            open_loop=memory.open_loop_score(
                traces.actions, traces.offsets, test_actions=watched.actions, test_offsets=watched.offsets
            ),
        ),
        machine,
    )
