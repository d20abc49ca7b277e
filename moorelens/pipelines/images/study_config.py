"""What `moorelens image count` and `image crosstest` are asked for; imports no torch."""

from __future__ import annotations

import math
import re
from pathlib import PurePath
from typing import Any, Literal

import msgspec

from moorelens.errors import OptionError
from moorelens.pipelines.config import refuse_empty, require

Task = Literal["single", "or", "and", "xor", "watermark", "thin", "attributes"]
BaselineName = Literal["blur", "mean", "black", "grey", "white"]
_ARCHITECTURES = ("bn", "gn", "attention")
_PREFIX: dict[str, str] = {"single": "shapes", "or": "or", "and": "and"}
# Where and how fast, not what: they change no number, and are no part of a run's record.
_UNRECORDED = ("models", "images", "labels", "out", "force", "workers", "shard", "max_minutes")


class StudyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every study of several models over many pictures can be told."""

    models: str | None = None
    """Classifiers with the same classes, with commas: bundled:NAME or pkg.mod:factory; else three bundled ones."""
    images: str | None = None
    """A folder of pictures, in a folder for each class unless there are --labels; else bundled pictures of --task."""
    labels: str | None = None
    """A CSV file with the columns file and label: what each picture in --images shows."""
    task: Task = "single"
    """Which bundled pictures: single (one glyph), or (the glyph twice), and (two glyphs needed), and others."""
    count: int = 60
    """How many bundled pictures."""
    baseline: BaselineName = "blur"
    """What hidden pixels show: the picture blurred, its mean colour, black, grey or white."""
    fit: Literal["crop", "stretch"] = "crop"
    """How a picture comes to the models' proportions: its edges are cut off, or it is stretched."""
    seed: int = 0
    """Seed of everything that is drawn at random."""
    workers: int = 1
    """Processes that share the work."""
    shard: int = 4
    """Pictures in a piece of work, which is what a kill may lose for each process."""
    max_batch: int = 256
    """Pictures in one call of a model at most."""
    max_minutes: float | None = None
    """Stop in order after so many minutes; the same command goes on."""
    out: str | None = None
    """Folder for the results, which the same command continues; runs/image-METHOD-NAME where none is given."""
    force: bool = False
    """Start over, even in a folder that belongs to another run."""

    def __post_init__(self) -> None:
        """Refuse what nothing can be computed from; raises `OptionError`."""
        refuse_empty(self, "models", "images", "labels")
        for name in ("count", "workers", "shard", "max_batch"):
            require(getattr(self, name) >= 1, name, "a whole number from 1 on", getattr(self, name))
        require(self.seed >= 0, "seed", "a whole number from 0 on", self.seed)
        minutes = self.max_minutes
        require(minutes is None or 0.0 < minutes < math.inf, "max_minutes", "a positive number of minutes", minutes)
        model_references(self)
        if self.labels is not None and self.images is None:
            raise OptionError("--labels says what the pictures of a folder show, and none is given: add --images.")


class CountConfig(StudyConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`image count`: sufficient parts of each picture, and what is left of them, under each model."""

    grid: int = 7
    """Patches along a side; the same grid for all models."""
    p_high: float = 0.9
    """A set of patches suffices where it keeps this share of the full picture's probability."""
    p_low: float = 0.5
    """A sub-explanation keeps at least this share."""
    beam: int = 5
    """Sets kept from level to level of the search."""
    q: int = 15
    """Patches by which each is extended."""
    max_roots: int = 10
    """Sufficient sets after which the search of a picture ends."""
    overlap: int = 1
    """Sets count as apart where any two share at most so many patches."""
    budget: int = 10_000
    """Sets evaluated for each picture and model at most; what it cuts short is said."""

    def __post_init__(self) -> None:
        """Refuse what nothing can be computed from; raises `OptionError`."""
        super().__post_init__()
        for name, least in (("grid", 2), ("beam", 1), ("q", 1), ("max_roots", 1), ("overlap", 0), ("budget", 2)):
            require(getattr(self, name) >= least, name, f"a whole number from {least} on", getattr(self, name))
        require(0 < self.p_high <= 1, "p_high", "a share above 0 and at most 1", self.p_high)
        require(0 < self.p_low <= self.p_high, "p_low", "a share above 0 and at most --p-high", self.p_low)


class CrosstestConfig(StudyConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`image crosstest`: the heat maps of each model shown to all."""

    explainer: str = "igos++"
    """What makes the heat maps: igos++, igos+, igos, gradcam, integrated_gradients, rise, occlusion, and others."""
    settings: dict[str, Any] = {}
    """Settings of the explainer, as JSON."""
    cells: int = 28
    """Cells of a heat map along a side."""
    shares: str = "1,2,5,10,20,50"
    """Percent of the picture that are shown or hidden, with commas, beside nothing and everything."""

    def __post_init__(self) -> None:
        """Refuse what nothing can be computed from; raises `OptionError`."""
        super().__post_init__()
        require(self.cells >= 1, "cells", "a whole number from 1 on", self.cells)
        fractions_of(self)


def fractions_of(config: CrosstestConfig) -> tuple[float, ...]:
    """Return (0.01, 0.05) for `1,5`; raises `OptionError` for what are no percentages."""
    try:
        found = tuple(float(part) / 100 for part in config.shares.split(","))
    except ValueError:
        found = ()
    if not found or not all(0 < share <= 1 for share in found):
        raise OptionError(
            f"--shares are percentages above 0 and up to 100 such as 1,5,20, and {config.shares!r} is not: correct it."
        )
    if len(set(found)) < len(found):
        raise OptionError(f"--shares are percentages, each once, and {config.shares!r} has one twice: correct it.")
    return tuple(sorted(found))


def model_references(config: StudyConfig) -> tuple[str, ...]:
    """Return the references of the compared models.

    Raises `OptionError` for an empty one, and for a task that has no bundled models where none are given.
    """
    if config.models is not None:
        found = tuple(part.strip() for part in config.models.split(","))
        if not all(found):
            raise OptionError(
                f"--models are references with commas between them, and {config.models!r} has an empty one: correct it."
            )
        twice = next((one for place, one in enumerate(found) if one in found[:place]), None)
        if twice is not None:
            raise OptionError(
                f"Compared models are different ones, and --models names {twice} twice, which is the same on every "
                "picture: name each once."
            )
        return found
    if config.images is None and config.task not in _PREFIX:
        raise OptionError(
            f"There are three bundled models for the tasks {', '.join(_PREFIX)}, and none for {config.task!r}: name "
            "the models with --models."
        )
    prefix = "shapes" if config.images is not None else _PREFIX[config.task]
    return tuple(f"bundled:{prefix}-{name}" for name in _ARCHITECTURES)


def study_out(method: str, config: StudyConfig) -> str:
    """Return `runs/image-<method>-<name>`, named after the folder of pictures, else after the task."""
    name = config.task if config.images is None else PurePath(config.images.replace("\\", "/")).name
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "pictures"
    return f"runs/image-{method}-{plain}"


def settings_of_study(config: StudyConfig) -> dict[str, Any]:
    """Return all that decides what is computed, besides the models and the pictures themselves."""
    fields = {name: value for name, value in msgspec.to_builtins(config).items() if name not in _UNRECORDED}
    if config.images is not None:
        fields |= {"task": None, "count": None}
    return fields
