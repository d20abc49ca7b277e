"""The outlines of what planted pictures show: filled glyphs, thin strokes and the letters of a tag, as bool masks."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

CLASSES = ("disc", "square", "triangle", "cross")
DISTRACTORS = ("ring", "bar", "hook")
LETTERS = ("I", "O", "X", "T")
# No glyph of radius r reaches further than 1.21 r from its centre, so that its place never tells its class.
REACH = 1.21


def draw(names: tuple[str, ...], kinds: Tensor, centres: Tensor, radii: Tensor, size: int) -> Tensor:
    """Return masks (n, size, size): row i shows the filled glyph `names[kinds[i]]` at `centres[i]`, `radii[i]` large.

    `kinds (n,)`, `centres (n, 2)` as (down, across) and `radii (n,)` in pixels.
    """

    def inside(name: str, down: Tensor, across: Tensor, rows: Tensor) -> Tensor:
        scaled = radii[rows, None, None]
        return _FILLED[name](down / scaled, across / scaled)

    return _each(names, kinds, centres, size, inside)


def draw_strokes(
    names: tuple[str, ...], kinds: Tensor, centres: Tensor, radii: Tensor, widths: Tensor, size: int
) -> Tensor:
    """Return masks (n, size, size) like `draw`, of outlines alone, `widths (n,)` pixels thick."""

    def inside(name: str, down: Tensor, across: Tensor, rows: Tensor) -> Tensor:
        scaled, half = radii[rows, None, None], widths[rows, None, None] / 2
        if name in _ARCS:
            return ((down.square() + across.square()).sqrt() - scaled * _ARCS[name]).abs() <= half
        near = torch.zeros_like(down, dtype=torch.bool)
        for line in _LINES[name]:
            for start, end in pairwise(line):
                near |= _distance(down, across, scaled, start, end) <= half
        return near

    return _each(names, kinds, centres, size, inside)


def letter(kind: int, block: int) -> Tensor:
    """Return the letter `LETTERS[kind]` as a bool mask of 3 x 3 blocks, `block` pixels each."""
    rows = torch.tensor([[mark == "#" for mark in line] for line in _LETTERS[LETTERS[kind]]])
    return rows.repeat_interleave(block, 0).repeat_interleave(block, 1)


def _each(
    names: tuple[str, ...],
    kinds: Tensor,
    centres: Tensor,
    size: int,
    inside: Callable[[str, Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    axis = torch.arange(size, dtype=torch.float32)
    found = torch.zeros(len(kinds), size, size, dtype=torch.bool)
    for kind, name in enumerate(names):
        rows = torch.nonzero(kinds == kind)[:, 0]
        down = axis[None, :, None] - centres[rows, 0, None, None]
        across = axis[None, None, :] - centres[rows, 1, None, None]
        whole = (len(rows), size, size)
        found[rows] = inside(name, down.expand(whole), across.expand(whole), rows)
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
    return (((u + 0.6).abs() <= 0.25) & (v.abs() <= 0.85)) | (((v - 0.6).abs() <= 0.25) & (u.abs() <= 0.85))


_FILLED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "disc": _disc,
    "square": _square,
    "triangle": _triangle,
    "cross": _cross,
    "ring": _ring,
    "bar": _bar,
    "hook": _hook,
}

Point = tuple[float, float]
# Circles by their radius, and polygons by their corners as (down, across), for glyphs of radius 1.
_ARCS = {"disc": 1.0, "ring": 0.6}
_LINES: dict[str, tuple[tuple[Point, ...], ...]] = {
    "square": (((-0.85, -0.85), (-0.85, 0.85), (0.85, 0.85), (0.85, -0.85), (-0.85, -0.85)),),
    "triangle": (((-1.0, 0.0), (0.8, 0.9), (0.8, -0.9), (-1.0, 0.0)),),
    "cross": (((-1.0, 0.0), (1.0, 0.0)), ((0.0, -1.0), (0.0, 1.0))),
    "bar": (((0.0, -1.0), (0.0, 1.0)),),
    "hook": (((-0.8, -0.8), (0.8, -0.8), (0.8, 0.8)),),
}
_LETTERS = {
    "I": (".#.", ".#.", ".#."),
    "O": ("###", "#.#", "###"),
    "X": ("#.#", ".#.", "#.#"),
    "T": ("###", ".#.", ".#."),
}


def _distance(down: Tensor, across: Tensor, scale: Tensor, start: Point, end: Point) -> Tensor:
    """Return how far each pixel lies from the line between two points, in pixels."""
    v, u = down - scale * start[0], across - scale * start[1]
    along_v, along_u = end[0] - start[0], end[1] - start[1]
    length = math.hypot(along_v, along_u)
    part = ((v * along_v + u * along_u) / (length**2 * scale)).clamp(0, 1)
    return ((v - part * scale * along_v).square() + (u - part * scale * along_u).square()).sqrt()
