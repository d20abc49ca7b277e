"""What an image classifier is: a network, how its input is normalised, and what its outputs are called."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from moorelens.errors import ModelError
from moorelens.runs.hashing import digest
from moorelens.saliency.baselines import Normaliser


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageModel:
    """A classifier of images, in eval mode.

    `module`: (N, C, H, W) float32 in model-input space -> logits (N, K); `normaliser`: from raw images in [0, 1] to
    model-input space; `classes`: K names, of which several may be equal; `channels`: C, 1 or 3 where files are to be
    read; `size`: (H, W), None where the network takes any; `name`: for people; `assumed`: what nobody said of it and
    was taken for granted, in words.
    Raises `ModelError` where these do not fit each other.
    """

    module: nn.Module
    normaliser: Normaliser
    classes: tuple[str, ...]
    channels: int
    size: tuple[int, int] | None
    name: str
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no picture can be shown to."""
        if not isinstance(self.module, nn.Module):
            raise ModelError(
                f"An image model holds a torch module and {self.name!r} holds a {type(self.module).__name__}: pass the "
                "network itself."
            )
        if self.module.training:
            raise ModelError(
                f"An image model is in eval mode and the network of {self.name!r} is being trained: call its eval() "
                "first, so that no row depends on chance or on its neighbours."
            )
        if not self.classes or not all(isinstance(name, str) for name in self.classes):
            raise ModelError(
                f"An image model names its outputs and {self.name!r} has the names {self.classes!r}: pass one text for "
                "each output."
            )
        if self.channels < 1 or (self.size is not None and (len(self.size) != 2 or min(self.size) < 1)):
            raise ModelError(
                f"An image model reads 1 channel or more at a positive height and width, and {self.name!r} reads "
                f"{self.channels} at {self.size}: correct them."
            )
        check_normaliser(self.normaliser, channels=self.channels, name=self.name)


def check_normaliser(normaliser: Normaliser, *, channels: int, name: str) -> None:
    """Raise `ModelError` where a normaliser does not fit `channels`, or divides by zero."""
    numbers = (*normaliser.mean, *normaliser.std)
    fits = len(normaliser.mean) == len(normaliser.std) == channels
    if not fits or not all(math.isfinite(value) for value in numbers) or min(normaliser.std) <= 0:
        raise ModelError(
            f"A normaliser has a finite mean and a positive standard deviation for each of the {channels} channels of "
            f"{name!r}, and mean {tuple(normaliser.mean)} with std {tuple(normaliser.std)} are not that: correct them."
        )


def identity(model: ImageModel) -> str:
    """Return a hash of everything a map depends on: weights, layers as printed, normaliser, size and class names."""
    with torch.no_grad():
        tensors = {name: _array(tensor) for name, tensor in model.module.state_dict().items()}
    return digest(
        {
            "tensors": tensors,
            "layers": str(model.module),
            "mean": model.normaliser.mean,
            "std": model.normaliser.std,
            "size": model.size,
            "classes": model.classes,
        }
    )


def _array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    plain = tensor.detach().cpu()
    # numpy knows no bfloat16; float32 holds each of its values.
    return (plain.float() if plain.dtype == torch.bfloat16 else plain).contiguous().numpy()
