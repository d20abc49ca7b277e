"""Classifiers of torchvision and timm by name, with the normalisation and size they were trained with."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from moorelens.errors import MissingToolError, ModelError
from moorelens.saliency.baselines import Normaliser
from moorelens.saliency.images.models import ImageModel

HUBS = ("torchvision", "timm")
PRETRAINED, RANDOM = "pretrained", "none"


def hub_model(reference: str, *, weights: str = PRETRAINED) -> ImageModel:
    """Return the classifier that `torchvision:NAME` or `timm:NAME` names, with its own normaliser and size.

    `weights`: `pretrained` (from that package's cache, else downloaded by it), `none` (random: for trying things out),
    or a local file: a state dict as `.safetensors`, or as torch saves it, of that network with any number of classes.
    The package is imported here and nowhere else: MooreLens does not need it.
    Raises `MissingToolError` where it is not installed, `ModelError` where it knows no such classifier, or where the
    weights cannot be had or do not fit.
    """
    hub, _, name = reference.partition(":")
    if hub not in HUBS or not name:
        raise ModelError(
            f"A model of a hub is torchvision:NAME or timm:NAME, and {reference!r} is neither: correct it."
        )
    package = _imported(hub)
    _check_name(reference, _names(hub, package))
    state = None if weights in (PRETRAINED, RANDOM) else read_state(Path(weights))
    build = partial(_of_torchvision if hub == "torchvision" else _of_timm, package, name)
    try:
        # Random weights are drawn from torch's global state; they begin at one seed and leave it as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            found = build(weights == PRETRAINED, None)
            if state is not None and _outputs(state, found[0]) != len(found[-1]):
                found = build(False, _outputs(state, found[0]))
    except Exception as error:
        raise ModelError(
            f"The weights of {reference} are downloaded by {hub} the first time, and that failed ({_short(error)}): "
            "pass a local file as weights, or connect to the network."
            if weights == PRETRAINED
            else f"The network {name} is built by {hub}, and that failed ({_short(error)}): choose another."
        ) from error
    if state is not None:
        _load(found[0], state, name=name, file=weights)
    return _model(*found, name=f"{reference} (random weights)" if weights == RANDOM else reference)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict, `.safetensors` or torch's format without code; raises `ModelError` for anything else.

    Takes one that lies under `state_dict` or `model`, and strips the `module.` of parallel training.
    """
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        kind = "a .safetensors file" if isinstance(error, SafetensorError) else "a state dict that holds weights alone"
        raise ModelError(
            f"Weights are {kind}, and {str(path)!r} cannot be read as one ({_short(error)}): check the path, or save "
            "model.state_dict()."
        ) from error
    for key in ("state_dict", "model"):
        found = found[key] if isinstance(found, Mapping) and isinstance(found.get(key), Mapping) else found
    if not isinstance(found, Mapping) or not found or not all(isinstance(part, Tensor) for part in found.values()):
        raise ModelError(
            f"Weights are a state dict, names with tensors, and {str(path)!r} holds something else: save "
            "model.state_dict()."
        )
    return {str(key).removeprefix("module."): part for key, part in found.items()}


def _imported(hub: str) -> Any:
    try:
        # By name, not by statement: no module of MooreLens depends on these packages.
        return importlib.import_module("torchvision.models" if hub == "torchvision" else "timm")
    except ImportError as error:
        raise MissingToolError(
            f"Models of {hub} need the package {hub}, which is not installed: run pip install 'moorelens[hub]'."
        ) from error


def _names(hub: str, package: Any) -> Sequence[str]:
    """Return the classifiers there are; torchvision keeps detectors and the like in packages of their own."""
    names: Sequence[str] = package.list_models(module=package) if hub == "torchvision" else package.list_models()
    return names


def _check_name(reference: str, names: Sequence[str]) -> None:
    hub, _, name = reference.partition(":")
    # timm also takes the tag of a set of weights behind a dot.
    if name.partition(".")[0] not in names:
        near = difflib.get_close_matches(name, names, n=3)
        hint = (
            f"did you mean {' or '.join(f'{hub}:{other}' for other in near)}?" if near else "check how it is written."
        )
        raise ModelError(f"A model is one of the {len(names)} classifiers of {hub}, and {name!r} is none: {hint}")


Found = tuple[nn.Module, Normaliser, tuple[int, int], int, tuple[str, ...]]


def _of_torchvision(package: Any, name: str, pretrained: bool, outputs: int | None) -> Found:
    known = package.get_model_weights(name).DEFAULT
    told = known.transforms()
    categories = tuple(known.meta["categories"])
    count = len(categories) if outputs is None else outputs
    module = package.get_model(name, weights=known if pretrained else None, num_classes=count)
    side = int(told.crop_size[0])
    normaliser = Normaliser(mean=tuple(told.mean), std=tuple(told.std))
    return (
        module,
        normaliser,
        (side, side),
        len(told.mean),
        categories if count == len(categories) else _numbered(count),
    )


def _of_timm(package: Any, name: str, pretrained: bool, outputs: int | None) -> Found:
    module = package.create_model(name, pretrained=pretrained, **({} if outputs is None else {"num_classes": outputs}))
    told = module.pretrained_cfg
    normaliser = Normaliser(mean=tuple(told["mean"]), std=tuple(told["std"]))
    channels, height, width = told["input_size"]
    return module, normaliser, (height, width), channels, _timm_classes(module)


def _timm_classes(module: Any) -> tuple[str, ...]:
    data = importlib.import_module("timm.data")
    count, subset = int(module.num_classes), data.infer_imagenet_subset(module)
    if subset is None:
        return _numbered(count)
    described = data.ImageNetInfo(subset)
    return tuple(str(described.index_to_description(number)) for number in range(count))


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(count))


def _outputs(state: Mapping[str, Tensor], module: nn.Module) -> int:
    """Return how many classes weights are for: the size of what the network's last bias is in them."""
    last = [key for key in module.state_dict() if key.endswith(".bias")][-1]
    # Where it is missing the weights are another network's, which is said when they are loaded.
    return len(state.get(last, module.state_dict()[last]))


def _load(module: nn.Module, state: Mapping[str, Tensor], *, name: str, file: str) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(
            f"Weights must be those of the network {name}, and those of {file!r} are not ({_short(error)}): name the "
            "network that they were saved from."
        ) from error


def _model(
    module: nn.Module,
    normaliser: Normaliser,
    size: tuple[int, int],
    channels: int,
    classes: tuple[str, ...],
    *,
    name: str,
) -> ImageModel:
    return ImageModel(
        module=module.eval().requires_grad_(False),
        normaliser=normaliser,
        classes=classes,
        channels=channels,
        size=size,
        name=name,
    )


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
