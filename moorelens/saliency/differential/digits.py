"""The digits of a code before they are rounded, as functions of what the network reads."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from moorelens.errors import PolicyError
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.quantisers.base import Quantiser
from moorelens.policies.base import RecurrentPolicy
from moorelens.policies.networks import GRUPolicy, LSTMPolicy


class _HasPreactivation(Protocol):
    def preactivation(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Graded:
    """Digits before rounding, (N, ...) -> (N, K), as one function, or as an affine map and the rest behind it.

    A straight path stays straight behind an affine `first`, and its transpose is the same at every point: points and
    gradients then live behind it, and it is passed through backwards once for a whole path instead of once a point.
    """

    rest: Callable[[Tensor], Tensor]
    first: Callable[[Tensor], Tensor] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the digits (N, K) of `x (N, ...)`."""
        return self.rest(x if self.first is None else self.first(x))


@dataclass(frozen=True, kw_only=True)
class Digits:
    """A reading of K digits: `graded` before rounding, `rounded (N, ...) -> (N, K) int8` after."""

    graded: Graded
    rounded: Callable[[Tensor], Tensor]


def observation_digits(network: MooreMachineNetwork) -> Digits:
    """Return the digits of the symbol of observations (N, *obs) float32.

    Raises PolicyError where the network has no observation quantiser, or one whose digits have no graded form.
    """
    if network.observation is None:
        raise PolicyError(
            "Differential saliency compares the digits of symbols and this network reads raw features: use "
            'level="hidden".'
        )
    read = _graded(network.observation)
    encode, features = network.observation.encode, network.policy.features
    first, rest = _parted(network.policy)
    return Digits(graded=Graded(rest=lambda z: read(rest(z)), first=first), rounded=lambda x: encode(features(x)))


def joint_digits(network: MooreMachineNetwork) -> Digits:
    """Return the digits of the next state of rows (N, F + H): flat observation, then the memory before the step.

    The core reads the features as they are, not through the observation quantiser: a path through a rounding has no
    gradient to follow, and the digits of the state then change by exactly what is attributed.
    """
    read = _graded(network.state)
    shape = network.spec.observation_shape
    size = math.prod(shape)

    def state(rows: Tensor) -> Tensor:
        features = network.policy.features(rows[:, :size].reshape(-1, *shape))
        return network.policy.core(features, rows[:, size:])

    return Digits(graded=Graded(rest=lambda x: read(state(x))), rounded=lambda x: network.state.encode(state(x)))


def _parted(policy: RecurrentPolicy) -> tuple[Callable[[Tensor], Tensor] | None, Callable[[Tensor], Tensor]]:
    """Return the first, affine layer of the feature net and the rest of it; no layer and all of it for foreign ones.

    Both are copies laid out channels last, which convolutions pass backwards several times quicker on a CPU.
    """
    if not isinstance(policy, GRUPolicy | LSTMPolicy) or not isinstance(policy.body[0], nn.Conv2d | nn.Linear):
        return None, policy.features
    body: nn.Sequential = copy.deepcopy(policy.body)
    for layer in body:
        if isinstance(layer, nn.Conv2d):
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    return body[0], body[1:]


def _graded(quantiser: Quantiser) -> Callable[[Tensor], Tensor]:
    if not hasattr(quantiser, "preactivation"):
        raise PolicyError(
            f"Differential saliency needs the digits before they are rounded and a {type(quantiser).__name__} has "
            "none: quantise with a quantised bottleneck network."
        )
    return cast(_HasPreactivation, quantiser).preactivation


def differing(digits: Digits, x: Tensor, baseline: Tensor) -> Tensor:
    """Return (B, K) bool: the digits that differ between `x (B, ...)` and `baseline (B, ...)`."""
    with torch.no_grad():
        return digits.rounded(x) != digits.rounded(baseline)
