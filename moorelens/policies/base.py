"""The contract of a recurrent policy, and what can be said of any policy that keeps it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moorelens.policies.config import PolicySpec

ADAPTER_VERSION = 1


@runtime_checkable
class RecurrentPolicy(Protocol):
    """A policy with a memory; batch first, float32; B batch, F features, H state, A actions.

    One step is `state = core(features(observation), state)` and then `heads(state)`; nothing is changed in place.
    `moorelens.testing.check_policy` tells whether an implementation keeps this contract.
    """

    @property
    def spec(self) -> PolicySpec:
        """The facts that do not depend on the weights."""
        ...

    def initial_state(self, batch: int) -> Tensor:
        """Return the state before the first observation, (B, H)."""
        ...

    def features(self, observations: Tensor) -> Tensor:
        """Return what the memory reads, (B, F), of observations (B, *shape) float32 (see `to_input`)."""
        ...

    def core(self, features: Tensor, state: Tensor) -> Tensor:
        """Return the next state (B, H)."""
        ...

    def heads(self, state: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the logits (B, A) and the value (B,), or None where there is no value that the state determines."""
        ...

    def tensors(self) -> Mapping[str, Tensor]:
        """Return every tensor that the outputs depend on, by name."""
        ...


@runtime_checkable
class SamplesFromFeatures(Protocol):
    """A memoryless policy that was trained to sample: its state holds the greedy action, not the probabilities."""

    def logits_of(self, features: Tensor) -> Tensor:
        """Return the logits (B, A) that the training sampled from, of features (B, F)."""
        ...


def to_input(observations: npt.NDArray[Any] | Tensor) -> Tensor:
    """Return observations as a policy reads them: float32, bytes divided by 255."""
    if isinstance(observations, np.ndarray):
        observations = np.ascontiguousarray(observations)
        if not observations.flags.writeable:
            observations = observations.copy()
        observations = torch.from_numpy(observations)
    if observations.dtype == torch.uint8:
        return observations.to(torch.float32) / 255
    return observations.to(torch.float32)


def identity(policy: RecurrentPolicy) -> str:
    """Return the SHA-256 of tensors, spec and adapter version: equal policies have equal identities."""
    digest = hashlib.sha256(f"policy/{ADAPTER_VERSION}".encode())
    digest.update(msgspec.json.encode(policy.spec, order="sorted"))
    for name, tensor in sorted(policy.tensors().items()):
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
