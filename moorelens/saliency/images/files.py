"""The files of the bundled image models: weights as `.safetensors`, and a card of how they came about."""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from moorelens.errors import ModelError
from moorelens.runs.atomic import write_atomic
from moorelens.saliency.images.classifiers import build
from moorelens.saliency.images.recipes import Recipe

FORMAT = "moorelens.image-model/1"
_KEY = "moorelens"


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a bundled model is: its `recipe`, the names of its outputs, its normaliser and size, and what was measured.

    `measured`: shares as `moorelens.saliency.images.checks.measure` gives them; `weights`: how many there are.
    """

    name: str
    recipe: Recipe
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int]
    dtype: str
    weights: int
    measured: dict[str, float]
    command: str
    torch: str
    format: str = FORMAT


def weights_file(name: str, folder: Path | None = None) -> Path:
    """Return where the model `name` lies, by default in the package."""
    return (folder or Path(__file__).parent / "weights") / f"{name}.safetensors"


def halved(model: nn.Module) -> nn.Module:
    """Round all weights of `model` to float16 in place, and return it in float32."""
    return model.half().float()


def write_model(path: Path, model: nn.Module, card: Card) -> None:
    """Write weights and card, equal bytes for equal models."""
    dtype = torch.float16 if card.dtype == "float16" else torch.float32
    tensors = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).detach().contiguous()
        for name, tensor in sorted(model.state_dict().items())
    }
    write_atomic(path, save(tensors, {_KEY: msgspec.json.encode(card, order="sorted").decode()}))


def read_card(path: Path) -> Card:
    """Read the card of a model's file; raises `ModelError` where it is absent, damaged or of another kind."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            card = msgspec.json.decode((file.metadata() or {})[_KEY], type=Card)
    except (OSError, SafetensorError, KeyError, msgspec.MsgspecError) as error:
        raise _damaged(path, error) from error
    if card.format != FORMAT:
        raise ModelError(
            f"This version reads {FORMAT} and {path.name} is {card.format}: install the one that wrote it."
        )
    return card


def read_model(path: Path) -> tuple[nn.Module, Card]:
    """Read network and card, in float32 and eval mode; raises `ModelError` like `read_card`."""
    card = read_card(path)
    model = build(
        card.recipe.architecture,
        channels=len(card.mean),
        classes=len(card.classes),
        size=card.size[0],
        hidden=card.recipe.hidden,
    )
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, RuntimeError) as error:
        raise _damaged(path, error) from error
    return model.float().eval().requires_grad_(False), card


def _damaged(path: Path, error: Exception) -> ModelError:
    text = " ".join(str(error).split())[:120]
    return ModelError(
        f"A bundled image model is a .safetensors file of this package and {path.name} cannot be read as one "
        f"({type(error).__name__}: {text}): install MooreLens again."
    )
