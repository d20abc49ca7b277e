"""Reading features: from observations to what a policy's memory reads, each distinct image evaluated once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moorelens.envs.identity import frame_key
from moorelens.policies.base import RecurrentPolicy, to_input
from moorelens.policies.batching import ChunkedFunction

Array = npt.NDArray[Any]
Ids = npt.NDArray[np.int64]

VECTOR_CHUNK, IMAGE_CHUNK = 64, 2
_IMAGE_SIZES, _IMAGE_CALL_COST = (3, 4, 6, 8, 12, 16), 2
_BLOCK = 4096  # observations turned into numbers at a time


class FeatureReader:
    """Reads the features of observations; images that come again, as they do in games, are looked up.

    The feature net is never trained here, so one reader serves every player and every quantiser of a policy.
    """

    def __init__(self, policy: RecurrentPolicy, *, chunk: int | None = None) -> None:
        """Wrap a policy; `chunk`: rows per network call, see `PolicyPlayer`."""
        self.images = len(policy.spec.observation_shape) > 1
        self._size = policy.spec.feature_size
        if self.images and chunk is None:
            self._evaluate = ChunkedFunction(
                policy.features, chunk=IMAGE_CHUNK, sizes=_IMAGE_SIZES, call_cost=_IMAGE_CALL_COST
            )
        else:
            self._evaluate = ChunkedFunction(policy.features, chunk=chunk or VECTOR_CHUNK, sizes=(), call_cost=0)
        self._numbers: dict[bytes, int] = {}
        self._features = torch.zeros(0, self._size)

    def features(self, observations: Array) -> Tensor:
        """Return the features (b, F) of `observations (b, *obs)`; a row's result is the same bits in any batch."""
        return self.of(self.numbers(observations)) if self.images else self.read(observations)

    def numbers(self, images: Array) -> Ids:
        """Return the numbers (b,) of `images (b, *obs)`, by first sight; what is new is evaluated."""
        keys = [frame_key(image) for image in images]
        known = self._numbers
        fresh = list({key: i for i, key in enumerate(keys) if key not in known}.values())
        if fresh:
            self._store(len(known), self.read(images[fresh]))
            for i in fresh:
                known[keys[i]] = len(known)
        return np.array([known[key] for key in keys], dtype=np.int64)

    def of(self, numbers: Ids) -> Tensor:
        """Return the features (b, F) of images by `numbers (b,)`."""
        return self._features[torch.from_numpy(numbers)]

    def known(self, images: Array) -> Array | None:
        """Return the features (b, F) of `images (b, *obs)` for another reader of the policy; None for vectors."""
        return self.features(images).numpy() if self.images else None

    def adopt(self, images: Array, known: Array | None) -> None:
        """Take over what another reader of the policy has `known` of distinct `images (b, *obs)`."""
        if known is None:
            return
        features = torch.from_numpy(known)
        keys = [frame_key(image) for image in images]
        fresh = [i for i, key in enumerate(keys) if key not in self._numbers]
        if fresh:
            self._store(len(self._numbers), features[fresh])
            for i in fresh:
                self._numbers[keys[i]] = len(self._numbers)

    def _store(self, first: int, found: Tensor) -> None:
        end = first + len(found)
        if end > len(self._features):
            grown = self._features.new_zeros(max(256, 2 * len(self._features), end), self._size)
            grown[:first] = self._features[:first]
            self._features = grown
        self._features[first:end] = found

    def read(self, observations: Array) -> Tensor:
        """Return the features (b, F) of `observations (b, *obs)` without looking any of them up."""
        if not len(observations):
            return torch.zeros(0, self._size)
        blocks = [observations[start : start + _BLOCK] for start in range(0, len(observations), _BLOCK)]
        parts = [self._evaluate(to_input(block))[0] for block in blocks]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def reader_in(kept: dict[str, Any], key: str, policy: RecurrentPolicy) -> FeatureReader:
    """Return the reader of a policy, known by its identity `key`, that a worker process keeps from games to games."""
    reader: FeatureReader = kept.setdefault(f"reader/{key}", FeatureReader(policy))
    return reader


def features_of(policy: RecurrentPolicy, observations: Array) -> Tensor:
    """Return the features (B, F) of `observations (B, *obs)`; a row's result is the same bits in any batch."""
    return FeatureReader(policy).read(observations)
