"""Reading symbols: from observations to features to symbol codes, each distinct image evaluated once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from moorelens.envs.rollouts import Rollouts
from moorelens.fsm.network import MooreMachineNetwork, chunk_sizes, unrounded
from moorelens.policies.batching import ChunkedFunction, evaluate_in_chunks
from moorelens.policies.reading import VECTOR_CHUNK, FeatureReader, features_of

__all__ = ["FeatureReader", "SymbolReader", "codes_of", "features_of", "symbol_codes_of"]

Array = npt.NDArray[Any]
Codes = npt.NDArray[np.int8]


def codes_of(network: MooreMachineNetwork, features: Tensor) -> Codes:
    """Return the symbol codes (B, L) of `features (B, F)`."""
    if not len(features):
        return network.symbol_codes(features[:0]).numpy()
    return evaluate_in_chunks(network.symbol_codes, features, chunk=VECTOR_CHUNK)[0].numpy()


def symbol_codes_of(network: MooreMachineNetwork, rollouts: Rollouts) -> Codes:
    """Return the symbol code (T, L) read before each recorded action."""
    return codes_of(network, features_of(network.policy, rollouts.frames))[rollouts.frame_index]


class SymbolReader:
    """Reads the symbol codes of observations; those of images that come again are looked up."""

    def __init__(self, network: MooreMachineNetwork, *, features: FeatureReader | None = None) -> None:
        self._network = network
        self.features = features or FeatureReader(network.policy)
        before = unrounded(network.observation)
        sizes = chunk_sizes(network) if before is not None else ()
        self._encode = ChunkedFunction(
            network.symbol_codes, chunk=VECTOR_CHUNK, sizes=sizes, call_cost=VECTOR_CHUNK, unrounded=before
        )
        self._known: npt.NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self._codes: Codes = np.zeros((0, 0), dtype=np.int8)

    def codes(self, observations: Array) -> Codes:
        """Return the symbol codes (b, L) of `observations (b, *obs)`."""
        if not self.features.images or not len(observations):
            return self._codes_of(self.features.features(observations))
        numbers = self.features.numbers(observations)
        self._grow(int(numbers.max()) + 1)
        fresh = np.unique(numbers[~self._known[numbers]])
        if len(fresh):
            found = self._codes_of(self.features.of(fresh))
            if not self._codes.shape[1]:
                self._codes = np.zeros((len(self._known), found.shape[1]), dtype=found.dtype)
            self._codes[fresh], self._known[fresh] = found, True
        return self._codes[numbers]

    def _codes_of(self, features: Tensor) -> Codes:
        found: Codes = self._encode(features)[0].numpy() if len(features) else codes_of(self._network, features)
        return found

    def _grow(self, needed: int) -> None:
        missing = needed - len(self._known)
        if missing > 0:
            missing = max(missing, 256, len(self._known))
            self._known = np.concatenate([self._known, np.zeros(missing, dtype=np.bool_)])
            room = np.zeros((missing, self._codes.shape[1]), dtype=np.int8)
            self._codes = np.concatenate([self._codes, room])
