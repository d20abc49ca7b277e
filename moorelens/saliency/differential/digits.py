"""The digits of a code before they are rounded, as functions of what the network reads."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from moorelens.errors import PolicyError
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.quantisers.base import Quantiser


class _Graded(Protocol):
    def preactivation(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Digits:
    """A reading of K digits: `graded (N, ...) -> (N, K)` before rounding, `rounded (N, ...) -> (N, K) int8` after."""

    graded: Callable[[Tensor], Tensor]
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
    graded = _graded(network.observation)
    encode = network.observation.encode
    features = network.policy.features
    return Digits(graded=lambda x: graded(features(x)), rounded=lambda x: encode(features(x)))


def joint_digits(network: MooreMachineNetwork) -> Digits:
    """Return the digits of the next state of rows (N, F + H): flat observation, then the memory before the step.

    The core reads the features as they are, not through the observation quantiser: a path through a rounding has no
    gradient to follow, and the digits of the state then change by exactly what is attributed.
    """
    graded = _graded(network.state)
    shape = network.spec.observation_shape
    size = math.prod(shape)

    def state(rows: Tensor) -> Tensor:
        features = network.policy.features(rows[:, :size].reshape(-1, *shape))
        return network.policy.core(features, rows[:, size:])

    return Digits(graded=lambda x: graded(state(x)), rounded=lambda x: network.state.encode(state(x)))


def _graded(quantiser: Quantiser) -> Callable[[Tensor], Tensor]:
    if not hasattr(quantiser, "preactivation"):
        raise PolicyError(
            f"Differential saliency needs the digits before they are rounded and a {type(quantiser).__name__} has "
            "none: quantise with a quantised bottleneck network."
        )
    return cast(_Graded, quantiser).preactivation


def differing(digits: Digits, x: Tensor, baseline: Tensor) -> Tensor:
    """Return (B, K) bool: the digits that differ between `x (B, ...)` and `baseline (B, ...)`."""
    with torch.no_grad():
        return digits.rounded(x) != digits.rounded(baseline)
