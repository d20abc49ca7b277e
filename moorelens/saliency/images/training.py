"""Training the bundled image models: `python -m moorelens.saliency.images.training NAME...` makes their files again."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from moorelens.errors import OptionError
from moorelens.saliency.baselines import Normaliser
from moorelens.saliency.images import digits
from moorelens.saliency.images.checks import INCOMPLETE, measure
from moorelens.saliency.images.classifiers import build
from moorelens.saliency.images.files import Card, halved, read_model, weights_file, write_model
from moorelens.saliency.images.recipes import RECIPES, ImageTask, Recipe
from moorelens.saliency.sanity import randomise_layer
from moorelens.saliency.shapes import Shapes, classes_of, make_shapes

SIZE = 56
_MEAN, _STD = 0.5, 0.25
Said = Callable[[str], None]


def class_names(task: ImageTask) -> tuple[str, ...]:
    """Return the names of a network's outputs; `and` has one more, for pictures that show less than a pair."""
    if task == "digits":
        return digits.CLASSES
    return (*classes_of(task), INCOMPLETE) if task == "and" else classes_of(task)


def normaliser_of(task: ImageTask) -> Normaliser:
    """Return the map from pictures in [0, 1] to what the networks read, -2 to 2."""
    channels = 1 if task == "digits" else 3
    return Normaliser(mean=(_MEAN,) * channels, std=(_STD,) * channels)


def untrained(recipe: Recipe, generator: torch.Generator) -> nn.Module:
    """Return the network of a recipe as it begins: random weights from `generator`, or those of `recipe.start`."""
    channels, size = (1, digits.SIZE) if recipe.task == "digits" else (3, SIZE)
    model = build(
        recipe.architecture,
        channels=channels,
        classes=len(class_names(recipe.task)),
        size=size,
        hidden=recipe.hidden,
    )
    for part in model.modules():
        randomise_layer(part, generator=generator)
    if recipe.start is not None:
        known, wanted = read_model(weights_file(recipe.start))[0].state_dict(), model.state_dict()
        fits = {key: part for key, part in known.items() if key in wanted and part.shape == wanted[key].shape}
        model.load_state_dict(fits, strict=False)
    return model


def training_pictures(recipe: Recipe, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return pictures (n, C, H, W) in [0, 1] and their classes (n,).

    `or`: half of them have lost one of their two glyphs and keep their class. `and`: half of them have lost one or
    both of their pair and belong to the last class, `incomplete`.
    """
    if recipe.task == "digits":
        found = digits.load_digits(test=False)
        return found.x, found.y
    shapes = make_shapes(
        recipe.pictures, generator=generator, task=recipe.task, size=SIZE, p_spurious=recipe.p_spurious
    )
    if recipe.task not in ("or", "and"):
        return shapes.x, shapes.y
    lost = torch.randint(6 if recipe.task == "and" else 4, (recipe.pictures,), generator=generator)
    y = shapes.y if recipe.task == "or" else torch.where(lost < 3, len(classes_of("and")), shapes.y)
    return _with_losses(shapes, lost), y


def _with_losses(shapes: Shapes, lost: Tensor) -> Tensor:
    """Return the pictures without their first (0), second (1) or both glyphs (2 of 0 to 5), or as they are."""
    x = shapes.x
    for number, parts in enumerate((("first",), ("second",))):
        x = torch.where((lost == number)[:, None, None, None], shapes.without(*parts), x)
    if shapes.task == "and":
        x = torch.where((lost == 2)[:, None, None, None], shapes.erased, x)
    return x


def train(recipe: Recipe, *, pictures: tuple[Tensor, Tensor] | None = None, say: Said | None = None) -> nn.Module:
    """Return the network of `recipe` after its training, in eval mode, without gradients.

    The same recipe, versions and one thread give the same weights. `pictures`: x (n, C, H, W) in [0, 1] and classes
    y (n,) to train on instead of the task's, never renewed. `say` is told the loss now and then.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    model, normalise = untrained(recipe, generator).train(), normaliser_of(recipe.task)
    x, y = pictures or training_pictures(recipe, generator)
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=recipe.steps)
    for step in range(recipe.steps):
        if step and step % recipe.renewed == 0 and pictures is None and recipe.task != "digits":
            x, y = training_pictures(recipe, generator)
        rows = torch.randint(len(x), (recipe.batch,), generator=generator)
        loss = functional.cross_entropy(model(normalise(_varied(x[rows], recipe.task, generator))), y[rows])
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if say is not None and (step + 1) % 250 == 0:
            say(f"step {step + 1} of {recipe.steps}: loss {float(loss.detach()):.4f}")
    return model.eval().requires_grad_(False)


def _varied(x: Tensor, task: ImageTask, generator: torch.Generator) -> Tensor:
    """Return a batch flipped left to right and with its colours exchanged, each by chance, where no class changes."""
    flip, order = int(torch.randint(2, (1,), generator=generator)), torch.randperm(3, generator=generator)
    if task not in ("digits", "attributes"):
        x = x[:, order]
    return x.flip(3) if flip and task not in ("digits", "watermark") else x


def bundle(name: str, folder: Path | None = None, *, say: Said | None = None) -> Card:
    """Train the model `name`, measure it on fresh pictures, and write its file; return what was measured.

    Weights are kept as float16 where the predicted class of none of the pictures measured on changes by it.
    """
    if name not in RECIPES:
        raise OptionError(f"A bundled model is one of {', '.join(RECIPES)}, and {name!r} is none: choose one.")
    recipe = RECIPES[name]
    model = train(recipe, say=say)
    small = halved(copy.deepcopy(model))
    dtype, kept, measured = "float16", small, measure(small, recipe)
    if not torch.equal(measured.predicted, measure(model, recipe).predicted):
        dtype, kept, measured = "float32", model, measure(model, recipe)
    normaliser = normaliser_of(recipe.task)
    card = Card(
        name=name,
        recipe=recipe,
        classes=class_names(recipe.task),
        mean=normaliser.mean,
        std=normaliser.std,
        size=(digits.SIZE, digits.SIZE) if recipe.task == "digits" else (SIZE, SIZE),
        dtype=dtype,
        weights=sum(parameter.numel() for parameter in model.parameters()),
        measured=measured.shares,
        command=f"python -m moorelens.saliency.images.training {name}",
        torch=str(torch.__version__),
    )
    write_model(weights_file(name, folder), kept, card)
    return card


def main(arguments: list[str]) -> int:
    """Train the named models one after the other, all without names, in one thread; print what was measured."""
    torch.set_num_threads(1)
    for name in arguments or list(RECIPES):
        card = bundle(name, say=lambda line, name=name: print(f"{name}: {line}", file=sys.stderr))  # type: ignore[misc]
        print(name, card.dtype, " ".join(f"{key} {value:.3f}" for key, value in card.measured.items()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
