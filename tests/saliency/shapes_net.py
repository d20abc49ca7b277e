"""A small CNN, trained in seconds to name the planted glyph, and the pictures it is asked about."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from moorelens.saliency.sanity import randomise_layer
from moorelens.saliency.shapes import Shapes, make_shapes

SIZE, SCALE = 40, 0.75


@dataclass(frozen=True)
class Trained:
    """The network, its accuracy on fresh pictures and without the glyph, and pictures that it gets right."""

    model: nn.Sequential
    accuracy: float
    accuracy_erased: float
    shapes: Shapes
    right: Tensor


def network() -> nn.Sequential:
    """Three convolutions, global pooling, one linear layer: 25 000 weights."""
    layers: list[nn.Module] = []
    for previous, size, kernel in ((3, 16, 5), (16, 32, 3), (32, 64, 3)):
        layers += [nn.Conv2d(previous, size, kernel, stride=2, padding=kernel // 2), nn.BatchNorm2d(size), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 4))


@functools.cache
def trained(*, steps: int = 1000, batch: int = 64) -> Trained:
    """Train once a process."""
    generator = torch.Generator().manual_seed(0)
    model = network()
    for part in model:
        randomise_layer(part, generator=generator)
    data = make_shapes(8000, generator=generator, size=SIZE, scale=SCALE)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(data.x), (batch,), generator=generator)
        loss = functional.cross_entropy(model(data.x[rows]), data.y[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    model.eval().requires_grad_(False)
    shapes = make_shapes(200, generator=generator, size=SIZE, scale=SCALE)
    with torch.no_grad():
        found, blind = model(shapes.x).argmax(1), model(shapes.erased).argmax(1)
    right = torch.nonzero(found == shapes.y)[:, 0]
    return Trained(
        model, float((found == shapes.y).float().mean()), float((blind == shapes.y).float().mean()), shapes, right
    )
