"""Recorded episodes as padded sequences, and what the policy itself would have done on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from moorelens.envs.rollouts import Rollouts
from moorelens.fsm.reading import FeatureReader
from moorelens.policies.base import RecurrentPolicy


@dataclass(frozen=True, kw_only=True, eq=False)
class Sequences:
    """N episodes side by side, padded to T steps: `features (T, N, F)`, the policy's `states (T, N, H)`,
    `logits (T, N, A)`, and `mask (T, N)`, False where an episode has ended. Padding never enters a loss."""

    features: Tensor
    states: Tensor
    logits: Tensor
    mask: Tensor


def padded(rows: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return one row a step, `rows (steps, K)`, as episodes of `lengths` side by side (T, N, K), padded with zeros."""
    side = rows.new_zeros(max(lengths, default=0), len(lengths), rows.shape[1])
    for column, episode in enumerate(torch.split(rows, list(lengths))):
        side[: len(episode), column] = episode
    return side


def sequences_of(
    policy: RecurrentPolicy, rollouts: Rollouts, *, reader: FeatureReader, episodes: Sequence[int] | None = None
) -> Sequences:
    """Let the policy watch recorded episodes: its states and logits under the same observations, whoever acted."""
    chosen = list(range(len(rollouts.seeds))) if episodes is None else list(episodes)
    lengths = rollouts.lengths[chosen].tolist()
    read = torch.zeros(0, policy.spec.feature_size)
    if sum(lengths):
        used = np.concatenate([rollouts.frame_index[rollouts.offsets[n] : rollouts.offsets[n + 1]] for n in chosen])
        read = reader.features(rollouts.frames[used])
    features = padded(read, lengths)
    mask = torch.arange(len(features))[:, None] < torch.tensor(lengths, dtype=torch.int64)
    states, logits = watch(policy, features)
    return Sequences(features=features, states=states, logits=logits, mask=mask)


def watch(policy: RecurrentPolicy, features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the states (T, N, H) and logits (T, N, A) of the policy fed `features (T, N, F)`."""
    states, logits = [], []
    with torch.no_grad():
        state = policy.initial_state(features.shape[1])
        for row in features:
            state = policy.core(row, state)
            states.append(state)
            logits.append(policy.heads(state)[0])
    if not states:
        return state.new_zeros(0, *state.shape), state.new_zeros(0, features.shape[1], len(policy.spec.action_names))
    return torch.stack(states), torch.stack(logits)
