"""The layers between vectors and codes: linear with tanh between, weights drawn from a generator."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

OutputActivation = Literal["relu6", "tanh", "none"]


def output_for(x: Tensor) -> OutputActivation:
    """Return the decoder's output function that can reach all of `x (N, D)`."""
    if not x.numel():
        return "none"
    low, high = float(x.min()), float(x.max())
    if low >= 0.0 and high <= 6.0:
        return "relu6"
    return "tanh" if low >= -1.0 and high <= 1.0 else "none"


def squash(x: Tensor, output: OutputActivation) -> Tensor:
    """Apply an output function to `x`."""
    if output == "relu6":
        return torch.clamp(x, 0.0, 6.0)
    return torch.tanh(x) if output == "tanh" else x


def make_layers(widths: Sequence[int]) -> nn.ModuleList:
    """Return linear layers of `widths`, not yet filled."""
    # Built on the meta device and then filled, so that construction draws nothing from the global generator.
    layers = nn.ModuleList(nn.Linear(a, b, device="meta") for a, b in itertools.pairwise(widths))
    return layers.to_empty(device="cpu")


def draw_layers(module: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of all linear layers of `module`, uniform in +-1/sqrt(fan in) as the framework's default."""
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                bound = layer.in_features**-0.5
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)


def apply_layers(layers: nn.ModuleList, x: Tensor) -> Tensor:
    """Apply `layers` to `x (B, D)`, with tanh between them."""
    for position, layer in enumerate(layers):
        x = layer(torch.tanh(x) if position else x)
    return x
