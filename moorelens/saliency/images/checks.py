"""Does a network use the planted cause? Shares of fresh pictures, with and without what decides their class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from moorelens.saliency.baselines import Normaliser
from moorelens.saliency.images import digits
from moorelens.saliency.images.recipes import Recipe
from moorelens.saliency.shapes import Shapes, make_shapes

INCOMPLETE = "incomplete"
TEST_SEED = 1_000_003
_PICTURES = 2000


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """`predicted`: the classes of the pictures as they are, in order; `shares`: by name, 0 to 1."""

    predicted: Tensor
    shares: dict[str, float]


def measure(model: nn.Module, recipe: Recipe, *, count: int = _PICTURES, seed: int = TEST_SEED) -> Measured:
    """Show `model` fresh pictures of its task and the same pictures without parts of what they show.

    `accuracy`: of pictures as they are; `erased`: without what decides the class. `one_erased` (`or`, `and`, `xor`):
    without one of the two glyphs, the share that keeps its class; `incomplete` (`and`): that says so. `watermark`,
    all on pictures with the letter of another class: `says_tag` and `says_glyph`; `tag_hidden_glyph`: that name the
    glyph once the letter is hidden; `tag_hidden_changed`: that then name another class than before.
    Digits have no planted cause: their test set's accuracy alone.
    """
    if recipe.task == "digits":
        found = digits.load_digits(test=True)
        predicted = predict(model, found.x)
        return Measured(predicted=predicted, shares={"accuracy": _share(predicted == found.y)})
    generator = torch.Generator().manual_seed(seed)
    # The letter of a watermark is any class's here: what a biased network follows is then seen.
    shapes = make_shapes(count, generator=generator, task=recipe.task)
    shown = {"accuracy": shapes.x, "erased": shapes.erased} | _variants(shapes)
    answers = {name: predict(model, x) for name, x in shown.items()}
    shares = {name: _share(answers[name] == shapes.y) for name in ("accuracy", "erased")}
    return Measured(predicted=answers["accuracy"], shares=shares | _logic(shapes, answers))


def predict(model: nn.Module, x: Tensor, *, max_batch: int = 256) -> Tensor:
    """Return the predicted classes (n,) of pictures (n, C, H, W) in [0, 1], normalised as the bundled models are."""
    normalise = Normaliser(mean=(0.5,) * x.shape[1], std=(0.25,) * x.shape[1])
    with torch.no_grad():
        parts = [x[start : start + max_batch] for start in range(0, len(x), max_batch)]
        return torch.cat([model(normalise(part)).argmax(dim=1) for part in parts])


def _variants(shapes: Shapes) -> dict[str, Tensor]:
    if shapes.task in ("or", "and", "xor"):
        return {"first": shapes.without("first"), "second": shapes.without("second")}
    return {"tag_hidden": shapes.without("tag")} if shapes.task == "watermark" else {}


def _logic(shapes: Shapes, answers: dict[str, Tensor]) -> dict[str, float]:
    if shapes.task in ("or", "and", "xor"):
        both = torch.cat([answers["first"], answers["second"]])
        shares = {"one_erased": _share(both == shapes.y.repeat(2))}
        return shares | ({"incomplete": _share(both == 4)} if shapes.task == "and" else {})
    if shapes.task == "watermark":
        tag = shapes.meta["tag"]
        apart = tag != shapes.y
        seen, hidden, y = answers["accuracy"][apart], answers["tag_hidden"][apart], shapes.y[apart]
        return {
            "says_tag": _share(seen == tag[apart]),
            "says_glyph": _share(seen == y),
            "tag_hidden_glyph": _share(hidden == y),
            "tag_hidden_changed": _share(hidden != seen),
        }
    return {}


def _share(found: Tensor) -> float:
    return round(float(found.float().mean()), 4)
