"""What a set shows, what it is worth, and how often the model is asked."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from moorelens.errors import OptionError
from moorelens.saliency.baselines import constant, gaussian_blur, mean_colour, noise, other
from moorelens.saliency.masks import MaskOperator
from moorelens.saliency.patches import PatchGrid
from moorelens.saliency.scores import class_score
from moorelens.saliency.sets.exact import exact_mse
from moorelens.saliency.sets.functions import sufficient
from moorelens.saliency.sets.guide import ends_guide, explainer_guide, map_guide
from moorelens.saliency.sets.search import find_mse
from moorelens.saliency.sets.segments import object_grid, superpixel_grid
from moorelens.saliency.sets.values import SetValue, class_value
from tests.saliency.models import Linear, PatchOr, small_cnn
from tests.saliency.sets.set_functions import alternatives, bits


def picture(height: int = 21, width: int = 28, channels: int = 3, seed: int = 0) -> Tensor:
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(seed))


class Spy(nn.Module):
    """A classifier that notes what it is shown."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.clone())
        out: Tensor = self.inner(x)
        return out


@pytest.mark.parametrize("patch", [0, 3, 17, 41])
def test_a_patch_is_a_patch(patch: int) -> None:
    """Only the pixels inside the box of the one patch that is shown come from the image; the rest is baseline."""
    x, grid = picture(30, 45), PatchGrid.regular(6, 7, (30, 45))
    v = SetValue(x, class_score(small_cnn().eval(), 0), constant(0.25), grid)
    shown = v.shown([1 << patch])[0]
    top, left, bottom, right = grid.boxes()[patch]
    inside = torch.zeros(30, 45, dtype=torch.bool)
    inside[top:bottom, left:right] = True
    assert torch.equal(shown[:, inside], x[0][:, inside])
    assert bool((shown[:, ~inside] == 0.25).all())


def test_values_are_those_of_the_pictures_and_each_set_is_shown_once() -> None:
    x, grid = picture(), PatchGrid.regular(3, 4, (21, 28))
    spy = Spy(small_cnn().eval())
    v = SetValue(x, class_score(spy, 1), gaussian_blur(), grid, max_batch=7)
    sets = [0, 5, 77, 5, grid.full, 1, 1, 3, 9, 12, 13, 14]
    values = v(sets)
    assert v.n_evals == v.n_forward == sum(len(batch) for batch in spy.seen) == 10
    assert max(len(batch) for batch in spy.seen) == 7
    v(sets)
    assert v.n_forward == 10
    alone = class_score(small_cnn().eval(), 1)(v.shown(sets))
    torch.testing.assert_close(values.float(), alone, atol=1e-6, rtol=0)
    assert torch.equal(v.shown([grid.full])[0], x[0])


def test_under_several_baselines_a_set_has_the_least_value() -> None:
    x, grid = picture(), PatchGrid.regular(3, 4, (21, 28))
    score = class_score(Linear((3, 21, 28), 3, torch.Generator().manual_seed(2)).eval(), 2, space="logit")
    baselines = [other(picture(seed=1)), other(picture(seed=2)), mean_colour()]
    v = SetValue(x, score, baselines, grid)
    sets = [*range(0, 4096, 61), grid.full]
    each = torch.stack([SetValue(x, score, one, grid)(sets) for one in baselines])
    torch.testing.assert_close(v(sets), each.amin(dim=0), atol=1e-4, rtol=0)
    assert len(set(each.argmin(dim=0).tolist())) > 1
    torch.testing.assert_close(score(v.shown(sets)).double(), v(sets), atol=1e-4, rtol=0)
    assert v.n_forward == len(sets) * 3 and v.full > 0
    for p_high in (0.2, 0.5, 0.9):
        assert torch.equal(sufficient(v, sets, p_high), (each >= p_high * v.full).all(dim=0))


def test_noise_is_drawn_once_and_from_the_generator() -> None:
    x, grid = picture(), PatchGrid.regular(3, 4, (21, 28))
    model = small_cnn().eval()
    state = torch.get_rng_state()

    def values(seed: int) -> Tensor:
        return SetValue(x, class_score(model, 0), noise(0.3), grid, generator=torch.Generator().manual_seed(seed))(
            range(50)
        )

    assert torch.equal(values(1), values(1))
    assert not torch.equal(values(1), values(2))
    assert torch.equal(torch.get_rng_state(), state)


class TwoClasses(nn.Module):
    """Class 0 where the first patch is lit, class 1 the more, the more of the others are."""

    def __init__(self, grid: PatchGrid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        lit = self.grid.means(x.mean(dim=1))
        first, second = lit[:, 0], 2.0 * (1 - lit[:, 1])
        return torch.stack([first, second, torch.zeros_like(first)], dim=1)


def test_keep_class_asks_for_the_class_on_top() -> None:
    """Without the second patch another class wins, although the score of the first stays."""
    x, grid = torch.ones(1, 3, 4, 8), PatchGrid.regular(2, 4, (4, 8))
    module = TwoClasses(grid).eval()
    score = class_score(module, 0, space="logit")
    margin = class_score(module, 0, space="margin")
    plain = SetValue(x, score, constant(0.0), grid)
    kept = SetValue(x, score, constant(0.0), grid, keep=margin)
    assert exact_mse(plain) == {bits(0)} == {mse.bits for mse in find_mse(plain).found}
    assert exact_mse(kept) == {bits(0, 1)} == {mse.bits for mse in find_mse(kept).found}
    assert kept.n_forward < 2 * kept.n_evals  # the second score is asked of candidates only


def test_class_value_scores_the_probability_or_the_margin() -> None:
    x, grid = torch.ones(1, 3, 4, 8), PatchGrid.regular(2, 4, (4, 8))
    module = TwoClasses(grid).eval()
    margin = class_value(module, x, 0, constant(0.0), grid, score="margin")
    prob = class_value(module, x, 0, constant(0.0), grid, keep_class=True)
    assert margin.full == 1.0 and margin([bits(0)])[0] == -1.0
    assert prob.full == pytest.approx(torch.tensor([1.0, 0.0, 0.0]).softmax(0)[0].item())
    assert find_mse(prob).found[0].bits == bits(0, 1)
    with pytest.raises(OptionError, match="another answer"):
        find_mse(class_value(module, x, 2, constant(0.0), grid, score="margin"))


def test_features_of_a_vector_are_patches() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]])
    v = SetValue(x, lambda rows: rows[:, 1] * rows[:, 3], constant(0.0), PatchGrid.features(5))
    assert {mse.bits for mse in find_mse(v).found} == {bits(1, 3)}
    assert torch.equal(v.shown([bits(1, 3)]), torch.tensor([[0.0, 2.0, 0.0, 4.0, 0.0]]))


def test_a_patch_or_network_has_every_bright_patch_as_a_reason() -> None:
    grid = PatchGrid.regular(7, 7, (28, 28))
    x = torch.zeros(1, 1, 28, 28)
    for top, left in ((0, 0), (8, 20), (24, 24)):
        x[..., top : top + 4, left : left + 4] = 1.0
    model = PatchOr(grid)
    v = SetValue(x, model, constant(0.0), grid)
    assert {mse.patches for mse in find_mse(v).found} == {(0,), (19,), (48,)}


def test_an_operator_is_taken_as_a_baseline_if_it_is_of_the_same_input() -> None:
    x, grid = picture(), PatchGrid.regular(3, 4, (21, 28))
    score = class_score(small_cnn().eval(), 0)
    operator = MaskOperator(x=x, baseline=constant(0.5)(x))
    assert torch.equal(SetValue(x, score, operator, grid)(range(9)), SetValue(x, score, constant(0.5), grid)(range(9)))
    with pytest.raises(OptionError, match="another"):
        SetValue(x + 1, score, operator, grid)


@pytest.mark.parametrize(
    ("x", "grid"),
    [
        (torch.zeros(2, 3, 8, 8), PatchGrid.regular(2, 2, (8, 8))),
        (torch.zeros(1, 3, 8, 9), PatchGrid.regular(2, 2, (8, 8))),
        (torch.zeros(1, 8), PatchGrid.regular(2, 2, (8, 8))),
        (torch.zeros(1, 1, 1, 8), PatchGrid.features(8)),
        (torch.full((1, 8), torch.nan), PatchGrid.features(8)),
        (torch.zeros(1, 8, dtype=torch.int64), PatchGrid.features(8)),
    ],
)
def test_inputs_that_do_not_fit_are_refused(x: Tensor, grid: PatchGrid) -> None:
    with pytest.raises(OptionError):
        SetValue(x, lambda rows: rows.flatten(1).sum(1), constant(0.0), grid)


def test_the_default_guide_puts_what_matters_first() -> None:
    v = alternatives({4, 17, 30}, count=49)
    order = torch.argsort(ends_guide(v), descending=True, stable=True)
    assert set(order[:3].tolist()) == {4, 17, 30}
    assert v.n_evals == 2 + 2 * 49


def test_a_heat_map_ranks_patches_by_its_mean_over_each() -> None:
    grid = PatchGrid.regular(2, 2, (4, 6))
    heat = torch.zeros(4, 6)
    heat[2:, 3:] = 1.0
    heat[0, 0] = 1.0
    expected = torch.tensor([1 / 6, 0, 0, 1], dtype=torch.float64)
    torch.testing.assert_close(map_guide(heat, grid), expected)
    torch.testing.assert_close(map_guide(heat[None], grid), expected)
    torch.testing.assert_close(
        map_guide(torch.tensor([3.0, 1.0]), PatchGrid.features(2)), torch.tensor([3.0, 1.0]).double()
    )
    with pytest.raises(OptionError, match="heat map"):
        map_guide(heat[:3], grid)


def test_an_explainer_can_lead_the_search() -> None:
    grid = PatchGrid.regular(7, 7, (28, 28))
    x = torch.zeros(1, 1, 28, 28)
    x[..., 8:12, 20:24] = 1.0
    v = SetValue(x, PatchOr(grid), constant(0.0), grid)
    assert int(explainer_guide(v, "occlusion").argmax()) == 2 * 7 + 5


def test_superpixels_are_connected_follow_colour_and_repeat() -> None:
    from scipy import ndimage

    image = torch.zeros(3, 40, 60)
    image[0, 10:30, 20:40] = 1.0
    image += 0.02 * torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0))
    grid = superpixel_grid(image, 24)
    assert torch.equal(grid.labels, superpixel_grid(image, 24).labels)
    assert 12 <= grid.count <= 24
    for patch in range(grid.count):
        assert ndimage.label(grid.labels.numpy() == patch)[1] == 1
    square = torch.zeros(40, 60, dtype=torch.bool)
    square[10:30, 20:40] = True
    shares = grid.means(square[None].float())[0]
    assert bool(((shares < 0.1) | (shares > 0.9)).all())


@pytest.mark.parametrize("count", [0, 1000])
def test_superpixels_of_a_number_that_cannot_be(count: int) -> None:
    with pytest.raises(OptionError, match="superpixel"):
        superpixel_grid(torch.zeros(3, 20, 20), count)


def test_a_plain_image_is_cut_too() -> None:
    assert superpixel_grid(torch.zeros(1, 20, 20), 16).count == 16


def test_objects_are_patches_and_what_is_hidden_is_refused() -> None:
    masks = torch.zeros(2, 6, 6, dtype=torch.bool)
    masks[0, :2, :2] = True
    masks[1, 3:, 3:] = True
    grid = object_grid(masks)
    assert grid.count == 3 and grid.labels[0, 0] == 1 and grid.labels[5, 5] == 2 and grid.labels[0, 5] == 0
    with pytest.raises(OptionError, match="covered"):
        object_grid(masks[[0, 0]])
    with pytest.raises(OptionError, match="bool"):
        object_grid(masks.float())
