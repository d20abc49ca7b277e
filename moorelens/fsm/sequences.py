"""Recorded episodes as padded sequences, and what the policy itself would have done on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
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


def padded(rows: npt.NDArray[Any], offsets: npt.NDArray[np.int64]) -> Tensor:
    """Return one row a step, `rows (steps, K)`, as episodes side by side (T, N, K), padded with zeros."""
    lengths = np.diff(offsets)
    side = np.zeros((int(lengths.max(initial=0)), len(lengths), rows.shape[1]), dtype=rows.dtype)
    for column, (start, stop) in enumerate(pairwise(offsets.tolist())):
        side[: stop - start, column] = rows[start:stop]
    return torch.from_numpy(side)


def sequences_of(
    policy: RecurrentPolicy, rollouts: Rollouts, *, reader: FeatureReader, episodes: Sequence[int] | None = None
) -> Sequences:
    """Let the policy watch recorded episodes: its states and logits under the same observations, whoever acted."""
    chosen = list(range(len(rollouts.seeds))) if episodes is None else list(episodes)
    spans = [(int(rollouts.offsets[n]), int(rollouts.offsets[n + 1])) for n in chosen]
    longest = max((end - start for start, end in spans), default=0)
    features = torch.zeros(longest, len(chosen), policy.spec.feature_size)
    mask = torch.zeros(longest, len(chosen), dtype=torch.bool)
    if longest:
        used = torch.cat([torch.arange(start, end) for start, end in spans])
        frames = reader.features(rollouts.frames[rollouts.frame_index[used.numpy()]])
        position = 0
        for column, (start, end) in enumerate(spans):
            length = end - start
            features[:length, column] = frames[position : position + length]
            mask[:length, column] = True
            position += length
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
