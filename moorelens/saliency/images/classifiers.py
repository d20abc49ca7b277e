"""The small networks of the test-bed: a convolutional one with three kinds of normalisation, and patch attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Architecture = Literal["bn", "gn", "none", "attention"]
_WIDTHS = (16, 32, 64)
_DIM, _HEADS, _PATCH = 64, 4, 8


def build(architecture: Architecture, *, channels: int, classes: int, size: int, hidden: int = 0) -> nn.Module:
    """Return an untrained network (N, channels, size, size) -> logits (N, classes).

    `bn`, `gn`, `none`: `cnn` with that normalisation; `attention`: `PatchAttention`. `hidden`: units of a hidden layer
    before the logits, 0 for none; a class that is no sum of what is seen (`xor`) needs one.
    """
    # Torch draws initial weights from its global random state, which is left as it was.
    with torch.random.fork_rng(devices=[]):
        if architecture == "attention":
            return PatchAttention(channels=channels, classes=classes, size=size, hidden=hidden)
        return cnn(architecture, channels=channels, classes=classes, hidden=hidden)


def cnn(norm: Literal["bn", "gn", "none"], *, channels: int, classes: int, hidden: int = 0) -> nn.Sequential:
    """Return three convolutions of stride 2, each with `norm` and ReLU, global mean pooling and a linear layer.

    About 25,000 weights; any size of picture. GroupNorm has 4 groups.
    """
    norms: dict[str, Callable[[int], nn.Module]] = {
        "bn": nn.BatchNorm2d,
        "gn": lambda width: nn.GroupNorm(4, width),
        "none": lambda _: nn.Identity(),
    }
    layers: list[nn.Module] = []
    before = channels
    for width, kernel in zip(_WIDTHS, (5, 3, 3), strict=True):
        layers += [nn.Conv2d(before, width, kernel, stride=2, padding=kernel // 2), norms[norm](width), nn.ReLU()]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *_head(before, classes, hidden))


class PatchAttention(nn.Module):
    """Two layers of self-attention over the 8 x 8 patches of a picture (7 x 7 of them at 56 pixels).

    Patches are embedded one by one, so that only attention carries anything from one to another. The last layer of the
    trunk is a 1 x 1 convolution over the grid of tokens: it is what Grad-CAM reads. About 100,000 weights.
    """

    def __init__(self, *, channels: int, classes: int, size: int, hidden: int = 0) -> None:
        """Build with torch's initial weights."""
        super().__init__()
        half = _PATCH // 2
        self.embedding = nn.Sequential(
            nn.Conv2d(channels, _DIM, half, stride=half), nn.GELU(), nn.Conv2d(_DIM, _DIM, 2, stride=2)
        )
        self.positions = Positions(size // _PATCH)
        self.blocks = nn.Sequential(AttentionBlock(), AttentionBlock())
        self.norm = nn.LayerNorm(_DIM)
        self.last = nn.Conv2d(_DIM, _DIM, 1)
        self.head = nn.Sequential(*_head(_DIM, classes, hidden))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, K) of pictures (N, C, H, W)."""
        grid = self.positions(self.embedding(x))
        tokens = self.norm(self.blocks(grid.flatten(2).transpose(1, 2)))
        mixed: Tensor = self.last(tokens.transpose(1, 2).reshape(grid.shape))
        logits: Tensor = self.head(functional.relu(mixed).mean(dim=(2, 3)))
        return logits


class Positions(nn.Module):
    """Adds a learned vector to each place of a grid (N, D, side, side)."""

    def __init__(self, side: int) -> None:
        """Begin with nothing added."""
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(_DIM, side, side))

    def forward(self, grid: Tensor) -> Tensor:
        """Return the grid with its places."""
        return grid + self.weight


class AttentionBlock(nn.Module):
    """Self-attention with 4 heads and a perceptron, each normalised before and added to its input."""

    def __init__(self) -> None:
        """Build with torch's initial weights."""
        super().__init__()
        self.before = nn.LayerNorm(_DIM)
        self.mixed = nn.Linear(_DIM, 3 * _DIM)
        self.out = nn.Linear(_DIM, _DIM)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(_DIM), nn.Linear(_DIM, 2 * _DIM), nn.GELU(), nn.Linear(2 * _DIM, _DIM)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens (N, T, D)."""
        rows, count, _ = tokens.shape
        parts = self.mixed(self.before(tokens)).reshape(rows, count, 3, _HEADS, -1).permute(2, 0, 3, 1, 4)
        read = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        tokens = tokens + self.out(read.transpose(1, 2).reshape(rows, count, _DIM))
        changed: Tensor = tokens + self.perceptron(tokens)
        return changed


def _head(width: int, classes: int, hidden: int) -> list[nn.Module]:
    if hidden:
        return [nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, classes)]
    return [nn.Linear(width, classes)]
