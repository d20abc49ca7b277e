"""Pictures with what is known of them: bundled ones, whose cause was planted, and how files are called in a run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import torch
from torch import Tensor

from moorelens.saliency.images.loading import Picture
from moorelens.saliency.shapes import Task, make_shapes

_SEED = 5_000_011  # apart from those of training and testing
_LONGEST = 60  # characters of a folder's name


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """A picture; where it was made, `truth (H, W)` bool, the pixels that decide its class, and `label`, that class."""

    picture: Picture
    truth: Tensor | None = None
    label: int | None = None


def bundled_samples(name: str, *, count: int, seed: int) -> tuple[Sample, ...]:
    """Return pictures of the task that the bundled model `name` was trained for, none of which it has seen.

    Watermarks all show the letter of their class, as the biased model was taught to expect. Of digits no cause is
    known. Raises `ModelError` for a model that is not bundled.
    """
    # Imported here: pictures from files need nothing of what is bundled.
    from moorelens.saliency.images.bundled import BUNDLED, bundled_model
    from moorelens.saliency.images.recipes import RECIPES

    if name not in BUNDLED:
        bundled_model(name)
    task = RECIPES[name].task
    if task == "digits":
        from moorelens.saliency.images.digits import load_digits  # scikit-learn takes a second to load

        found = load_digits(test=True)
        rows = torch.randperm(len(found.x), generator=torch.Generator().manual_seed(_SEED + seed))[:count].tolist()
        return tuple(
            Sample(picture=_picture(found.x[row], f"digit-{place + 1}"), label=int(found.y[row]))
            for place, row in enumerate(rows)
        )
    kind = name.rpartition("-")[0]
    return tuple(_planted(task, f"{kind}-{row + 1}", seed=_SEED + 100_003 * seed + row) for row in range(count))


def _planted(task: Task, name: str, *, seed: int) -> Sample:
    """Return one picture, drawn by itself, so that more of them are the same ones and others."""
    p = 1.0 if task == "watermark" else 0.0
    made = make_shapes(1, generator=torch.Generator().manual_seed(seed), task=task, p_spurious=p)
    return Sample(picture=_picture(made.x[0], name), truth=made.truth[0], label=int(made.y[0]))


def _picture(raw: Tensor, name: str) -> Picture:
    return Picture(raw=raw, name=name, width=raw.shape[2], height=raw.shape[1], mode="RGB" if len(raw) == 3 else "L")


# What Windows keeps for itself, and the files that lie beside the folders of pictures.
_RESERVED = {
    "con",
    "nul",
    "index",
    "index.html",
    "manifest.json",
    "run-log.json",
    "summary.csv",
    "summary.json",
    "lock",
}


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
        while key.casefold() in taken or key.casefold() in _RESERVED:
            key, number = f"{plain}-{number}", number + 1
        taken.add(key.casefold())
        found[name] = key
    return found
