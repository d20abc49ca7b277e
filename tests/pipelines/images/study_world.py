"""A folder of small pictures, and models whose answers are known in closed form, written where a test runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

MODELS = '''
import torch
from torch import nn

from moorelens.saliency.baselines import Normaliser
from moorelens.saliency.images.models import ImageModel

CLASSES = ("red", "blue")


class Spots(nn.Module):
    """Red against blue in two spots of 4 x 4 pixels at opposite corners: the best, the mean, or both jointly."""

    def __init__(self, how, strength=12.0):
        super().__init__()
        self.how = how
        self.strength = nn.Parameter(torch.tensor(strength))

    def forward(self, x):
        spots = torch.stack([x[:, :, :4, :4].mean((2, 3)), x[:, :, 8:, 8:].mean((2, 3))], dim=1)
        red, blue = spots[:, :, 0] - spots[:, :, 1], spots[:, :, 2] - spots[:, :, 1]
        pooled = [self.pooled(colour) for colour in (red, blue)]
        return self.strength * torch.stack(pooled, dim=1)

    def pooled(self, colour):
        if self.how == "joint":  # much for both, a little for one
            return (colour.amin(dim=1) + colour.mean(dim=1)) / 2
        return getattr(colour, self.how)(dim=1)


def model(module, *, classes=CLASSES, size=(12, 12), name="m", channels=3):
    normaliser = Normaliser(mean=(0.5,) * channels, std=(0.5,) * channels)
    return ImageModel(
        module=module.eval(), normaliser=normaliser, classes=classes, channels=channels, size=size, name=name
    )


def either():
    return model(Spots("amax"), name="either")


def both():
    return model(Spots("joint", 3.0), name="both")


def mean():
    return model(Spots("mean"), name="mean", size=None)


def twin():
    return model(Spots("joint", 3.0), name="both")


def wrong():
    return model(Spots("amax", -12.0), name="wrong")


def larger():
    return model(Spots("amax"), name="larger", size=(24, 24))


def cats():
    return model(Spots("amax"), name="cats", classes=("cat", "dog"))


class Grey(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)).repeat(1, 2)


def grey():
    return model(Grey(), name="grey", channels=1)


def drifting():
    generator = torch.Generator()
    generator.seed()
    return model(Spots("amax", 12.0 + float(torch.rand(1, generator=generator))), name="drifting")
'''

_COLOURS = {"red": (230, 20, 20), "blue": (20, 20, 230)}


def make_world(folder: Path, *, count: int = 5) -> Path:
    """Write `spots.py` and `pictures/red/0.png`, ... below `folder`; return the folder of pictures."""
    (folder / "spots.py").write_text(MODELS, encoding="utf-8")
    rng = np.random.default_rng(0)
    for name, colour in _COLOURS.items():
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(count):
            picture = rng.integers(110, 146, size=(12, 12, 3))
            for corner in (slice(0, 4), slice(8, 12)):
                picture[corner, corner] = np.array(colour) + rng.integers(-9, 10, size=3)
            Image.fromarray(picture.astype(np.uint8)).save(folder / "pictures" / name / f"{number}.png")
    return folder / "pictures"
