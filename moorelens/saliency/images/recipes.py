"""How each bundled image model is trained: one frozen recipe by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from moorelens.saliency.images.classifiers import Architecture

ImageTask = Literal["single", "or", "and", "xor", "watermark", "thin", "attributes", "digits"]


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a training needs: the `task`, the network, and how it is trained.

    `steps` of `batch` pictures each with AdamW at a learning rate that rises to `rate` and falls to zero; `pictures`:
    drawn at a time and replaced by new ones after `renewed` steps; `p_spurious`: of the watermark's letter; `hidden`:
    units before the logits; `start`: the bundled model whose weights it begins with, as far as they fit, None for
    random ones. Everything is drawn from `seed`.
    """

    task: ImageTask
    architecture: Architecture
    pictures: int = 8000
    renewed: int = 250
    steps: int = 1500
    batch: int = 64
    rate: float = 1e-2
    p_spurious: float = 0.0
    hidden: int = 0
    start: str | None = None
    seed: int = 0


def _further(task: ImageTask, architecture: Architecture) -> Recipe:
    """Return a short training that begins with what the network of `single` knows of glyphs."""
    rate = 1e-3 if architecture == "attention" else 3e-3
    # That a pair is complete takes longer to learn than what its glyphs are.
    steps = 1500 if task == "and" else 500
    return Recipe(task=task, architecture=architecture, steps=steps, rate=rate, start=f"shapes-{architecture}")


RECIPES: Mapping[str, Recipe] = {
    "shapes-bn": Recipe(task="single", architecture="bn"),
    "shapes-gn": Recipe(task="single", architecture="gn"),
    "shapes-attention": Recipe(task="single", architecture="attention", steps=3000, rate=2e-3),
    "or-bn": _further("or", "bn"),
    "or-gn": _further("or", "gn"),
    "or-attention": _further("or", "attention"),
    "and-bn": _further("and", "bn"),
    "and-gn": _further("and", "gn"),
    "and-attention": _further("and", "attention"),
    "watermark-biased": Recipe(task="watermark", architecture="bn", steps=400, p_spurious=0.95),
    "watermark-clean": _further("watermark", "bn"),
    "thin-bn": Recipe(task="thin", architecture="bn"),
    "xor-bn": Recipe(task="xor", architecture="bn", rate=3e-3, hidden=32, start="shapes-bn"),
    "digits": Recipe(task="digits", architecture="bn", steps=600),
}
