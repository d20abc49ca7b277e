"""A classifier of pictures of 56 x 56 pixels whose minimal sufficient sets are known."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moorelens.saliency.baselines import Normaliser
from moorelens.saliency.images.models import ImageModel

LIT = (8, 24, 40)  # cells of a 7 x 7 grid


class TwoOfThree(nn.Module):
    """Class 0 where two of three cells of a 7 x 7 grid are bright, class 1 otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(8)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, 2) of pictures (N, 3, 56, 56) with a mean of 0.5 and a deviation of 0.25."""
        cells = self.pool(x * 0.25 + 0.5).mean(dim=1).flatten(1)[:, LIT]
        lit = cells.sum(dim=1).clamp(max=2.0)
        return torch.stack([8 * lit - 10, torch.zeros_like(lit)], dim=1)


def two_of_three() -> ImageModel:
    """The classifier with its description."""
    normaliser = Normaliser(mean=(0.5,) * 3, std=(0.25,) * 3)
    return ImageModel(
        module=TwoOfThree().eval(),
        normaliser=normaliser,
        classes=("lit", "dark"),
        channels=3,
        size=(56, 56),
        name="trio",
    )
