"""From what an environment shows to what the first layer of a foreign network was trained on."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Array = npt.NDArray[np.float64]


class RunningStatistics(Protocol):
    """How observations were normalised in training: `clip((x - mean) / sqrt(var + epsilon))`."""

    @property
    def mean(self) -> Array:
        """Mean, of the shape of an observation."""
        ...

    @property
    def var(self) -> Array:
        """Variance, of the same shape."""
        ...

    @property
    def epsilon(self) -> float:
        """What keeps the root from 0."""
        ...

    @property
    def clip(self) -> float:
        """Largest magnitude afterwards."""
        ...


class Inputs(nn.Module):
    """From what an environment shows, as `to_input` hands it over, to what the first layer of the training saw.

    `from_bytes`: bytes arrive as fractions of 255. `image`: the training divided by 255 itself. `transpose`: it saw
    channels first. `statistics` are in the layout of the environment.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, *, from_bytes: bool, image: bool, transpose: bool = False, statistics: RunningStatistics | None = None
    ) -> None:
        """Keep the statistics as tensors, so that they are part of the policy's identity."""
        super().__init__()
        self.from_bytes, self.image, self.transpose = from_bytes, image, transpose
        self.clip = None if statistics is None else statistics.clip
        if statistics is not None:
            self.register_buffer("mean", torch.from_numpy(statistics.mean.copy()))
            deviation = np.sqrt(statistics.var + statistics.epsilon)
            self.register_buffer("deviation", torch.from_numpy(np.asarray(deviation)))

    def forward(self, observations: Tensor) -> Tensor:
        """Return what the extractor reads, of observations (B, *shape)."""
        seen, fractions = observations, self.from_bytes
        if self.from_bytes and (self.clip is not None or not self.image):
            seen, fractions = _bytes_again(seen), False
        if self.clip is not None:
            # In float64 and then rounded, as NumPy does it there.
            normal = (seen.double() - self.mean) / self.deviation
            seen = normal.clamp(-self.clip, self.clip).to(torch.float32)
        if self.image and not fractions:
            seen = seen / 255.0
        return seen.movedim(-1, 1) if self.transpose else seen


def _bytes_again(fractions: Tensor) -> Tensor:
    """Return 0..255 of n / 255, exactly, with the gradient of the product."""
    product = fractions * 255.0
    return product + (product.round() - product).detach()
