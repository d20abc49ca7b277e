"""Opening an image model by its reference: `bundled:NAME`, a hub's, or `package.module:factory`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from moorelens.envs.factories import import_named
from moorelens.errors import ModelError
from moorelens.saliency.baselines import Normaliser
from moorelens.saliency.images.models import ImageModel

DEFAULT = "bundled:shapes-bn"
_ANY_SIZE = 64  # what a network that names no size is tried on


def open_model(
    reference: str | None = None,
    *,
    arguments: Mapping[str, Any] | None = None,
    weights: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    classes: Sequence[str] | None = None,
) -> ImageModel:
    """Return the classifier that `reference` names, tried on one grey picture.

    `reference`: `bundled:NAME`, `timm:NAME` or `torchvision:NAME` with `weights` as `hub_model` takes them, or
    `package.module:factory` (the current folder is searched too), a callable that
    returns an `ImageModel` or a torch module and is given `arguments` by name; None is the bundled default. The other
    settings replace what the model says of itself. A bare module is put into eval mode; what it does not say comes
    from its `pretrained_cfg` (as timm's have), else: channels of its first convolution, any size, no normalisation
    (pictures in [0, 1]), classes by number.
    Raises `ModelError` where there is no such model, or it is no classifier of images.
    """
    reference = DEFAULT if reference is None else reference
    hub = reference.partition(":")[0] in ("timm", "torchvision")
    if weights is not None and not hub:
        raise ModelError(
            f"Weights are chosen for models of timm and torchvision, and {reference} is none: leave --weights out, or "
            "load them in the factory."
        )
    if reference.startswith("bundled:"):
        found: Any = _bundled(reference.removeprefix("bundled:"))
    elif hub:
        # Imported here: no other kind of model needs it.
        from moorelens.saliency.images.hub import PRETRAINED, hub_model

        found = hub_model(reference, weights=weights or PRETRAINED)
    else:
        found = _made(reference, dict(arguments or {}))
    assumed: tuple[str, ...] = ()
    if isinstance(found, ImageModel):
        base = found
    elif isinstance(found, nn.Module):
        base = _described(found.eval(), reference, size=size, channels=channels)
        assumed = _assumed(found, normalised=mean is not None or std is not None, sized=size is not None)
    else:
        raise ModelError(
            f"A model factory returns an ImageModel or a torch module, and {reference} returned a "
            f"{type(found).__name__}: return the network itself."
        )
    made = _replaced(base, mean=mean, std=std, size=size, classes=classes)
    return tried(replace(made, assumed=(*base.assumed, *assumed)))


_PROBABILITIES = 1e-4  # how far from 1 outputs may add up to that are taken for probabilities


def tried(model: ImageModel) -> ImageModel:
    """Return `model` after one grey picture; raises `ModelError` where its answer is not a row of K finite numbers."""
    answer, again = (_answer(model.module, model.channels, model.size, model.name) for _ in range(2))
    if answer.shape == again.shape and bool(torch.isfinite(answer).all()) and not torch.allclose(answer, again):
        raise ModelError(
            f"An image model answers the same picture alike each time, and {model.name} did not: it draws at random, "
            "as dropout does outside eval mode, so take that out of its forward."
        )
    if answer.shape[1] != len(model.classes):
        raise ModelError(
            f"An image model has one output for each class name, and {model.name} has {answer.shape[1]} outputs and "
            f"{len(model.classes)} names: correct the names."
        )
    if not bool(torch.isfinite(answer).all()):
        raise ModelError(
            f"An image model answers with finite numbers, and {model.name} answered a grey picture with NaN or "
            "infinity: its weights have diverged, or its normalisation is another one (--mean, --std)."
        )
    if answer.shape[1] == 1:
        raise ModelError(
            f"An image model has a logit for each class, and {model.name} has one output only, whose softmax is always "
            "1: wrap it so that it returns two, such as torch.cat([0 * z, z], dim=1) of its one logit z."
        )
    if bool((answer >= 0).all()) and bool(((answer.sum(dim=1) - 1).abs() < _PROBABILITIES).all()):
        raise ModelError(
            f"An image model returns logits, and what {model.name} returns adds up to 1, as probabilities do: return "
            "what comes before its softmax, which is applied here (log-probabilities will do, too)."
        )
    return model


def _bundled(name: str) -> ImageModel:
    # Imported here: what brings a model of its own needs no bundled weights.
    from moorelens.saliency.images.bundled import bundled_model

    return bundled_model(name)


def _made(reference: str, arguments: dict[str, Any]) -> Any:
    module, colon, name = reference.partition(":")
    if not (module and colon and name):
        raise ModelError(
            "A model is named by bundled:NAME, timm:NAME, torchvision:NAME or package.module:factory, and "
            f"{reference!r} is none of them: check how it is written."
        )
    try:
        factory = import_named(reference)
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"A model factory is written package.module:factory, and {reference!r} cannot be imported "
            f"({_short(error)}): check the spelling, and that the module is in this folder or on the Python path."
        ) from error
    if isinstance(factory, ImageModel) or (isinstance(factory, nn.Module) and not arguments):
        return factory
    if not callable(factory):
        raise ModelError(f"A model factory is called, and {reference} is a {type(factory).__name__}: name a function.")
    try:
        return factory(**arguments)
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"A model factory returns a network, and {reference} failed ({_short(error)}): call it in Python to see "
            "where; what it needs besides is given by --model-args."
        ) from error


def _described(module: nn.Module, reference: str, *, size: tuple[int, int] | None, channels: int | None) -> ImageModel:
    """Return a bare module as an image model, with what it says of itself."""
    said = _said(module)
    name = reference.partition(":")[2]
    if channels is None:
        channels = int(said["input_size"][0]) if "input_size" in said else _first_channels(module)
    if size is None and "input_size" in said:
        size = (int(said["input_size"][1]), int(said["input_size"][2]))
    outputs = _answer(module, channels, size, name).shape[1]
    normaliser = Normaliser(
        mean=tuple(said.get("mean", (0.0,) * channels)), std=tuple(said.get("std", (1.0,) * channels))
    )
    classes = tuple(str(number) for number in range(outputs))
    return ImageModel(module=module, normaliser=normaliser, classes=classes, channels=channels, size=size, name=name)


def _assumed(module: nn.Module, *, normalised: bool, sized: bool) -> tuple[str, ...]:
    """Return what is taken for granted of a bare module, which most trained networks are not."""
    said = _said(module)
    words = []
    if not normalised and not {"mean", "std"} & set(said):
        words.append("that it reads pixels from 0 to 1 as they are (else: --mean, --std)")
    if not sized and "input_size" not in said:
        words.append("that it reads pictures of any size (else: --input-size)")
    return tuple(words)


def _said(module: nn.Module) -> Mapping[str, Any]:
    """Return what a module says of the pictures it was trained on, in the way timm's models do."""
    found = getattr(module, "pretrained_cfg", None)
    return found if isinstance(found, Mapping) else {}


def _first_channels(module: nn.Module) -> int:
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            return part.in_channels
    return 3


def _replaced(
    model: ImageModel,
    *,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    size: tuple[int, int] | None,
    classes: Sequence[str] | None,
) -> ImageModel:
    normaliser = Normaliser(
        mean=model.normaliser.mean if mean is None else _spread(mean, model.channels),
        std=model.normaliser.std if std is None else _spread(std, model.channels),
    )
    return ImageModel(
        module=model.module,
        normaliser=normaliser,
        classes=model.classes if classes is None else tuple(classes),
        channels=model.channels,
        size=model.size if size is None else size,
        name=model.name,
    )


def _spread(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Return one number a channel; a single one is meant for all."""
    return tuple(values) * channels if len(values) == 1 else tuple(values)


def _answer(module: nn.Module, channels: int, size: tuple[int, int] | None, name: str) -> Tensor:
    grey = grey_picture(module, channels, size)
    height, width = grey.shape[2:]
    try:
        with torch.no_grad():
            answer = module(grey)
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"An image model reads pictures (N, {channels}, {height}, {width}), and {name} failed on one "
            f"({_short(error)}): say what it reads (--channels, --input-size), or wrap it in a factory that returns an "
            "ImageModel."
        ) from error
    if not isinstance(answer, Tensor) or answer.ndim != 2 or len(answer) != 1 or not answer.is_floating_point():
        shape = f"a tensor {tuple(answer.shape)}" if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
        raise ModelError(
            f"An image model answers N pictures with logits (N, K), and {name} answered one with {shape}: wrap it in a "
            "module that returns the logits alone."
        )
    return answer


def grey_picture(module: nn.Module, channels: int, size: tuple[int, int] | None) -> Tensor:
    """Return one grey picture (1, C, H, W) where the weights of `module` are; 64 x 64 where it takes any size."""
    height, width = (_ANY_SIZE, _ANY_SIZE) if size is None else size
    like = next((part for part in module.parameters()), torch.empty(0))
    return torch.full((1, channels, height, width), 0.5, device=like.device)


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
