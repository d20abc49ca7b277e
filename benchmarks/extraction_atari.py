"""What extraction from an Atari policy costs beside the bare emulator with as many processes, measured in one run.

    python benchmarks/extraction_atari.py [--policy mmn:FILE] [--game Pong] [--episodes 12] [--workers 1 2]
        [--sticky 0 0.25] [--steps N] [--repeats 3]

- **bare**: the same games, already loaded, step through the same actions, four frames each, in as many processes, and
  nobody looks; the rates of the processes are added up, so that waiting for the slowest costs nothing.
- **bare with screens**: the same, and the screen is fetched in colour after each decision.
- **policy**: the policy's episodes are recorded: distinct frames, actions, rewards, states of its memory.
- **network**: so are those of the quantised network, with state and symbol codes, and its machine is built.

Both recordings count from the call to the result. The pool of processes is up and its emulators are loaded, as they are
for all but the first batch of a job. The repeats are interleaved; what is printed is the median of each rate, and
the median over the repeats of its ratio to the bare rate of the same repeat. Without `--policy`, an untrained network
of the published size plays. The quantisers have the published sizes (64, 100) and are fitted in a few seconds, which
is not counted: how well the network plays decides how long its games are, not how quick they are.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

import msgspec
import torch

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.description import describe
from moorelens.envs.playing import play
from moorelens.envs.pool import Workers
from moorelens.envs.rollouts import Rollouts
from moorelens.fsm.extract import machine_of
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.players import NetworkPlayer
from moorelens.fsm.pretrain import pretrain
from moorelens.fsm.quantisers.qbn import QBNSpec, TernaryQBN
from moorelens.fsm.sequences import sequences_of
from moorelens.policies.base import RecurrentPolicy
from moorelens.policies.config import Architecture
from moorelens.policies.load import open_policy
from moorelens.policies.networks import build_network, initialise
from moorelens.policies.players import PolicyPlayer
from moorelens.policies.reading import FeatureReader

Games = Sequence[tuple[int, list[int]]]
PUBLISHED_SECONDS = 27.0  # the published extraction of one game of Pong, measured on the machine of the project


def stepped(request: EnvironmentRequest, games: Games, *, screens: bool) -> float:
    """Return the steps a second of one process that steps games through given actions."""
    from moorelens.envs.atari import AtariEpisode

    loaded = [(AtariEpisode(request, seed, frames=False), actions) for seed, actions in games]
    for episode, _ in loaded:
        episode.reset()
    seconds = 0.0
    for episode, actions in loaded:
        began = time.perf_counter()
        for action in actions:
            episode.step(action)
            if screens:
                episode.screen()
        seconds += time.perf_counter() - began
    return sum(len(actions) for _, actions in games) / seconds


def bare(pool: ProcessPoolExecutor, bench: Bench, played: Rollouts, workers: int, *, screens: bool) -> float:
    """Return the steps a second of all processes together."""
    spans = zip(played.seeds.tolist(), played.offsets[:-1].tolist(), played.offsets[1:].tolist(), strict=True)
    games = [(seed, played.actions[a:b].tolist()) for seed, a, b in spans]
    tasks = [pool.submit(stepped, bench.request, games[i::workers], screens=screens) for i in range(workers)]
    return sum(task.result() for task in tasks)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What is measured: who plays which games."""

    policy: RecurrentPolicy
    network: MooreMachineNetwork
    request: EnvironmentRequest
    seeds: Sequence[int]
    steps: int | None

    def record_policy(self, pool: Workers) -> tuple[Rollouts, float]:
        """Return the recording of the policy's games and the seconds it took."""
        began = time.perf_counter()
        player = PolicyPlayer(self.policy, record=("hidden",))
        played = play(self.request, self.seeds, player, workers=pool, max_steps=self.steps)
        return played, time.perf_counter() - began

    def record_network(self, pool: Workers) -> tuple[Rollouts, float]:
        """Return the recording of the quantised network's games and the seconds until its machine was built."""
        began = time.perf_counter()
        player = NetworkPlayer(self.network)
        played = play(self.request, self.seeds, player, workers=pool, max_steps=self.steps)
        machine_of(played, player=player)
        return played, time.perf_counter() - began

    def rates(self, pool: Workers, emulators: ProcessPoolExecutor) -> dict[str, float]:
        """Return the steps a second of each kind, measured one after the other."""
        played, seconds = self.record_policy(pool)
        found = {
            "bare": bare(emulators, self, played, pool.count, screens=False),
            "bare with screens": bare(emulators, self, played, pool.count, screens=True),
            "policy": len(played.actions) / seconds,
        }
        replayed, more = self.record_network(pool)
        found["network"] = len(replayed.actions) / more
        return found | {"both": (len(played.actions) + len(replayed.actions)) / (seconds + more)}


def untrained(request: EnvironmentRequest) -> RecurrentPolicy:
    """Return a network of the published size."""
    spec = describe(request)
    policy = build_network(
        env_id=spec.id,
        observation_shape=spec.observation_shape,
        observation_dtype=spec.observation_dtype,
        action_names=spec.action_names,
        architecture=Architecture(body="conv", sizes=(32, 32, 16, 8), hidden="relu"),
    )
    initialise(policy, generator=torch.Generator().manual_seed(0))
    return policy


def quantised(policy: RecurrentPolicy, request: EnvironmentRequest) -> MooreMachineNetwork:
    """Return the policy with quantisers of the published sizes, fitted to one of its games."""
    watched = sequences_of(policy, play(request, [0], PolicyPlayer(policy)), reader=FeatureReader(policy))
    features, states = watched.features[watched.mask], watched.states[watched.mask]
    specs = {
        "observation": QBNSpec(size=features.shape[1], hidden=(800, 400), digits=100, output="relu6"),
        "state": QBNSpec(size=states.shape[1], hidden=(512, 256), digits=64, output="tanh"),
    }
    found = {name: TernaryQBN(spec, generator=torch.Generator().manual_seed(0)) for name, spec in specs.items()}
    for name, x in (("observation", features), ("state", states)):
        pretrain(found[name], x, updates=300, batch=256, learning_rate=1e-3, seed=0)
    return MooreMachineNetwork(policy, observation=found["observation"], state=found["state"])


def one_game(bench: Bench) -> None:
    """Print how long one game takes from the policy to its machine, reduced and folded, in this process alone."""
    alone = replace(bench, request=msgspec.structs.replace(bench.request, sticky=0.0, noops=0), seeds=[0], steps=None)
    with Workers(1) as pool:
        began = time.perf_counter()
        played, first = alone.record_policy(pool)
        replayed, second = alone.record_network(pool)
    total = time.perf_counter() - began
    print(f"one plain game: {total:.1f} s ({first:.1f} s for {len(played.actions)} steps of the policy, return")
    print(f"  {played.returns[0]:g}, and {second:.1f} s for {len(replayed.actions)} of the network and its machine)")
    if alone.request.id == "ALE/Pong-v5":
        print(
            f"  the published extraction needed {PUBLISHED_SECONDS:g} s: {PUBLISHED_SECONDS / total:.1f} times as long"
        )


def report(bench: Bench, *, workers: int, repeats: int) -> None:
    """Measure with so many processes and print one line a kind."""
    measured: list[dict[str, float]] = []
    with Workers(workers) as pool, ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as emulators:
        short = replace(bench, steps=20)
        short.rates(pool, emulators)  # starts what must be started
        for _ in range(repeats):
            measured.append(bench.rates(pool, emulators))
    print(f"{bench.request.id}, sticky {bench.request.sticky:g}, {len(bench.seeds)} games, {workers} process(es)")
    for kind in measured[0]:
        rate = statistics.median(found[kind] for found in measured)
        shares = [found[kind] / found["bare"] for found in measured]
        print(
            f"  {kind:18}{rate:7.0f} steps/s {statistics.median(shares):6.0%}  ({min(shares):.0%} to {max(shares):.0%})"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy")
    parser.add_argument("--game", default="Pong")
    parser.add_argument("--episodes", type=int, default=12)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--sticky", type=float, nargs="+", default=[0.0, 0.25])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    plain = EnvironmentRequest(id=f"ALE/{options.game}-v5")
    policy = open_policy(options.policy, env=plain).policy if options.policy else untrained(plain)
    network = quantised(policy, plain)
    for sticky in options.sticky:
        request = msgspec.structs.replace(plain, noops=30, sticky=sticky)
        bench = Bench(
            policy=policy, network=network, request=request, seeds=range(options.episodes), steps=options.steps
        )
        for workers in options.workers:
            report(bench, workers=workers, repeats=options.repeats)
    one_game(bench)


if __name__ == "__main__":
    main()
