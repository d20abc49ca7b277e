"""Pictures whose class is decided by one planted glyph, so that a map can be checked against the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from moorelens.errors import OptionError

CLASSES = ("disc", "square", "triangle", "cross")
DISTRACTORS = ("ring", "bar", "hook")
_RADIUS = (6.0, 9.0)  # in pixels at a side of 56: glyphs of 12 to 18 pixels
_APART = 22.0
_SIDE = 56.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Shapes:
    """Pictures `x (n, 3, H, W)` in [0, 1], classes `y (n,)`, `truth (n, H, W)` bool: the glyph that decides the class.

    `parts`: further bool masks by name (`distractors`); `erased (n, 3, H, W)`: the same pictures without the glyph.
    """

    x: Tensor
    y: Tensor
    truth: Tensor
    parts: Mapping[str, Tensor]
    erased: Tensor


def make_shapes(count: int, *, generator: torch.Generator, size: int = 56, scale: float | None = None) -> Shapes:
    """Draw `count` pictures: one class glyph and two distractors at random places on low-frequency colour noise.

    Colours do not depend on the class. `scale`: of the glyphs, which are 12 to 18 pixels at 1; size / 56 by default.
    Raises `OptionError` for glyphs too small to be told apart, or too large to lie apart from each other.
    """
    scale = size / _SIDE if scale is None else scale
    room = size - 1 - 2 * (_RADIUS[1] + 1) * scale
    if count < 1 or scale < 0.4 or room < 1.1 * _APART * scale:
        raise OptionError(
            f"Shapes are 1 picture or more, with glyphs of 5 pixels or more and room for three of them, and {count} of "
            f"{size} pixels at scale {scale:.2f} have not: pass a larger size, or a smaller scale."
        )
    y = torch.randint(len(CLASSES), (count,), generator=generator)
    kinds = torch.randint(len(DISTRACTORS), (count, 2), generator=generator)
    radii = _uniform((count, 3), *_RADIUS, generator) * scale
    centres = _places(count, size, scale, generator)
    background = _background(count, size, generator)
    masks = [_draw(CLASSES, y, centres[:, 0], radii[:, 0], size)]
    masks += [_draw(DISTRACTORS, kinds[:, i], centres[:, i + 1], radii[:, i + 1], size) for i in range(2)]
    erased = background
    for mask in masks[1:]:
        erased = _paint(erased, mask, generator)
    x = _paint(erased, masks[0], generator)
    return Shapes(x=x, y=y, truth=masks[0], parts={"distractors": masks[1] | masks[2]}, erased=erased)


def _places(count: int, size: int, scale: float, generator: torch.Generator) -> Tensor:
    """Return centres (n, 3, 2), drawn anew until the three are apart and inside."""
    margin = (_RADIUS[1] + 1) * scale
    places = _uniform((count, 3, 2), margin, size - 1 - margin, generator)
    while True:
        gaps = (places - places.roll(1, dims=1)).norm(dim=2).amin(dim=1)
        close = torch.nonzero(gaps < _APART * scale)[:, 0]
        if len(close) == 0:
            return places
        places[close] = _uniform((len(close), 3, 2), margin, size - 1 - margin, generator)


def _background(count: int, size: int, generator: torch.Generator) -> Tensor:
    coarse = torch.randn(count, 3, 8, 8, generator=generator) * 0.25 + 0.5
    return functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=True).clamp(0, 1)


def _paint(x: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Paint each mask (n, H, W) in a colour near a corner of the cube, so that it is seen on any background."""
    corner = torch.randint(2, (len(x), 3), generator=generator).float()
    colour = (corner - _uniform((len(x), 3), 0.0, 0.15, generator)).abs()
    return torch.where(mask[:, None], colour[:, :, None, None], x)


def _draw(names: tuple[str, ...], kinds: Tensor, centres: Tensor, radii: Tensor, size: int) -> Tensor:
    """Return masks (n, H, W): row i shows `names[kinds[i]]` around centre i with radius i."""
    axis = torch.arange(size, dtype=torch.float32)
    down = (axis[None, :, None] - centres[:, 0, None, None]) / radii[:, None, None]
    across = (axis[None, None, :] - centres[:, 1, None, None]) / radii[:, None, None]
    found = torch.zeros(len(kinds), size, size, dtype=torch.bool)
    for kind, name in enumerate(names):
        found |= _GLYPHS[name](down, across) & (kinds == kind)[:, None, None]
    return found


def _disc(v: Tensor, u: Tensor) -> Tensor:
    return u.square() + v.square() <= 1


def _square(v: Tensor, u: Tensor) -> Tensor:
    return (u.abs() <= 0.85) & (v.abs() <= 0.85)


def _triangle(v: Tensor, u: Tensor) -> Tensor:
    return (v <= 0.8) & (2 * u.abs() <= v + 1)


def _cross(v: Tensor, u: Tensor) -> Tensor:
    return ((u.abs() <= 0.3) & (v.abs() <= 1)) | ((v.abs() <= 0.3) & (u.abs() <= 1))


def _ring(v: Tensor, u: Tensor) -> Tensor:
    radius = (u.square() + v.square()).sqrt()
    return (radius <= 1) & (radius >= 0.65)


def _bar(v: Tensor, u: Tensor) -> Tensor:
    return (v.abs() <= 0.25) & (u.abs() <= 1)


def _hook(v: Tensor, u: Tensor) -> Tensor:
    return ((u + 0.7).abs() <= 0.3) & (v.abs() <= 1) | ((v - 0.7).abs() <= 0.3) & (u.abs() <= 1)


_GLYPHS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "disc": _disc,
    "square": _square,
    "triangle": _triangle,
    "cross": _cross,
    "ring": _ring,
    "bar": _bar,
    "hook": _hook,
}


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator) * (high - low) + low
