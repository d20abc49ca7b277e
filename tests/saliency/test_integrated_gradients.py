"""Paths: quadrature, gradients along them in small batches, and integrated gradients with their completeness."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.attribution import Attribution
from moorelens.saliency.baselines import constant, other
from moorelens.saliency.config import IntegratedGradientsConfig
from moorelens.saliency.integrated_gradients import IntegratedGradients
from moorelens.saliency.masks import MaskOperator, Upsampler
from moorelens.saliency.meter import Meter
from moorelens.saliency.paths import column, path_gradient, quadrature
from moorelens.saliency.policy_scores import action_score, joint_score
from moorelens.saliency.registry import make_explainer
from moorelens.saliency.scores import class_score
from tests.saliency.models import Linear, images, small_cnn, small_policy

RULES = ["midpoint", "trapezoid", "gauss_legendre", "right"]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [2, 5, 33])
def test_weights_sum_to_one_and_rules_are_as_exact_as_they_are_known_to_be(rule, steps) -> None:  # type: ignore[no-untyped-def]
    nodes, weights = quadrature(rule, steps)
    assert nodes.min() >= 0 and nodes.max() <= 1
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    degree = {"midpoint": 1, "trapezoid": 1, "gauss_legendre": 2 * steps - 1, "right": 0}[rule]
    assert (weights * nodes**degree).sum() == pytest.approx(1 / (degree + 1), abs=1e-9)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [2, 3, 10])
def test_a_linear_model_is_explained_completely_by_every_rule(rule, steps) -> None:  # type: ignore[no-untyped-def]
    """spec-saliency 14.1, and the map itself: weight times way."""
    generator = torch.Generator().manual_seed(0)
    model, x, b = Linear((3, 6, 5), 4, generator), images(3, 3, (6, 5)), images(3, 3, (6, 5), seed=1)
    target = torch.tensor([0, 1, 3])
    explainer = IntegratedGradients(IntegratedGradientsConfig(steps=steps, rule=rule))
    found = explainer.attribute(x, class_score(model, target, space="logit"), other(b))
    assert torch.allclose(found.native, (x - b) * model.weight.detach()[target], atol=1e-5)
    assert found.diagnostics["completeness"].abs().max() < 1e-4
    assert (found.values.sum(dim=(1, 2)) - found.gap).abs().max() < 1e-4
    assert found.values.shape == (3, 6, 5)


@pytest.mark.parametrize("rule", RULES[:3])
def test_a_network_of_relus_is_explained_within_one_percent(rule) -> None:  # type: ignore[no-untyped-def]
    model, x, b = small_cnn(seed=3), images(8, seed=5) * 2, images(8, seed=6) * 0.1
    explainer = IntegratedGradients(IntegratedGradientsConfig(steps=64, rule=rule))
    found = explainer.attribute(x, class_score(model, 1, space="logit"), other(b))
    total = found.native.flatten(1).sum(dim=1)
    relative = (total - found.gap).abs() / found.gap.abs()
    large = found.gap.abs() > 0.2 * found.gap.abs().max()  # of a gap near 0 every error is a large share
    assert large.sum() >= 6 and relative[large].max() < 0.01
    assert torch.equal(found.diagnostics["incomplete"], relative > 0.01)


def test_the_map_is_the_sum_written_out_slowly() -> None:
    model, x, b = small_cnn(seed=1), images(2), images(2, seed=1)
    target = torch.tensor([0, 2])
    config = IntegratedGradientsConfig(steps=5)
    found = IntegratedGradients(config).attribute(x, class_score(model, target), other(b), max_batch=3)
    for row in range(2):
        total = torch.zeros_like(x[0])
        for t in (0.1, 0.3, 0.5, 0.7, 0.9):
            point = (b[row] + t * (x[row] - b[row])).requires_grad_()
            (gradient,) = torch.autograd.grad(model(point[None]).softmax(1)[0, target[row]], point)
            total += gradient / 5
        assert torch.allclose(found.native[row], (x[row] - b[row]) * total, atol=1e-6)


def test_batches_stay_small_however_many_steps_there_are() -> None:
    """Memory is bound by the largest batch, and that does not grow with the steps."""
    model, x = small_cnn(), images(5)
    maps = []
    for limit in (2, 7, 256):
        for steps in (10, 500) if limit == 7 else (10,):
            explainer = IntegratedGradients(IntegratedGradientsConfig(steps=steps))
            found = explainer.attribute(x, class_score(model, 0), constant(0.0), max_batch=limit)
            assert found.largest_batch == {2: 2, 7: 5, 256: 50}[limit]
            assert found.n_backward == 5 * steps
            assert found.n_forward == 5 * steps + 2 * 5
            if steps == 10:
                maps.append(found.values)
    assert torch.allclose(maps[0], maps[1], atol=1e-6) and torch.allclose(maps[0], maps[2], atol=1e-6)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    model, x = small_cnn(inplace=True), images(5)
    target = torch.arange(5) % 4
    kept = x.clone()
    explain = IntegratedGradients().attribute
    together = explain(x, class_score(model, target), constant(0.0))
    for row in range(5):
        alone = explain(x[row : row + 1], class_score(model, int(target[row])), constant(0.0))
        assert torch.allclose(together.values[row], alone.values[0], atol=1e-6)
    assert torch.equal(x, kept), "a network that works in place must not reach the caller's images"


def test_a_gradient_with_respect_to_a_mask_matches_finite_differences() -> None:
    """The path of a mask: d/dm of mean_s f(Phi(x, b, t_s m)), the factor t included."""
    model, x = small_cnn().double(), images(2).double()
    operator = MaskOperator(x=x, baseline=torch.zeros_like(x), upsampler=Upsampler(mode="bilinear"))
    score = class_score(model, torch.tensor([1, 2]))
    mask = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)).double()

    def point(values: Tensor, rows: Tensor, t: Tensor) -> Tensor:
        return operator.apply(column(t, values) * values, rows)

    def mean(values: Tensor) -> Tensor:
        nodes = [1 / 3, 2 / 3, 1.0]
        return torch.stack([score(operator.apply(t * values)) for t in nodes]).mean(dim=0)

    found = path_gradient(score, point, mask, steps=3, rule="right", max_batch=4)
    assert torch.allclose(found.mean_score, mean(mask).detach())
    step = torch.zeros_like(mask)
    step[:, 0, 1, 2] = 1e-5
    slope = (mean(mask + step) - mean(mask - step)) / 2e-5
    assert torch.allclose(found.gradient[:, 0, 1, 2], slope.detach(), rtol=1e-4)


def test_noise_on_a_path_is_drawn_once_a_step_whatever_the_batch() -> None:
    model, x = small_cnn(), images(3)

    def point(values: Tensor, rows: Tensor, t: Tensor) -> Tensor:
        return values * column(t, values)

    def run(limit: int, rows: slice) -> Tensor:
        generator = torch.Generator().manual_seed(7)
        score = class_score(model, 2)
        return path_gradient(
            score, point, x[rows], steps=6, noise_std=0.3, generator=generator, max_batch=limit
        ).gradient

    whole = run(256, slice(0, 3))
    assert torch.allclose(whole, run(2, slice(0, 3)), atol=1e-6)
    assert torch.allclose(whole[1:2], run(256, slice(1, 2)), atol=1e-6)


def test_memory_and_observation_are_attributed_jointly() -> None:
    policy = small_policy()
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, 10, generator=generator)
    score = joint_score(action_score(policy, torch.tensor([0, 2])), (4,))
    found = IntegratedGradients(IntegratedGradientsConfig(steps=64)).attribute(inputs, score, constant(0.0))
    assert found.values.shape == (2, 10)
    assert torch.allclose(found.values.sum(dim=1), found.gap, rtol=0.01, atol=1e-4)
    assert (found.values[:, 4:] == 0).sum() < 6


def test_a_stored_attribution_comes_back_with_what_makes_it_again() -> None:
    """spec-saliency 14.30."""
    model, x = small_cnn(), images(2)
    found = IntegratedGradients(IntegratedGradientsConfig(steps=4)).attribute(x, class_score(model, 1), constant(0.5))
    data = found.to_bytes()
    back = Attribution.from_bytes(data)
    assert back.to_bytes() == data
    again = make_explainer(back.method, steps=4).attribute(
        x, class_score(model, 1), constant(0.5), generator=torch.Generator().manual_seed(back.seed)
    )
    assert again.to_bytes() == data
    assert (back.config, back.method, back.score) == (found.config, "integrated_gradients", "class prob")
    assert (back.seconds, torch.equal(back.values, found.values)) == (None, True)


def test_a_score_that_hardly_differs_from_its_baseline_is_said_not_to_be_explainable() -> None:
    def score(x: Tensor) -> Tensor:
        return 1 + x[:, 0]

    x = torch.tensor([[1.0, 0.0], [0.05, 0.0], [-1.0, 0.0]])
    found = IntegratedGradients().attribute(x, score, constant(0.0))
    assert found.explainable.tolist() == [True, False, False]
    assert found.saliency().tolist() == found.values.tolist()
    assert found.saliency(magnitude=True)[2, 0] == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: quadrature("trapezoid", 1), "at least 2"),
        (lambda: quadrature("simpson", 3), "is none"),  # type: ignore[arg-type]
        (lambda: make_explainer("integrated_gradients", step=3), "its settings are"),
        (lambda: make_explainer("integrated_gradients", steps=0), "at least 1"),
        (lambda: make_explainer("oracle"), "'oracle' is not"),
        (lambda: Meter(lambda x: x, max_batch=0), "at least 1 row"),
        (lambda: Meter(lambda x: x).values(torch.ones(2, 3)), "reduce each row"),
        (lambda: Meter(lambda x: x[:, 0] * math.nan).values(torch.ones(2, 3)), "must be finite"),
        (lambda: IntegratedGradients().attribute(torch.ones(3), sum, constant(0.0)), "one row or more"),
        (
            lambda: path_gradient(lambda x: x[:, 0], lambda v, r, t: v, torch.ones(1, 2), steps=2, noise_std=1.0),
            "noise",
        ),
    ],
)
def test_what_cannot_be_explained_is_refused_in_one_sentence(call, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(OptionError, match=f"(?i){words}"):
        call()


def test_numpy_sees_the_rules_as_they_are() -> None:
    nodes, weights = quadrature("trapezoid", 5)
    assert np.allclose(nodes, [0, 0.25, 0.5, 0.75, 1]) and np.allclose(weights * 8, [1, 2, 2, 2, 1])
