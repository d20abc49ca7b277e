"""Reading symbols: from observations to features to symbol codes, each distinct frame evaluated once."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moorelens.envs.rollouts import Rollouts
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.policies.base import RecurrentPolicy, to_input
from moorelens.policies.batching import evaluate_in_chunks

Array = npt.NDArray[Any]
Codes = npt.NDArray[np.int8]

_VECTOR_CHUNK, _IMAGE_CHUNK = 64, 2


def features_of(policy: RecurrentPolicy, observations: Array) -> Tensor:
    """Return the features (B, F) of `observations (B, *obs)`; a row's result is the same bits in any batch."""
    chunk = _IMAGE_CHUNK if observations.ndim > 2 else _VECTOR_CHUNK
    if not len(observations):
        return torch.zeros(0, policy.spec.feature_size)
    parts = [
        evaluate_in_chunks(policy.features, to_input(observations[start : start + 4096]), chunk=chunk)[0]
        for start in range(0, len(observations), 4096)
    ]
    return torch.cat(parts)


def codes_of(network: MooreMachineNetwork, features: Tensor) -> Codes:
    """Return the symbol codes (B, L) of `features (B, F)`."""
    if not len(features):
        return network.symbol_codes(features[:0]).numpy()
    return evaluate_in_chunks(network.symbol_codes, features, chunk=_VECTOR_CHUNK)[0].numpy()


def symbol_codes_of(network: MooreMachineNetwork, rollouts: Rollouts) -> Codes:
    """Return the symbol code (T, L) read before each recorded action."""
    return codes_of(network, features_of(network.policy, rollouts.frames))[rollouts.frame_index]


class FeatureReader:
    """Reads the features of observations; frames that come again, as they do in games, are looked up.

    The feature net is never trained here, so one reader serves every quantiser of a policy.
    """

    def __init__(self, policy: RecurrentPolicy) -> None:
        self._policy = policy
        self._image = len(policy.spec.observation_shape) > 1
        self._known: dict[bytes, Tensor] = {}

    def features(self, observations: Array) -> Tensor:
        """Return the features (b, F) of `observations (b, *obs)`."""
        if not self._image:
            return features_of(self._policy, observations)
        keys = [hashlib.blake2b(observation.tobytes(), digest_size=16).digest() for observation in observations]
        fresh = list({key: i for i, key in enumerate(keys) if key not in self._known}.values())
        if fresh:
            found = features_of(self._policy, observations[fresh])
            self._known |= {keys[i]: found[j].clone() for j, i in enumerate(fresh)}
        return torch.stack([self._known[key] for key in keys])


class SymbolReader:
    """Reads the symbol codes of observations."""

    def __init__(self, network: MooreMachineNetwork, *, features: FeatureReader | None = None) -> None:
        self._network = network
        self._features = features or FeatureReader(network.policy)

    def codes(self, observations: Array) -> Codes:
        """Return the symbol codes (b, L) of `observations (b, *obs)`."""
        return codes_of(self._network, self._features.features(observations))
