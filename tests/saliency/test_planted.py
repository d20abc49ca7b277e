"""Planted truth: a network that is known to look at the glyph, maps that must find it, and checks that must fail."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from moorelens.errors import OptionError
from moorelens.saliency import localisation, sanity
from moorelens.saliency.attribution import Attribution
from moorelens.saliency.baselines import gaussian_blur
from moorelens.saliency.curves import causal_curve
from moorelens.saliency.registry import make_explainer
from moorelens.saliency.scores import class_score
from moorelens.saliency.shapes import CLASSES, make_shapes
from tests.saliency.shapes_net import trained

METHODS: dict[str, dict[str, object]] = {
    "integrated_gradients": {},
    "smoothgrad": {},
    "gradcam": {},
    "occlusion": {},
    "perturbation": {"sigma": 3.0, "stride": 4},
    "rise": {"masks": 300},
}


def seed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def explained(method: str, model: nn.Module, rows: Tensor) -> Attribution:
    score = class_score(model, trained().shapes.y[rows])
    return make_explainer(method, **METHODS[method]).attribute(trained().shapes.x[rows], score, gaussian_blur())


def certain(count: int) -> Tensor:
    """Return pictures that the network names rightly, and surely only with the glyph: gap > 0.5."""
    found, shapes = trained(), trained().shapes
    score = class_score(found.model, shapes.y)
    with torch.no_grad():
        gap = score(shapes.x) - score(gaussian_blur()(shapes.x))
    return found.right[gap[found.right] > 0.5][:count]


def test_a_picture_is_what_it_says() -> None:
    shapes = make_shapes(40, generator=seed(0))
    assert shapes.x.shape == (40, 3, 56, 56) and shapes.x.min() >= 0 and shapes.x.max() <= 1
    assert not (shapes.truth & shapes.parts["distractors"]).any()
    changed = (shapes.x != shapes.erased).any(dim=1)
    assert torch.equal(changed, shapes.truth), "only the glyph is erased"
    heights = shapes.truth.any(dim=2).sum(dim=1)
    assert heights.min() >= 10 and heights.max() <= 19
    assert set(shapes.y.tolist()) == set(range(len(CLASSES)))
    assert torch.equal(shapes.x, make_shapes(40, generator=seed(0)).x)
    with pytest.raises(OptionError, match="room for three"):
        make_shapes(1, generator=seed(0), size=30, scale=1.0)


def test_the_network_really_uses_the_planted_cause() -> None:
    """Otherwise the benchmark would punish honest explainers."""
    found = trained()
    assert found.accuracy > 0.9
    assert found.accuracy_erased < 0.35, "without the glyph it guesses among four classes"


@pytest.mark.parametrize("method", METHODS)
def test_maps_find_the_glyph_and_lose_it_with_the_weights(method: str) -> None:
    rows = certain(24)
    truth, chance = trained().shapes.truth[rows], localisation.area_of(trained().shapes.truth[rows]).mean()
    found = explained(method, trained().model, rows)
    assert len(rows) == 24 and found.explainable.all()
    saliency = found.saliency()
    hit = float(localisation.pointing_game(saliency, truth, tolerance=2).mean())
    # Grad-CAM is as coarse as its layer, 5 x 5 on 40 pixels: its peak lies near the glyph rather than on it.
    assert hit >= (0.4 if method == "gradcam" else 0.9)
    assert float(localisation.auroc_pixels(saliency, truth).mean()) > 0.75
    assert float(localisation.iou_at_area(saliency, truth).mean()) > 2 * float(chance)
    random = copy.deepcopy(trained().model)
    for layer in random:
        sanity.randomise_layer(layer, generator=seed(3))
    lost = explained(method, random, rows).saliency()
    assert float(localisation.pointing_game(lost, truth).mean()) < 0.35
    assert abs(float(sanity.spearman(saliency, lost).mean())) < 0.35


def test_deleting_what_is_salient_hurts_more_than_deleting_at_random() -> None:
    rows, blurred = certain(24), gaussian_blur()(trained().shapes.x[certain(24)])
    x, score = trained().shapes.x[rows], class_score(trained().model, trained().shapes.y[rows])
    random = causal_curve(x, blurred, score, saliency=torch.ones(24, 40, 40), steps=20)
    for method in ("integrated_gradients", "perturbation"):
        saliency = explained(method, trained().model, rows).saliency()
        deleted = causal_curve(x, blurred, score, saliency=saliency, steps=20)
        inserted = causal_curve(x, blurred, score, saliency=saliency, steps=20, mode="insertion")
        assert deleted.auc.mean() < 0.6 * random.auc.mean()
        assert inserted.auc.mean() > 0.8
    known = causal_curve(x, blurred, score, saliency=trained().shapes.truth[rows].float(), steps=20)
    # What is left without the glyph is what the network guesses of nothing, a quarter on average.
    assert known.auc.mean() < random.auc.mean() - 0.1, "the truth itself is a good map"


@pytest.mark.parametrize("method", ["integrated_gradients", "gradcam", "rise"])
def test_maps_of_a_random_network_resemble_them_no_more(method: str) -> None:
    """spec-saliency 14.19."""
    rows = certain(12)

    def map_of(model: nn.Module) -> Tensor:
        score = class_score(model, trained().shapes.y[rows], space="logit")
        settings = {"rise": {"masks": 100}, "integrated_gradients": {"steps": 12}}.get(method, {})
        return make_explainer(method, **settings).attribute(trained().shapes.x[rows], score, gaussian_blur()).saliency()

    report = sanity.sanity_report(map_of, trained().model, trained().shapes.x[rows], generator=seed(1), repeats=2)
    assert report.passed and abs(report.rows[-1].spearman) < 0.2
    assert [row.layer for row in report.rows] == ["11", "7", "6", "4", "3", "1", "0"]
    assert "passed" in report.text()


def test_an_edge_detector_is_failed_by_the_report() -> None:
    x = trained().shapes.x[:12]
    report = sanity.sanity_report(lambda _: sanity.edges(x), trained().model, x, generator=seed(1), repeats=1)
    assert min(row.spearman for row in report.rows) > 0.9
    assert not report.passed and report.edges == pytest.approx(1)
    assert "FAILED" in report.text() and "shows the image" in report.text()
    with pytest.raises(OptionError, match="saliency"):
        sanity.sanity_report(lambda _: x, trained().model, x, generator=seed(1))


def test_randomisation_goes_from_the_top_and_takes_normalisations_with_it() -> None:
    model = trained().model
    before = [parameter.clone() for parameter in (*model.parameters(), *model.buffers())]
    cascade = dict(sanity.randomised(model, generator=seed(0)))
    single = dict(sanity.randomised(model, generator=seed(0), independent=True))
    assert list(cascade) == ["11", "7", "6", "4", "3", "1", "0"]
    for name, parameter in model.named_parameters():
        layer = name.split(".")[0]
        at = list(cascade).index(layer)
        for step, (changed_to, changed) in enumerate(cascade.items()):
            same = torch.equal(dict(changed.named_parameters())[name], parameter)
            assert same == (step < at), f"{name} after {changed_to}"
        assert not torch.equal(dict(single[layer].named_parameters())[name], parameter)
    norm = cascade["1"][1]
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
    assert (norm.running_mean == 0).all() and (norm.running_var == 1).all() and (norm.weight == 1).all()
    after = [*model.parameters(), *model.buffers()]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True)), "the model itself is left alone"
    with pytest.raises(OptionError, match="randomises"):
        next(sanity.randomised(nn.ReLU(), generator=seed(0)))


def test_similarities_at_their_ends() -> None:
    generator = seed(0)
    one, noise = torch.randn(3, 20, 20, generator=generator), torch.randn(3, 20, 20, generator=generator)
    flat = torch.ones(3, 20, 20)
    assert torch.allclose(sanity.spearman(one, one.exp()), torch.ones(3, dtype=torch.float64))
    assert torch.allclose(sanity.spearman(one, -one), -torch.ones(3, dtype=torch.float64))
    assert sanity.spearman(one, noise).abs().max() < 0.2
    assert (sanity.spearman(one, flat) == 0).all() and (sanity.ssim(one, flat) == 0).all()
    assert torch.allclose(sanity.ssim(one, 3 * one + 1), torch.ones(3, dtype=torch.float64))
    assert sanity.ssim(one, noise).abs().max() < 0.3
