"""What `moorelens image` is asked for: one record for each method; imports no torch."""

from __future__ import annotations

import math
import re
from pathlib import PurePath
from typing import Any, ClassVar, Literal

import msgspec

from moorelens.errors import OptionError
from moorelens.pipelines.config import Device, refuse_empty, require
from moorelens.saliency.config import Rule, SettingError
from moorelens.saliency.registry import make_config

BaselineName = Literal["blur", "mean", "black", "grey", "white", "noise"]
_UNRECORDED = ("out", "force", "image", "classes", "device", "weights")


MOST_THREADS = 1024  # beyond what any processor has, torch's thread pool dies
MOST_STEPS = 100_000  # all are kept in memory, and nothing is gained by so many


class ImageConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every method for images can be told."""

    model: str | None = None
    """pkg.mod:factory, timm:NAME, torchvision:NAME or bundled:NAME; else the bundled one that names planted shapes."""
    weights: str | None = None
    """Of timm: and torchvision: models: pretrained, none (random), or a file; else pretrained."""
    model_args: dict[str, Any] = {}
    """Arguments of the factory, as JSON."""
    image: str | None = None
    """A picture, or a folder of them; else, of a bundled model, a few pictures whose cause is known."""
    class_: str | None = None
    """The class to explain, by name or number; else the one that the model says."""
    baseline: BaselineName = "blur"
    """What hidden pixels show: the picture blurred, its mean colour, black, grey, white, or noise."""
    score: Literal["prob", "logit", "logprob", "margin"] = "prob"
    """What is explained of the class: prob, logit, logprob, or margin over the best other class."""
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
    pictures: int = 6
    """How many bundled pictures, where no --image is given."""
    steps: int = 50
    """Steps of the deletion and insertion curves."""
    seed: int = 0
    """Seed of everything that is drawn at random."""
    max_batch: int = 256
    """Pictures in one call of the model at most."""
    threads: int = 1
    """Threads of torch; part of what makes the numbers, so not chosen by itself."""
    device: Device = "cpu"
    """Where the model runs: cpu, cuda, or auto (cuda where there is one)."""
    out: str | None = None
    """Folder for the results, which the same command continues; runs/image-METHOD-NAME where none is given."""
    force: bool = False
    """Start over, even in a folder that belongs to another run."""

    # Setting of the explainer by the name of the option that gives it.
    settings: ClassVar[dict[str, str]] = {}

    def __post_init__(self) -> None:
        """Refuse what nothing can be computed from; raises `OptionError`."""
        refuse_empty(self, "model", "weights", "image", "class_", "classes")
        for name in ("steps", "max_batch", "pictures", "threads"):
            require(getattr(self, name) >= 1, name, "a whole number from 1 on", getattr(self, name))
        require(self.threads <= MOST_THREADS, "threads", f"at most {MOST_THREADS}", self.threads)
        for name in ("steps", "pictures", "path_steps", "samples", "iterations"):
            value = getattr(self, name, None)
            require(value is None or value <= MOST_STEPS, name, f"at most {MOST_STEPS:,}", value)
        require(self.seed >= 0, "seed", "a whole number from 0 on", self.seed)
        require(self.channels in (None, 1, 3), "channels", "1 or 3", self.channels)
        numbers_of(self.mean, "mean")
        numbers_of(self.std, "std")
        size_of(self.input_size, "input-size")
        check_settings(self)


class IGOSImageConfig(ImageConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`igos`, `igos+`, `igos++`: masks that an optimiser finds."""

    size: str | None = None
    """Cells of the mask, such as 7, 28 or 28x20; else 28 for igos, 56 for the others; at most its pixels."""
    variant: Literal["ours", "2019", "2021", "nag"] = "ours"
    """ours, one of the two released versions (2019, 2021), or nag (the released one without a line search)."""
    iterations: int | None = None
    """Of the optimiser; else the variant's own."""
    path_steps: int | None = None
    """Points on the path from hidden to shown; else the variant's own."""
    l1: float | None = None
    """Weight of how much is hidden; else the variant's own."""
    l2: float | None = None
    """Weight of how rough the mask is; else the variant's own."""

    settings: ClassVar[dict[str, str]] = {
        "variant": "variant",
        "iterations": "iterations",
        "path_steps": "steps",
        "l1": "l1",
        "l2": "l2",
        "size": "size",
    }


class GradCAMImageConfig(ImageConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`gradcam`: channels of a layer."""

    layer: str | None = None
    """Name of the layer; else the last convolution."""
    signed: bool = False
    """Keep what speaks against the class too."""
    tokens: str | None = None
    """Of a layer that returns tokens (transformers): their grid, such as 14x14."""

    settings: ClassVar[dict[str, str]] = {"layer": "layer", "signed": "signed", "tokens": "tokens"}


class IGImageConfig(ImageConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`ig`: integrated gradients."""

    path_steps: int = 32
    """Points on the path from the baseline to the picture."""
    rule: Rule = "midpoint"
    """How the points are weighted."""

    settings: ClassVar[dict[str, str]] = {"path_steps": "steps", "rule": "rule"}


class RISEImageConfig(ImageConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`rise`: random masks."""

    size: int = 7
    """Cells of a mask along a side."""
    masks: int = 2000
    """How many masks."""
    p: float = 0.5
    """Chance that a cell is shown."""
    form: Literal["centred", "mean"] = "centred"
    """centred: 0 where a pixel does not matter; mean: the published mean score of the masks that show it."""

    settings: ClassVar[dict[str, str]] = {"size": "cells", "masks": "masks", "p": "p", "form": "form"}


class SmoothGradImageConfig(ImageConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`smoothgrad`: the gradient over noisy copies."""

    samples: int = 32
    """How many noisy copies."""
    noise: float = 0.15
    """Their noise, as a share of the picture's range."""
    times_input: bool = False
    """Multiply by the picture minus its baseline."""

    settings: ClassVar[dict[str, str]] = {"samples": "samples", "noise": "noise", "times_input": "times_input"}


class OcclusionImageConfig(ImageConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`occlusion`: a window that hides one part after another."""

    window: int | None = None
    """Side of the window in pixels of the model's input; else a seventh of its shorter side."""
    stride: int | None = None
    """Pixels from one window to the next; else half a window."""

    settings: ClassVar[dict[str, str]] = {"window": "size", "stride": "stride"}


class PerturbationImageConfig(ImageConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`perturbation`: a soft spot that hides one part after another."""

    stride: int = 5
    """Pixels of the model's input from one spot to the next."""
    sigma: float = 5.0
    """Width of the spot in pixels."""

    settings: ClassVar[dict[str, str]] = {"stride": "stride", "sigma": "sigma"}


# What a method is asked for, and the explainer behind it.
METHODS: dict[str, tuple[type[ImageConfig], str]] = {
    "igos": (IGOSImageConfig, "igos"),
    "igos+": (IGOSImageConfig, "igos+"),
    "igos++": (IGOSImageConfig, "igos++"),
    "gradcam": (GradCAMImageConfig, "gradcam"),
    "ig": (IGImageConfig, "integrated_gradients"),
    "rise": (RISEImageConfig, "rise"),
    "smoothgrad": (SmoothGradImageConfig, "smoothgrad"),
    "occlusion": (OcclusionImageConfig, "occlusion"),
    "perturbation": (PerturbationImageConfig, "perturbation"),
}


def settings_of(config: ImageConfig) -> dict[str, Any]:
    """Return what `make_explainer` is told: the options of the method by the names of its settings."""
    found: dict[str, Any] = {}
    for option, setting in config.settings.items():
        value = getattr(config, option)
        if isinstance(value, str) and option in ("size", "tokens"):
            cells = size_of(value, option)
            # One number leaves a mask the proportions of its picture.
            value = int(value) if option == "size" and value.strip().isdecimal() else cells
        if value is not None:
            found[setting] = value
    return found


def check_settings(config: ImageConfig) -> None:
    """Refuse settings that the method cannot use, by the names of the options; raises `OptionError`."""
    explainer = next((name for kind, name in METHODS.values() if kind is type(config)), None)
    if explainer is None:
        return
    try:
        make_config(explainer, **settings_of(config))
    except SettingError as error:
        option = next(option for option, setting in config.settings.items() if setting == error.name)
        raise OptionError(f"--{option.replace('_', '-')} {error.rule}") from error


def size_of(text: str | None, option: str) -> tuple[int, int] | None:
    """Return (height, width) for `224` or `224x160`; raises `OptionError` for anything else."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*([1-9]\d{0,4})(?:\s*[xX×,]\s*([1-9]\d{0,4}))?\s*", text)
    if found is None:
        raise OptionError(f"--{option} is such as 224 or 224x160 (height x width), and {text!r} is not: correct it.")
    return int(found[1]), int(found[2] or found[1])


def numbers_of(text: str | None, option: str) -> tuple[float, ...] | None:
    """Return (0.5, 0.4, 0.3) for `0.5,0.4,0.3`; raises `OptionError` for anything else."""
    if text is None:
        return None
    try:
        found = tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        found = ()
    if not found or not all(math.isfinite(value) for value in found):
        raise OptionError(
            f"--{option} is one number, or one for each channel such as 0.5,0.5,0.5, and {text!r} is not: correct it."
        )
    return found


def image_out(method: str, config: ImageConfig, *, baseline: str | None = None) -> str:
    """Return `runs/image-<method>-<name>`, named after the picture, else after the model.

    The class, the baseline and the score follow where they are not the usual ones: asking again about another class
    does not replace the answer about the first. `baseline`: what is asked for instead of the one of `config`.
    """
    if config.image is not None:
        name = PurePath(config.image.replace("\\", "/")).stem
    else:
        name = (config.model or "bundled:shapes-bn").rpartition(":")[2]
    usual = ImageConfig()
    asked = {"class_": config.class_, "baseline": baseline or config.baseline, "score": config.score}
    words = [_plain(name) or "picture"]
    words += [_plain(value) for option, value in asked.items() if value is not None and value != getattr(usual, option)]
    return f"runs/image-{method.replace('++', 'pp').replace('+', 'p')}-{'-'.join(word for word in words if word)}"


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")


def recorded_image(config: ImageConfig) -> dict[str, Any]:
    """Return what a manifest may say of `config`: no folder, and files by name instead of by path."""
    fields = {name: value for name, value in msgspec.to_builtins(config).items() if name not in _UNRECORDED}
    return fields | {"image": None if config.image is None else PurePath(config.image).name}
