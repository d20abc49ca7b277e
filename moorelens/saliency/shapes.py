"""Pictures whose class is decided by planted glyphs, so that a map can be checked against the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from moorelens.errors import OptionError
from moorelens.saliency.glyphs import CLASSES, DISTRACTORS, LETTERS, draw, draw_strokes, letter
from moorelens.saliency.patches import PatchGrid
from moorelens.saliency.placing import DISTRACTOR_RADII, GAP, GLYPH_RADII, SIDE, check_room, place, uniform

__all__ = ["ATTRIBUTES", "CAUSES", "CLASSES", "DISTRACTORS", "TASKS", "Shapes", "Task", "classes_of", "make_shapes"]

Task = Literal["single", "or", "and", "xor", "watermark", "thin", "attributes"]
TASKS: tuple[Task, ...] = get_args(Task)
FIRST, SECOND = CLASSES[:2], CLASSES[2:]
ATTRIBUTES = ("square", "warm", "striped")
# The parts that decide the class: together they are the truth.
CAUSES: Mapping[Task, tuple[str, ...]] = {
    "single": ("glyph",),
    "or": ("first", "second"),
    "and": ("first", "second"),
    "xor": ("first", "second"),
    "watermark": ("glyph",),
    "thin": ("glyph",),
    "attributes": ("glyph",),
}
_CELLS = 7
_WIDTHS = (1.0, 1.8)  # of thin strokes, in pixels: no stroke is thicker than 2
_WARM, _COOL = (0.9, 0.25, 0.1), (0.1, 0.3, 0.9)


@dataclass(frozen=True, kw_only=True, eq=False)
class Shapes:
    """Pictures `x (n, 3, H, W)` in [0, 1], classes `y (n,)`, `truth (n, H, W)` bool: the pixels that decide the class.

    `parts`: bool masks (n, H, W) of all that is planted, by name: what `CAUSES[task]` lists, `distractors`, and `tag`
    of a watermark. `background (n, 3, H, W)`: the pictures with nothing planted. `meta`: what was drawn, as tensors of
    n rows: `kinds`, `radii` and `centres` (down, across) of the objects, the causes first, all in pixels; and `tag`
    (the class whose letter is shown), `widths` (of strokes) or `attributes (n, 3)` bool.
    """

    task: Task
    x: Tensor
    y: Tensor
    truth: Tensor
    parts: Mapping[str, Tensor]
    background: Tensor
    meta: Mapping[str, Tensor]

    @cached_property
    def erased(self) -> Tensor:
        """The pictures (n, 3, H, W) without what decides their class."""
        return torch.where(self.truth[:, None], self.background, self.x)

    @cached_property
    def cells(self) -> tuple[int, ...]:
        """For each picture the cells of the 7 x 7 grid that its truth touches, as a set of `PatchGrid.regular`."""
        return self._touched(self.truth)

    def without(self, *parts: str) -> Tensor:
        """Return the pictures (n, 3, H, W) without the named parts; raises `OptionError` for other names."""
        mask = torch.zeros_like(self.truth)
        for part in parts:
            mask = mask | self.part(part)
        return torch.where(mask[:, None], self.background, self.x)

    def cells_of(self, part: str) -> tuple[int, ...]:
        """Return for each picture the cells of the 7 x 7 grid that the named part touches."""
        return self._touched(self.part(part))

    def part(self, name: str) -> Tensor:
        """Return one of `parts`; raises `OptionError` that lists the names there are."""
        if name not in self.parts:
            raise OptionError(
                f"Pictures of the task {self.task!r} have the parts {', '.join(self.parts)}, and {name!r} is none of "
                "them: choose one of these."
            )
        return self.parts[name]

    def _touched(self, masks: Tensor) -> tuple[int, ...]:
        grid = PatchGrid.regular(_CELLS, _CELLS, (masks.shape[1], masks.shape[2]))
        return tuple(grid.touched(mask) for mask in masks)


def classes_of(task: Task) -> tuple[str, ...]:
    """Return the names of the classes of a task; raises `OptionError` for a task that is none."""
    _check_task(task)
    if task == "and":
        return tuple(f"{one} + {other}" for one in FIRST for other in SECOND)
    if task == "xor":
        return ("even", "odd")
    if task == "attributes":
        return tuple(
            " ".join(name if number >> bit & 1 else f"not {name}" for bit, name in enumerate(ATTRIBUTES))
            for number in range(2 ** len(ATTRIBUTES))
        )
    return CLASSES


def make_shapes(
    count: int,
    *,
    generator: torch.Generator,
    task: Task = "single",
    size: int = 56,
    scale: float | None = None,
    p_spurious: float = 0.0,
) -> Shapes:
    """Draw `count` pictures of size x size: planted glyphs at random places on low-frequency colour noise.

    `single`: one class glyph, two distractors. `or`: the class glyph twice, one distractor; either will do. `and`: a
    disc or square and a triangle or cross; the class is the pair. `xor`: the same pair; the class is whether the number
    of the pair is odd (0, 1 for the first, plus 0, 1 for the second). `watermark`: one class glyph, one distractor and
    a letter as large as a small glyph in the top left corner, that of the class with probability `p_spurious`, else of
    any class. `thin`: as `single`, in strokes of 1 to 2 pixels. `attributes`: one glyph that is or is not square, warm
    and striped, and two distractors; the class is square + 2 warm + 4 striped.

    Objects lie 10 pixels apart at a side of 56, so that no two share a cell of the 7 x 7 grid; colours do not depend on
    the class (but for `warm`). `scale`: of the glyphs, which are 12 to 18 pixels at 1; size / 56 by default.
    Raises `OptionError` for a task that is none, and for glyphs too small to be told apart, or too large to lie apart.
    """
    _check_task(task)
    if not 0 <= p_spurious <= 1 or (p_spurious > 0 and task != "watermark"):
        raise OptionError(
            f"p_spurious is the probability that the letter of a watermark is that of the class, and {p_spurious} for "
            f"the task {task!r} is not: pass 0 to 1, with the task 'watermark'."
        )
    scale = size / SIDE if scale is None else scale
    doubled = len(CAUSES[task]) == 2
    ranges = (GLYPH_RADII,) * (2 if doubled else 1) + (DISTRACTOR_RADII,) * (1 if doubled or task == "watermark" else 2)
    check_room(ranges, count=count, size=size, scale=scale)
    corner, block = max(1, round(2 * scale)), max(1, round(4 * scale))
    tag = (corner + 1.5 * block, 1.5 * block * 2**0.5) if task == "watermark" else None
    # Strokes reach over their radius by half their width.
    gap = GAP + _WIDTHS[1] if task == "thin" else GAP
    radii, centres = place(ranges, count, size=size, scale=scale, generator=generator, gap=gap, taken=tag)
    y, kinds, meta = _kinds(task, count, len(ranges), p_spurious, generator)
    masks = _masks(task, kinds, centres, radii, meta, size)
    background = _background(count, size, generator)
    x = background
    for index, mask in enumerate(masks):
        x = _paint(x, mask, _fill(task, index, mask, meta, generator))
    names = CAUSES[task]
    parts = dict(zip(names, masks, strict=False))
    parts["distractors"] = torch.stack(masks[len(names) :]).any(dim=0)
    if task == "watermark":
        x, parts["tag"] = _tagged(x, meta["tag"], corner, block)
    truth = torch.stack([parts[name] for name in names]).any(dim=0)
    meta |= {"kinds": kinds, "radii": radii, "centres": centres}
    return Shapes(task=task, x=x, y=y, truth=truth, parts=parts, background=background, meta=meta)


def _check_task(task: str) -> None:
    if task not in TASKS:
        raise OptionError(f"A task is one of {', '.join(TASKS)}, and {task!r} is none of them: choose one of these.")


def _kinds(
    task: Task, count: int, objects: int, p_spurious: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return classes (n,), kinds (n, objects) of the objects, indices into CLASSES and DISTRACTORS, and what else."""

    def drawn(below: int) -> Tensor:
        return torch.randint(below, (count,), generator=generator)

    causes = len(CAUSES[task])
    others = [drawn(len(DISTRACTORS)) for _ in range(objects - causes)]
    if task in ("and", "xor"):
        first, second = drawn(2), drawn(2)
        y = 2 * first + second if task == "and" else (first + second) % 2
        return y, torch.stack([first, 2 + second, *others], dim=1), {}
    if task == "attributes":
        found = torch.stack([drawn(2) for _ in ATTRIBUTES], dim=1)
        return found @ torch.tensor([1, 2, 4]), torch.stack([found[:, 0], *others], dim=1), {"attributes": found.bool()}
    y = drawn(len(CLASSES))
    meta: dict[str, Tensor] = {}
    if task == "watermark":
        told = torch.rand(count, generator=generator) < p_spurious
        meta["tag"] = torch.where(told, y, drawn(len(CLASSES)))
    if task == "thin":
        meta["widths"] = uniform((count, objects), *_WIDTHS, generator)
    return y, torch.stack([*[y] * causes, *others], dim=1), meta


def _masks(
    task: Task, kinds: Tensor, centres: Tensor, radii: Tensor, meta: Mapping[str, Tensor], size: int
) -> list[Tensor]:
    found = []
    for index in range(kinds.shape[1]):
        names = CLASSES if index < len(CAUSES[task]) else DISTRACTORS
        where = (names, kinds[:, index], centres[:, index], radii[:, index])
        widths = meta.get("widths")
        found.append(draw(*where, size) if widths is None else draw_strokes(*where, widths[:, index], size))
    return found


def _background(count: int, size: int, generator: torch.Generator) -> Tensor:
    coarse = torch.randn(count, 3, 8, 8, generator=generator) * 0.25 + 0.5
    return functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=True).clamp(0, 1)


def _paint(x: Tensor, mask: Tensor, fill: Tensor) -> Tensor:
    return torch.where(mask[:, None], fill, x)


def _fill(task: Task, index: int, mask: Tensor, meta: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
    """Return what an object shows (n, 3, 1 | H, 1 | W): one colour, or the attributes of the class glyph."""
    if task == "attributes" and index == 0:
        return _attributed(mask, meta["attributes"], generator)
    return _colours(len(mask), generator)[:, :, None, None]


def _colours(count: int, generator: torch.Generator) -> Tensor:
    """Return colours (n, 3) near a corner of the cube, so that they are seen on any background."""
    corner = torch.randint(2, (count, 3), generator=generator).float()
    return (corner - uniform((count, 3), 0.0, 0.15, generator)).abs()


def _attributed(mask: Tensor, attributes: Tensor, generator: torch.Generator) -> Tensor:
    """Return a warm or cool colour (n, 3, H, W), plain or with dark stripes: two pixels in four."""
    size = mask.shape[-1]
    warm = torch.where(attributes[:, 1:2], torch.tensor(_WARM), torch.tensor(_COOL))
    colour = (warm + uniform((len(mask), 3), -0.1, 0.1, generator)).clamp(0, 1)[:, :, None, None]
    dark = (torch.arange(size) % 4 < 2)[None, None, :, None] & attributes[:, 2, None, None, None]
    return torch.where(dark, 0.2 * colour, colour).expand(-1, -1, size, size)


def _tagged(x: Tensor, tag: Tensor, corner: int, block: int) -> tuple[Tensor, Tensor]:
    """Return the pictures with a letter in the top left corner, white on a black plate, and the plates (n, H, W)."""
    plate = slice(corner, corner + 3 * block)
    letters = torch.stack([letter(kind, block) for kind in range(len(LETTERS))])[tag]
    x = x.clone()
    x[:, :, plate, plate] = letters[:, None].float()
    mask = torch.zeros(len(x), *x.shape[2:], dtype=torch.bool)
    mask[:, plate, plate] = True
    return x, mask
