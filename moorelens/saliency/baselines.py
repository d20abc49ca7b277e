"""What a hidden pixel shows: baselines, given in raw image space and returned in model-input space."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from moorelens.errors import OptionError

Normalise = Callable[[Tensor], Tensor]


class Baseline(Protocol):
    """Returns for inputs x (B, ...) in model-input space what stands for "nothing there", of the same shape and space.

    What it draws is shared by all rows, so that a row's baseline does not depend on its batch.
    """

    def __call__(self, x: Tensor, /, generator: torch.Generator | None = None) -> Tensor:
        """Return the baseline (B, ...) of x (B, ...)."""
        ...


@dataclass(frozen=True)
class Normaliser:
    """The affine map from raw image space to model-input space, by channel: (raw - mean) / std."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, raw: Tensor) -> Tensor:
        """Normalise raw images (B, C, H, W) or vectors (B, C)."""
        shape = (1, -1, *[1] * (raw.ndim - 2))
        return (raw - raw.new_tensor(self.mean).reshape(shape)) / raw.new_tensor(self.std).reshape(shape)


def constant(value: float, normalise: Normalise | None = None) -> Baseline:
    """A constant in RAW image space that passes through `normalise` like the image itself.

    0.0 is black; without `normalise`, model-input space is raw space. (Zero in normalised space is the mean colour.)
    """

    def baseline(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        raw = torch.full_like(x, value)
        return raw if normalise is None else normalise(raw)

    return baseline


def mean_colour() -> Baseline:
    """The mean of each channel of the image itself; of images (B, C, H, W)."""

    def baseline(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        _images_only(x, "mean colour")
        return x.mean(dim=(2, 3), keepdim=True).expand_as(x).clone()

    return baseline


def gaussian_blur(sigma: float | None = None, *, truncate: float | None = None) -> Baseline:
    """The image blurred; borders repeat the outermost pixel. Blurring commutes with an affine normaliser.

    `sigma` in pixels, by default 0.22 of the shorter side, cut off at `truncate` pixels, by default half the side or 3
    sigma, whichever is less: the published kernel of 51 pixels and sigma 50 at 224 pixels, which does not scale down
    by itself.
    """

    def baseline(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        _images_only(x, "blur")
        side = min(x.shape[2:])
        width = 0.22 * side if sigma is None else sigma
        if width <= 0:
            raise OptionError(f"A blur has a positive sigma and {width} was given: pass a number above 0.")
        radius = math.ceil(min(0.5 * side, 3 * width) if truncate is None else truncate)
        return blur(x, width, max(radius, 1))

    return baseline


def noise(std: float, normalise: Normalise | None = None, *, mean: float = 0.5) -> Baseline:
    """Normal noise around `mean` in RAW image space, cut to [0, 1]; needs a generator."""

    def baseline(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        drawn = torch.randn(x.shape[1:], generator=_needed(generator)) * std + mean
        raw = drawn.clamp(0, 1).to(x).expand_as(x).clone()
        return raw if normalise is None else normalise(raw)

    return baseline


def other(x: Tensor) -> Baseline:
    """Another input (B, ...), or one for all rows (1, ...), already in model-input space."""

    def baseline(of: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if x.shape[1:] != of.shape[1:] or len(x) not in (1, len(of)):
            raise OptionError(
                f"A baseline has the shape of what it replaces, {tuple(of.shape)}, and this one has {tuple(x.shape)}: "
                "pass one for each row or one for all."
            )
        return x.to(of).expand_as(of).clone()

    return baseline


def dataset_sample(pool: Tensor) -> Baseline:
    """One row of `pool (M, ...)`, in model-input space, drawn for the whole batch; needs a generator."""

    def baseline(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        chosen = int(torch.randint(len(pool), (1,), generator=_needed(generator)))
        return other(pool[chosen : chosen + 1])(x, None)

    return baseline


def blur(x: Tensor, sigma: float, radius: int) -> Tensor:
    """Return images (B, C, H, W) blurred by a Gaussian of `sigma`, cut off at `radius` pixels."""
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-offsets.square() / (2 * sigma**2))
    weights = (kernel / kernel.sum()).to(x)
    flat = x.reshape(-1, 1, *x.shape[2:])
    flat = functional.pad(flat, (radius, radius, radius, radius), mode="replicate")
    flat = functional.conv2d(functional.conv2d(flat, weights.reshape(1, 1, -1, 1)), weights.reshape(1, 1, 1, -1))
    return flat.reshape(x.shape)


def _images_only(x: Tensor, what: str) -> None:
    if x.ndim != 4:
        raise OptionError(
            f"A {what} baseline is for images (B, C, H, W) and this input is {tuple(x.shape)}: use constant or other."
        )


def _needed(generator: torch.Generator | None) -> torch.Generator:
    if generator is None:
        raise OptionError("This baseline is drawn by chance and no generator was given: pass a torch.Generator.")
    return generator
