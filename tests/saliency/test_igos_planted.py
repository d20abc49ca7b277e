"""What the I-GOS family promises where the cause is known: a small version of benchmarks/image_explainers.py."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from torch import Tensor, nn

from moorelens.saliency.attribution import Attribution
from moorelens.saliency.baselines import gaussian_blur
from moorelens.saliency.curves import causal_curve
from moorelens.saliency.images.bundled import bundled_model
from moorelens.saliency.images.models import ImageModel
from moorelens.saliency.localisation import mass_in, pointing_game
from moorelens.saliency.registry import make_explainer
from moorelens.saliency.sanity import randomise_layer
from moorelens.saliency.scores import class_score
from moorelens.saliency.shapes import Task, make_shapes

COUNT, TAGGED = 24, 8
SETTINGS: dict[str, dict[str, int]] = {"rise": {"masks": 500}}


@functools.cache
def pictures(name: str, task: Task = "single", count: int = COUNT) -> tuple[ImageModel, Tensor, Tensor, Tensor]:
    """Return a network, pictures x that it names rightly with a gap of more than half, their classes and the truth."""
    model = bundled_model(name)
    tagged = task == "watermark"
    drawn = make_shapes(
        3 * count + 10,
        generator=torch.Generator().manual_seed(2027),
        task=task,
        p_spurious=1.0 if tagged else 0.0,
    )
    x, score = model.normaliser(drawn.x), class_score(model.module, drawn.y)
    with torch.no_grad():
        right = model.module(x).argmax(dim=1) == drawn.y
        gap = score(x) - score(gaussian_blur()(x))
    rows = torch.nonzero(right & (gap > 0.5))[:count, 0]
    assert len(rows) == count
    return model, x[rows], drawn.y[rows], (drawn.parts["tag"] if tagged else drawn.truth)[rows]


@functools.cache
def explained(method: str) -> Attribution:
    model, x, y, _ = pictures("shapes-bn")
    explainer = make_explainer(method, **SETTINGS.get(method, {}))
    return explainer.attribute(x, class_score(model.module, y), gaussian_blur())


@functools.cache
def area(method: str, mode: str) -> float:
    """Return the mean area under the deletion or insertion curve."""
    model, x, y, _ = pictures("shapes-bn")
    score, blurred = class_score(model.module, y), gaussian_blur()(x)
    found = causal_curve(x, blurred, score, saliency=explained(method).saliency(), mode=mode)  # type: ignore[arg-type]
    return float(found.auc.mean())


def test_what_is_shown_first_suffices_sooner_than_by_other_maps() -> None:
    assert area("igos++", "insertion") > area("igos", "insertion") > area("integrated_gradients", "insertion")


@pytest.mark.parametrize("method", ["igos", "igos++"])
def test_what_is_hidden_first_is_missed_sooner_than_by_gradcam(method: str) -> None:
    assert area(method, "deletion") < area("gradcam", "deletion")


@pytest.mark.parametrize("method", ["igos", "igos+", "igos++", "rise"])
def test_the_peak_lies_on_the_glyph(method: str) -> None:
    model, _, _, truth = pictures("shapes-bn")
    found = explained(method)
    assert found.explainable.all() and model.channels == 3
    assert float(pointing_game(found.saliency(), truth).mean()) >= 0.9


@pytest.mark.parametrize("method", ["igos", "igos++", "rise", "integrated_gradients", "gradcam"])
def test_maps_of_random_networks_are_at_chance(method: str) -> None:
    """Random weights see contrast, of the glyph and of two distractors alike: chance is a third; 24 tries wander."""
    model, x, y, truth = pictures("shapes-bn")
    hits = []
    for number in range(8):
        module, generator = copy.deepcopy(model.module), torch.Generator().manual_seed(number)
        layers: list[nn.Module] = list(module.modules())
        for layer in layers:
            randomise_layer(layer, generator=generator)
        rows = torch.arange(number, COUNT, 8)
        explainer = make_explainer(method, **({"masks": 200} if method == "rise" else {}))
        found = explainer.attribute(x[rows], class_score(module, y[rows]), gaussian_blur())
        hits.append(pointing_game(found.saliency(), truth[rows]))
    assert float(torch.cat(hits).mean()) < 0.6 < float(pointing_game(explained("igos").saliency(), truth).mean())


@pytest.mark.parametrize(("name", "low", "high"), [("watermark-biased", 0.7, 1.0), ("watermark-clean", 0.0, 0.1)])
def test_a_network_that_reads_the_letter_is_found_out(name: str, low: float, high: float) -> None:
    """spec-saliency 14.20: the share of the mass of iGOS++ on the letter in the corner."""
    model, x, y, tag = pictures(name, "watermark", TAGGED)
    found = make_explainer("igos++").attribute(x, class_score(model.module, y), gaussian_blur())
    assert low < float(mass_in(found.saliency(), tag).mean()) < high
