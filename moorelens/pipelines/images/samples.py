"""Pictures with what is known of them: bundled ones, whose cause was planted, and how files are called in a run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import torch
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.images.loading import Picture
from moorelens.saliency.shapes import Task, make_shapes

_TASKS: dict[str, Task] = {"shapes": "single", "or": "or", "and": "and", "watermark": "watermark"}
_LONGEST = 60  # characters of a folder's name


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """A picture; where it was made, `truth (H, W)` bool, the pixels that decide its class, and `label`, that class."""

    picture: Picture
    truth: Tensor | None = None
    label: int | None = None


def bundled_samples(name: str, *, count: int, seed: int) -> tuple[Sample, ...]:
    """Return pictures of the task that the bundled model `name` was trained for, none of which it has seen."""
    kind = name.partition("-")[0]
    if kind not in _TASKS:
        raise OptionError(f"There are no bundled pictures for bundled:{name}: add --image FILE or --image FOLDER.")
    task = _TASKS[kind]
    generator = torch.Generator().manual_seed(1_000_003 + seed)
    p = 1.0 if task == "watermark" else 0.0
    made = make_shapes(count, generator=generator, task=task, p_spurious=p)
    return tuple(
        Sample(picture=_picture(made.x[row], f"{kind}-{row + 1}"), truth=made.truth[row], label=int(made.y[row]))
        for row in range(count)
    )


def _picture(raw: Tensor, name: str) -> Picture:
    return Picture(raw=raw, name=name, width=raw.shape[2], height=raw.shape[1], mode="RGB", notes=())


def folder_names(names: Sequence[str]) -> dict[str, str]:
    """Return for each file a folder name of its own that any file system can hold: `cats/a b.png` -> `cats-a-b`."""
    taken: set[str] = set()
    found: dict[str, str] = {}
    for name in names:
        path = PurePosixPath(name)
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", str(path.with_suffix(""))).strip("-.")[:_LONGEST].rstrip("-.")
        plain = plain or "picture"
        key, number = plain, 2
        # Compared without case: some file systems do not tell `A` from `a`.
        while key.casefold() in taken or key.casefold() in ("index", "con", "nul"):
            key, number = f"{plain}-{number}", number + 1
        taken.add(key.casefold())
        found[name] = key
    return found
