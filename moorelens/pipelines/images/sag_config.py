"""What `moorelens image sag` is asked for; imports no torch."""

from __future__ import annotations

import re
from typing import Any, Literal, get_args

import msgspec

from moorelens.errors import OptionError
from moorelens.pipelines.config import Device, require
from moorelens.pipelines.images.config import BaselineName, ImageConfig, image_out

_OF_IMAGES = (
    "model", "weights", "model_args", "image", "class_", "score", "mean", "std", "input_size", "channels", "classes",
    "fit", "seed", "max_batch", "threads", "device", "out", "force",
)  # fmt: skip
MOST_PATCHES = 1024


class SAGConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Minimal sufficient sets of patches of one picture, and the graph below them."""

    model: str | None = None
    """pkg.mod:factory, timm:NAME, torchvision:NAME or bundled:NAME; else the bundled one that names planted shapes."""
    weights: str | None = None
    """Of timm: and torchvision: models: pretrained, none (random), or a file; else pretrained."""
    model_args: dict[str, Any] = {}
    """Arguments of the factory, as JSON."""
    image: str | None = None
    """One picture; else, of a bundled model, one whose cause is known."""
    class_: str | None = None
    """The class to explain, by name or number; else the one that the model says."""
    baseline: str = "blur"
    """What hidden patches show: blur, mean, black, grey, white, noise; under each of several, as in blur,black."""
    grid: str = "7x7"
    """The patches: rows x columns, or superpixels:N."""
    score: Literal["prob", "margin"] = "prob"
    """What must be kept of the class: its probability, or its margin over the best other class."""
    keep_class: bool = False
    """A set is enough only where the model still names the class."""
    p_high: float = 0.9
    """A set is enough at this share of the whole picture's score."""
    p_low: float = 0.4
    """Smaller sets are drawn below those that keep more than this share."""
    beam: int = 5
    """Sets of each size that the search goes on with."""
    q: int = 15
    """Patches that each of them is extended by, the most promising ones."""
    guide: Literal["ends", "occlusion", "igos"] = "ends"
    """What ranks the patches: their own effect on the score (ends), or the map of a method."""
    max_roots: int = 10
    """The search ends at this many minimal sets."""
    roots: int = 3
    """How many of them are drawn at most."""
    overlap: int = 1
    """Patches that two drawn ones may share."""
    children: int = 3
    """Of sets above six patches, the most costly removals that are drawn."""
    max_nodes: int = 200
    """Sets that are drawn at most."""
    budget: int | None = None
    """Sets that the search evaluates at most; else as many as it takes."""
    mean: str | None = None
    """What the model's input was normalised by, such as 0.485,0.456,0.406; else what the model says."""
    std: str | None = None
    """Its standard deviation, such as 0.229,0.224,0.225; else what the model says."""
    input_size: str | None = None
    """Height and width that the model reads, such as 224 or 224x160; else what the model says."""
    channels: int | None = None
    """1 or 3: channels that the model reads; else what the model says."""
    classes: str | None = None
    """A text file with the name of each class in a line; else what the model says, or numbers."""
    fit: Literal["crop", "stretch"] = "crop"
    """How a picture comes to the model's proportions: its edges are cut off, or it is stretched."""
    seed: int = 0
    """Seed of everything that is drawn at random, and of the bundled picture."""
    max_batch: int = 256
    """Pictures in one call of the model at most."""
    threads: int = 1
    """Threads of torch; part of what makes the numbers, so not chosen by itself."""
    device: Device = "cpu"
    """Where the model runs: cpu, cuda, or auto (cuda where there is one)."""
    out: str | None = None
    """Folder for the results; runs/image-sag-NAME where none is given."""
    force: bool = False
    """Start over, even in a folder that belongs to another run."""

    def __post_init__(self) -> None:
        """Refuse what nothing can be computed from; raises `OptionError`."""
        for name in ("beam", "q", "max_roots", "roots", "children", "max_nodes"):
            require(getattr(self, name) >= 1, name, "a whole number from 1 on", getattr(self, name))
        require(self.overlap >= 0, "overlap", "a whole number from 0 on", self.overlap)
        require(self.budget is None or self.budget >= 2, "budget", "a whole number from 2 on", self.budget)
        require(0 < self.p_high <= 1, "p_high", "a share above 0 and at most 1", self.p_high)
        require(0 <= self.p_low <= self.p_high, "p_low", "a share from 0 to --p-high", self.p_low)
        baselines_of(self)
        grid_of(self)
        image_config(self)


def image_config(config: SAGConfig) -> ImageConfig:
    """Return the part of the request that all methods for images share; raises `OptionError`."""
    shared = {name: getattr(config, name) for name in _OF_IMAGES}
    return ImageConfig(**shared, baseline=baselines_of(config)[0], pictures=1)


def baselines_of(config: SAGConfig) -> tuple[BaselineName, ...]:
    """Return the names of the baselines; raises `OptionError` for one that there is not."""
    known: tuple[BaselineName, ...] = get_args(BaselineName)
    words = [word.strip().casefold() for word in config.baseline.split(",")]
    wrong = [word for word in words if word not in known]
    if wrong or len(set(words)) < len(words):
        raise OptionError(
            f"--baseline is one of {', '.join(known)}, or several of them such as blur,black, each once, and "
            f"{config.baseline!r} is not: correct it."
        )
    return tuple(name for word in words for name in known if name == word)


def grid_of(config: SAGConfig) -> tuple[int, int] | int:
    """Return rows and columns, or the number of superpixels; raises `OptionError` for anything else."""
    regular = re.fullmatch(r"\s*([1-9]\d{0,9})\s*[xX×]\s*([1-9]\d{0,9})\s*", config.grid)
    segments = re.fullmatch(r"\s*superpixels\s*:\s*([1-9]\d{0,9})\s*", config.grid)
    found = (int(regular[1]), int(regular[2])) if regular else int(segments[1]) if segments else None
    if found is None:
        raise OptionError(
            f"--grid is rows x columns such as 7x7, or superpixels:50, at most {MOST_PATCHES:,} patches in all, and "
            f"{config.grid!r} is neither: correct it."
        )
    patches = found if isinstance(found, int) else found[0] * found[1]
    if patches > MOST_PATCHES:
        raise OptionError(
            f"Sets of at most {MOST_PATCHES:,} patches are searched, and --grid {config.grid} has {patches:,}: choose "
            "a coarser one."
        )
    return found


def sag_out(config: SAGConfig) -> str:
    """Return `runs/image-sag-<name>`, named after the picture, else after the model."""
    return image_out("sag", image_config(config), baseline="-".join(baselines_of(config)))
