"""A value head for a policy whose critic had a memory of its own: what the policy's own state says of the return."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.playing import play
from moorelens.envs.rollouts import Rollouts
from moorelens.policies.networks import GRUPolicy, LSTMPolicy
from moorelens.policies.players import PolicyPlayer


def fit_value(
    policy: GRUPolicy | LSTMPolicy,
    request: EnvironmentRequest,
    seeds: Sequence[int],
    *,
    gamma: float,
    ridge: float = 1e-3,
    workers: int = 1,
) -> None:
    """Set the critic to the least-squares fit of discounted returns on the states of sampled episodes of `seeds`.

    `ridge` is relative to the mean square of the states. Episodes that the time limit cut are part of the fit as they
    are.
    """
    if policy.critic is None:
        return
    player = PolicyPlayer(policy, greedy=False, seed=0, record=("hidden",))
    rollouts = play(request, seeds, player, workers=workers)
    states = rollouts.extras["hidden"][:, : policy.architecture.units].astype(np.float64)
    design = np.column_stack([states, np.ones(len(states))])
    gram = design.T @ design
    gram += np.eye(len(gram)) * ridge * np.trace(gram) / len(gram)
    weights = np.linalg.solve(gram, design.T @ discounted_returns(rollouts, gamma))
    with torch.no_grad():
        policy.critic.weight.copy_(torch.from_numpy(weights[None, :-1]))
        policy.critic.bias.copy_(torch.from_numpy(weights[-1:]))


def discounted_returns(rollouts: Rollouts, gamma: float) -> npt.NDArray[np.float64]:
    """Return, for each step, the discounted sum of the rewards from it to the end of its episode, (T,)."""
    returns = np.array(rollouts.rewards, dtype=np.float64)
    ends = set((rollouts.offsets[1:] - 1).tolist())
    for t in range(len(returns) - 2, -1, -1):
        if t not in ends:
            returns[t] += gamma * returns[t + 1]
    return returns
