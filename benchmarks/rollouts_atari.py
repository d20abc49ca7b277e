"""How fast Atari games are recorded with a policy at the wheel, beside the bare emulator with as many workers.

    python benchmarks/rollouts_atari.py [--game Pong] [--episodes 4] [--steps 600] [--workers 1]

The bare emulator holds the same actions for the same four frames and looks at nothing. The policy is an untrained
network of the published size, so that no file is needed.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import torch

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.description import describe
from moorelens.envs.playing import play
from moorelens.envs.rollouts import Rollouts
from moorelens.policies.config import Architecture
from moorelens.policies.networks import build_network, initialise
from moorelens.policies.players import PolicyPlayer


def bare(request: EnvironmentRequest, seed: int, actions: list[int]) -> float:
    """Return the seconds that the emulator alone needs for the actions."""
    from moorelens.envs.atari import AtariEpisode

    episode = AtariEpisode(request, seed, frames=False)
    episode.reset()
    began = time.perf_counter()
    for action in actions:
        episode.step(action)
    return time.perf_counter() - began


def recorded(request: EnvironmentRequest, episodes: int, steps: int, workers: int) -> tuple[Rollouts, float]:
    """Return the recording of a policy's games and the seconds it took, workers' start included."""
    spec = describe(request)
    policy = build_network(
        env_id=spec.id,
        observation_shape=spec.observation_shape,
        observation_dtype=spec.observation_dtype,
        action_names=spec.action_names,
        architecture=Architecture(body="conv", sizes=(32, 32, 16, 8), hidden="relu"),
    )
    initialise(policy, generator=torch.Generator().manual_seed(0))
    began = time.perf_counter()
    player = PolicyPlayer(policy, greedy=False, seed=0, record=("hidden",))
    return play(request, range(episodes), player, workers=workers, max_steps=steps), time.perf_counter() - began


def main() -> None:
    """Measure and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--game", default="Pong")
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    request = EnvironmentRequest(id=f"ALE/{options.game}-v5", noops=30)
    rollouts, seconds = recorded(request, options.episodes, options.steps, options.workers)
    spans = list(zip(rollouts.offsets[:-1], rollouts.offsets[1:], strict=True))
    actions = [rollouts.actions[a:b].tolist() for a, b in spans]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        alone = list(pool.map(bare, [request] * len(actions), range(len(actions)), actions))
    ours = len(rollouts.actions) / seconds
    theirs = len(rollouts.actions) / (sum(alone) / options.workers)
    print(f"{options.game}, {options.workers} worker(s), {len(rollouts.actions)} steps, {len(rollouts.frames)} frames")
    print(f"bare emulator        {theirs:8.0f} steps/s")
    print(f"recorded with policy {ours:8.0f} steps/s  ({ours / theirs:.0%})")
    print(f"returns {np.round(rollouts.returns, 1).tolist()}")


if __name__ == "__main__":
    main()
