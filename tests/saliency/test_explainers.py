"""Each explainer beside a slow transcription of its definition, and beside Captum where Captum has the same."""

from __future__ import annotations

import math
from typing import Any

import captum.attr
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from moorelens.errors import MissingToolError, OptionError
from moorelens.saliency.baselines import constant, gaussian_blur, other
from moorelens.saliency.config import RISEConfig
from moorelens.saliency.meter import Meter
from moorelens.saliency.policy_scores import action_score, distance_score, policy_step, sarfa_score
from moorelens.saliency.registry import make_explainer
from moorelens.saliency.rise import draw_masks
from moorelens.saliency.scores import class_score
from tests.saliency.models import images, small_cnn, small_policy


def seed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def test_integrated_gradients_agree_with_captum_where_captum_is_right() -> None:
    model, x, b = small_cnn(), images(3), images(3, seed=1)
    target = torch.tensor([0, 3, 1])
    found = make_explainer("integrated_gradients", steps=20, rule="gauss_legendre").attribute(
        x, class_score(model, target, space="logit"), other(b)
    )
    theirs = captum.attr.IntegratedGradients(model).attribute(x, b, target=target, n_steps=20)
    assert torch.allclose(found.native, theirs.float(), atol=1e-5)
    # Its trapezoid weights sum to 1 - 1/n: at 10 steps a linear model loses a tenth of what it has to explain.
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 10, 1)).eval()
    lost = captum.attr.IntegratedGradients(linear).attribute(x, b, target=0, n_steps=10, method="riemann_trapezoid")
    gap = (linear(x) - linear(b))[:, 0].detach()
    assert torch.allclose(lost.flatten(1).sum(dim=1).float(), 0.9 * gap, rtol=1e-3)


def test_occlusion_is_the_mean_fall_over_the_windows_that_cover_a_pixel() -> None:
    model, x = small_cnn(), images(2, size=(11, 9))
    score = class_score(model, 1)
    found = make_explainer("occlusion", size=4, stride=3).attribute(x, score, constant(0.5), max_batch=7)
    total, covered = torch.zeros(2, 11, 9), torch.zeros(11, 9)
    for top in (0, 3, 6, 7):
        for left in (0, 3, 5):
            hidden = x.clone()
            hidden[:, :, top : top + 4, left : left + 4] = 0.5
            fall = (score(x) - score(hidden)).detach()
            total[:, top : top + 4, left : left + 4] += fall[:, None, None]
            covered[top : top + 4, left : left + 4] += 1
    assert torch.allclose(found.values, total / covered, atol=1e-6)
    assert found.native.shape == (2, 4, 3)


def test_occlusion_agrees_with_captum_where_windows_tile_the_image() -> None:
    model, x = small_cnn(), images(2, size=(12, 12))
    found = make_explainer("occlusion", size=3, stride=3).attribute(
        x, class_score(model, 1, space="logit"), constant(0.0)
    )
    theirs = captum.attr.Occlusion(model).attribute(
        x, sliding_window_shapes=(3, 3, 3), strides=(3, 3, 3), baselines=0, target=1
    )
    assert torch.allclose(found.values, theirs[:, 0].float(), atol=1e-5)


@pytest.mark.parametrize("settings", [{"size": 20}, {"size": 3, "stride": 4}])
def test_windows_that_leave_gaps_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(OptionError, match="without gaps"):
        make_explainer("occlusion", **settings).attribute(images(), class_score(small_cnn(), 0), constant(0.0))


def test_vectors_are_occluded_and_perturbed_entry_by_entry() -> None:
    policy, x = small_policy(), torch.randn(2, 4, generator=seed(0))
    score = action_score(policy, torch.tensor([0, 2]))
    for name in ("occlusion", "perturbation"):
        found = make_explainer(name).attribute(x, score, constant(0.0))
        for entry in range(4):
            hidden = x.clone()
            hidden[:, entry] = 0
            assert torch.allclose(found.values[:, entry], (score(x) - score(hidden)).detach(), atol=1e-6)


def test_gradcam_is_its_definition_written_out_and_captums() -> None:
    model, x = small_cnn(), images(2)
    target = torch.tensor([1, 3])
    found = make_explainer("gradcam").attribute(x, class_score(model, target, space="logit"), constant(0.0))
    for row in range(2):
        activations = model[2](model[:2](x[row : row + 1])).detach().requires_grad_()
        logit = model[3:](activations)[0, target[row]]
        (gradient,) = torch.autograd.grad(logit, activations)
        total = sum(gradient[0, k].mean() * activations[0, k] for k in range(16))
        assert isinstance(total, Tensor)
        assert torch.allclose(found.native[row], total.clamp(min=0).detach(), atol=1e-6)
        assert torch.allclose(found.diagnostics["signed"][row], total.detach(), atol=1e-6)
    theirs = captum.attr.LayerGradCam(model, model[2]).attribute(x, target=target, relu_attributions=True)
    assert torch.allclose(found.native, theirs[:, 0], atol=1e-6)


def test_gradcam_reads_a_layer_before_an_in_place_relu_overwrites_it() -> None:
    x = images(2)
    maps = [
        make_explainer("gradcam", layer="2", signed=True)
        .attribute(x, class_score(small_cnn(inplace=inplace), 1, space="logit"), constant(0.0))
        .native
        for inplace in (False, True)
    ]
    assert torch.equal(*maps)
    assert (maps[0] < 0).any()


def test_an_all_zero_gradcam_is_a_legal_answer_and_is_said() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with torch.no_grad():
        model[0].weight.fill_(-1.0)
    found = make_explainer("gradcam").attribute(images(1, 1), class_score(model, 0, space="logit"), constant(0.0))
    assert found.diagnostics["all_nonpositive"].tolist() == [True]
    assert (found.values == 0).all()


class Tokens(nn.Module):
    """A network whose layer returns a class token and 3 x 2 patch tokens of 4 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, 4, 4, stride=4)
        self.block = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
        return self.head(self.block(tokens).relu().mean(dim=1))


def test_gradcam_reads_tokens_where_their_grid_is_told() -> None:
    torch_seed = seed(0)
    model = Tokens().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch_seed))
    x, score = images(2, 1, (12, 8)), class_score(model, 0, space="logit")
    found = make_explainer("gradcam", layer="block", tokens=(3, 2)).attribute(x, score, constant(0.0))
    assert found.native.shape == (2, 3, 2)
    with pytest.raises(OptionError, match="tokens"):
        make_explainer("gradcam", layer="block").attribute(x, score, constant(0.0))


@pytest.mark.parametrize(
    ("score", "settings", "words"),
    [
        (lambda x: x.flatten(1).sum(1), {}, "none to be seen"),
        (lambda x: x.flatten(1).sum(1), {"layer": "0"}, "torch module"),
        (class_score(small_cnn(), 0), {"layer": "6"}, "shape"),
        (class_score(nn.Sequential(nn.Flatten(), nn.Linear(360, 2)).eval(), 0), {}, "none to be seen"),
    ],
)
def test_gradcam_says_what_it_cannot_read(score: Any, settings: dict[str, str], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        make_explainer("gradcam", **settings).attribute(images(), score, constant(0.0))


def test_smoothgrad_is_the_mean_gradient_over_noisy_copies() -> None:
    model, x = small_cnn(), images(2)
    score = class_score(model, 2, space="logit")
    found = make_explainer("smoothgrad", samples=4, noise=0.3).attribute(
        x, score, constant(0.0), generator=seed(3), max_batch=5
    )
    generator, total = seed(3), torch.zeros_like(x)
    for _ in range(4):
        noise = torch.randn(x.shape[1:], generator=generator)
        for row in range(2):
            point = (x[row] + 0.3 * (x[row].max() - x[row].min()) * noise)[None].requires_grad_()
            (gradient,) = torch.autograd.grad(model(point)[0, 2], point)
            total[row] += gradient[0] / 4
    assert torch.allclose(found.values, total.abs().sum(dim=1), atol=1e-6)


def test_rise_masks_are_those_of_the_paper() -> None:
    """s x s cells enlarged bilinearly to s + 1 cell widths and cropped at a shift of less than one cell."""
    config = RISEConfig(masks=20, cells=5, p=0.4)
    masks = draw_masks(config, (17, 12), seed(1))
    built = masks.build(torch.arange(20))
    assert built.shape == (20, 1, 17, 12)
    for k in range(20):
        large = functional.interpolate(
            masks.cells[k][None, None], size=(6 * math.ceil(17 / 5), 6 * math.ceil(12 / 5)), mode="bilinear"
        )
        top, left = masks.shifts[k].tolist()
        assert torch.allclose(built[k, 0], large[0, 0, top : top + 17, left : left + 12], atol=1e-5)
    many = draw_masks(RISEConfig(masks=4000), (16, 16), seed(2)).build(torch.arange(4000))
    assert float((many.mean(dim=0) - 0.5).abs().max()) < 0.05


@pytest.mark.parametrize("form", ["mean", "centred"])
def test_rise_is_the_weighted_mean_or_the_slope_written_out(form: str) -> None:
    model, x, b = small_cnn(), images(2), images(2, seed=4)
    score = class_score(model, torch.tensor([1, 2]), space="logit")
    found = make_explainer("rise", masks=60, cells=3, form=form).attribute(
        x, score, other(b), generator=seed(8), max_batch=11
    )
    masks = draw_masks(RISEConfig(masks=60, cells=3), (12, 10), seed(8)).build(torch.arange(60)).double()
    f = torch.stack([score((x * m + b * (1 - m)).float()).detach() for m in masks]).double()
    m = masks[:, 0]
    for row in range(2):
        weighted = f[:, row, None, None]
        if form == "mean":
            wanted = (weighted * m).sum(0) / m.sum(0)
            error = ((weighted - wanted).square() * m.square()).sum(0).sqrt() / m.sum(0)
        else:
            centred = m - m.mean(0)
            wanted = (centred * weighted).mean(0) / centred.square().mean(0)
            rest = weighted - weighted.mean(0) - wanted * centred
            error = (rest.square().mean(0) / centred.square().mean(0) / 60).sqrt()
        assert torch.allclose(found.values[row].double(), wanted, atol=1e-5)
        assert torch.allclose(found.diagnostics["half_width"][row].double(), 1.959964 * error, atol=1e-5)


def test_rise_intervals_hold_what_they_say_and_borders_are_not_biased() -> None:
    """A score that shows how much of a linear image is left: the true mean given a pixel is known from many masks."""
    x = torch.ones(1, 1, 8, 8)

    def score(points: Tensor) -> Tensor:
        return points[:, 0, :3, :3].mean(dim=(1, 2))

    truth = make_explainer("rise", masks=40_000, cells=4).attribute(
        x, score, constant(0.0), generator=seed(0), max_batch=4000
    )
    held = []
    for number in range(1, 31):
        found = make_explainer("rise", masks=400, cells=4).attribute(x, score, constant(0.0), generator=seed(number))
        held.append(((found.values - truth.values).abs() <= found.diagnostics["half_width"]).float().mean())
    assert 0.90 <= float(torch.stack(held).mean()) <= 0.99
    constant_score = make_explainer("rise", masks=400).attribute(x, lambda p: p.new_ones(len(p)), constant(0.0))
    assert torch.allclose(constant_score.values, torch.ones(1, 8, 8), atol=1e-6), "borders count as much as the middle"


class OnePixel(nn.Module):
    """A policy's stand-in: the logits depend on one pixel."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__()
        self.row, self.column = row, column

    def forward(self, x: Tensor) -> Tensor:
        seen = x[:, 0, self.row, self.column]
        return torch.stack([seen, 1 - seen], dim=1)


@pytest.mark.parametrize("pixel", [(0, 0), (0, 79), (79, 0), (79, 79), (41, 23)])
def test_perturbation_finds_one_pixel_at_every_corner(pixel: tuple[int, int]) -> None:
    """spec-saliency 14.18: 80 x 80 pixels, a probe every 5, at most 3 pixels off."""
    x = torch.zeros(1, 1, 80, 80)
    x[0, 0, pixel[0], pixel[1]] = 1
    found = make_explainer("perturbation").attribute(
        x, class_score(OnePixel(*pixel), 0, space="logit"), gaussian_blur(3.0)
    )
    assert found.native.shape == (1, 16, 16)
    peak = divmod(int(found.values.flatten().argmax()), 80)
    assert math.dist(peak, pixel) <= 3


def test_perturbation_is_the_published_actor_and_critic_saliency_written_out() -> None:
    policy = small_policy((1, 24, 20))
    x, hidden = images(1, 1, (24, 20)), torch.randn(1, 6, generator=seed(0))
    blurred = gaussian_blur(3.0)(x)
    for kind, which in (("half_sq", 0), ("value_half_sq", 1)):
        score = distance_score(policy, x, hidden=hidden, kind=kind)  # type: ignore[arg-type]
        found = make_explainer("perturbation", stride=6).attribute(x, score, gaussian_blur(3.0), max_batch=6)
        before = policy_step(policy, x, hidden)[which]
        for i in range(4):
            for j in range(4):
                down = torch.exp(-(torch.arange(24) - (i + 0.5) * 6 + 0.5).square() / 50)
                across = torch.exp(-(torch.arange(20) - (j + 0.5) * 5 + 0.5).square() / 50)
                spot = down[:, None] / down.max() * across[None, :] / across.max()
                after = policy_step(policy, x * (1 - spot) + blurred * spot, hidden)[which]
                assert before is not None and after is not None
                wanted = 0.5 * (before - after).square().sum()
                assert float(found.native[0, i, j]) == pytest.approx(float(wanted.detach()), abs=1e-6)
        assert (found.native >= 0).all() and not found.diagnostics["flat"].any()


def test_the_state_counts_and_a_frame_that_is_ignored_is_said_to_be_flat() -> None:
    """spec-saliency 14.17."""
    policy = small_policy((1, 24, 24))
    x = images(2, 1, (24, 24))
    explainer = make_explainer("perturbation", stride=6)
    state = torch.ones(2, 6)
    with_state = explainer.attribute(x, distance_score(policy, x, hidden=state), gaussian_blur(3.0))
    without = explainer.attribute(x, distance_score(policy, x), gaussian_blur(3.0))
    assert not torch.allclose(with_state.values, without.values)
    assert torch.equal(state, torch.ones(2, 6))
    with torch.no_grad():
        policy.cell.weight_ih.zero_()
    blind = explainer.attribute(x, distance_score(policy, x, hidden=state), gaussian_blur(3.0))
    assert (blind.values == 0).all() and blind.diagnostics["flat"].all() and not blind.explainable.any()
    sarfa = explainer.attribute(x, sarfa_score(policy, x, 1, hidden=state), gaussian_blur(3.0))
    assert (sarfa.values == 0).all() and sarfa.diagnostics["flat"].all()


def test_sarfa_maps_come_from_the_same_probes() -> None:
    policy = small_policy((1, 24, 24), seed=2)
    x = images(3, 1, (24, 24))
    action = policy_step(policy, x, policy.initial_state(3))[0].argmax(1)
    found = make_explainer("perturbation", stride=6).attribute(x, sarfa_score(policy, x, action), gaussian_blur(3.0))
    assert (found.values >= -1e-6).all() and (found.values <= 1).all()
    assert not found.diagnostics["flat"].all()


def test_probes_keep_their_batches_and_give_exact_zeros_under_every_limit() -> None:
    model, x = small_cnn(1), images(5, 1, (20, 20))
    x[:, :, :4] = 0

    def corner(points: Tensor) -> Tensor:
        return model(points[:, :, 10:, 10:])[:, 0]

    for limit in (1, 3, 64):
        meter = Meter(corner, max_batch=limit)
        found = make_explainer("occlusion", size=4).attribute(x, corner, constant(0.0), max_batch=limit)
        assert found.largest_batch <= limit and meter.n_forward == 0
        assert (found.values[:, :6, :6] == 0).all()
        assert (found.values[:, 12:, 12:] != 0).any()


def test_captums_own_methods_are_captums() -> None:
    model, x = small_cnn(), images(3)
    target = torch.tensor([0, 3, 1])
    score = class_score(model, target, space="logit")
    gradient = captum.attr.Saliency(model).attribute(x.clone().requires_grad_(), target=target)
    found = make_explainer("captum").attribute(x, score, constant(0.0), max_batch=2)
    assert torch.allclose(found.native, gradient, atol=1e-6) and found.largest_batch == 2
    product = make_explainer("captum", attribution="input_x_gradient").attribute(x, score, constant(0.0))
    theirs = captum.attr.InputXGradient(model).attribute(x.clone().requires_grad_(), target=target)
    assert torch.allclose(product.native, theirs, atol=1e-6)


def test_a_missing_captum_is_said_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "captum.attr", None)
    with pytest.raises(MissingToolError, match="pip install"):
        make_explainer("captum").attribute(images(), class_score(small_cnn(), 0), constant(0.0))
