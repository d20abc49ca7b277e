"""Baselines, masks and patches: what is shown, what is hidden, and by what."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moorelens.errors import OptionError
from moorelens.saliency import baselines
from moorelens.saliency.masks import MaskOperator, Upsampler
from moorelens.saliency.patches import PatchGrid
from tests.saliency.models import images


def test_black_reaches_the_model_as_the_normaliser_maps_it_and_hidden_pixels_equal_it_exactly() -> None:
    """spec-saliency 14.3."""
    normalise = baselines.Normaliser((0.5,) * 3, (0.25,) * 3)
    x = normalise(images(2))
    black = baselines.constant(0.0, normalise)(x)
    assert torch.equal(black, torch.full_like(x, -2.0))
    keep = torch.zeros(2, 1, 12, 10)
    keep[:, :, :4] = 1
    shown = MaskOperator(x=x, baseline=black).apply(keep)
    assert torch.equal(shown[:, :, :4], x[:, :, :4])
    assert (shown[:, :, 4:] == -2.0).all()


def test_masks_follow_their_formula_and_swap_exchanges_input_and_baseline() -> None:
    x, b = images(2, seed=1), images(2, seed=2)
    keep = torch.rand(2, 1, 12, 10, generator=torch.Generator().manual_seed(3))
    operator = MaskOperator(x=x, baseline=b)
    assert torch.allclose(operator.apply(keep), x * keep + b * (1 - keep), atol=1e-6)
    assert torch.allclose(operator.apply(keep, swap=True), b * keep + x * (1 - keep), atol=1e-6)
    rows = torch.tensor([1, 1, 0])
    assert torch.equal(operator.apply(keep[rows], rows), operator.apply(keep)[rows])
    vectors = MaskOperator(x=torch.ones(1, 3), baseline=torch.zeros(1, 3))
    assert vectors.apply(torch.tensor([[1.0, 0.0, 0.25]])).tolist() == [[1.0, 0.0, 0.25]]


def test_a_mask_has_a_gradient() -> None:
    x, b = images(1), torch.zeros(1, 3, 12, 10)
    for mode in ("cell", "bilinear"):
        keep = torch.full((1, 1, 4, 5), 0.5, requires_grad=True)
        MaskOperator(x=x, baseline=b, upsampler=Upsampler(mode=mode)).apply(keep).sum().backward()
        assert keep.grad is not None
        assert float(keep.grad.sum()) == pytest.approx(float(x.sum()), rel=1e-4)


@given(rows=st.integers(1, 7), columns=st.integers(1, 7), height=st.integers(7, 15), width=st.integers(7, 15))
def test_the_box_that_is_drawn_is_the_patch_that_is_hidden(rows: int, columns: int, height: int, width: int) -> None:
    """spec-saliency 14.10, for every size: lighting one patch leaves the pixels outside its box untouched."""
    grid = PatchGrid.regular(rows, columns, (height, width))
    patch = (rows * columns) // 2
    top, left, bottom, right = grid.boxes()[patch]
    box = torch.zeros(height, width)
    box[top:bottom, left:right] = 1
    assert torch.equal(grid.keep([1 << patch])[0, 0], box)
    coarse = grid.membership([1 << patch]).float().reshape(1, 1, rows, columns)
    assert torch.equal(Upsampler()(coarse, (height, width))[0, 0], box)


@given(st.lists(st.integers(0, 2**49 - 1), min_size=1, max_size=4))
def test_a_set_is_the_bits_of_a_number(sets: list[int]) -> None:
    grid = PatchGrid.regular(7, 7, (14, 21))
    for chosen, row in zip(sets, grid.membership(sets), strict=True):
        assert row.tolist() == [bool(chosen >> patch & 1) for patch in range(49)]


def test_patches_of_any_shape_and_of_features() -> None:
    segmentation = torch.tensor([[5, 5, 9], [5, 2, 9]])
    grid = PatchGrid.from_labels(segmentation)
    assert grid.labels.tolist() == [[1, 1, 2], [1, 0, 2]]
    assert grid.areas.tolist() == [1, 3, 2]
    assert grid.touched(segmentation == 9) == 0b100
    assert grid.means(segmentation[None].float()).tolist() == [[2.0, 5.0, 9.0]]
    assert PatchGrid.features(3).keep([0b101]).tolist() == [[1.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: PatchGrid.regular(9, 2, (8, 8)), "coarser"),
        (lambda: PatchGrid.regular(2, 2, (8, 8)).membership([16]), "0 to 15"),
        (lambda: PatchGrid(labels=torch.tensor([0, 2])), "without gaps"),
        (lambda: PatchGrid.features(3).boxes(), "vector"),
        (lambda: Upsampler()(torch.ones(1, 1, 9, 9), (8, 8)), "no finer"),
        (lambda: MaskOperator(x=torch.ones(1, 2), baseline=torch.ones(1, 3)), "same shape"),
        (lambda: baselines.gaussian_blur()(torch.ones(1, 4)), "images"),
        (lambda: baselines.gaussian_blur(-1)(images()), "positive sigma"),
        (lambda: baselines.noise(0.1)(images()), "generator"),
        (lambda: baselines.other(torch.ones(3, 2))(torch.ones(2, 2)), "one for each row"),
    ],
)
def test_what_cannot_be_hidden_is_refused_in_one_sentence(build, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(OptionError, match=words):
        build()


def test_a_blur_keeps_a_flat_image_and_commutes_with_the_normaliser() -> None:
    flat = torch.full((1, 3, 9, 13), 0.3)
    assert torch.allclose(baselines.gaussian_blur()(flat), flat, atol=1e-6)
    x, normalise = images(2), baselines.Normaliser((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    blur = baselines.gaussian_blur(2.0)
    assert torch.allclose(blur(normalise(x)), normalise(blur(x)), atol=1e-5)
    assert blur(x).std() < x.std()


def test_what_is_drawn_is_the_same_for_all_rows_and_all_batches() -> None:
    x = images(3)
    for make in (lambda: baselines.noise(0.2), lambda: baselines.dataset_sample(images(5, seed=9))):
        many = make()(x, torch.Generator().manual_seed(4))
        one = make()(x[:1], torch.Generator().manual_seed(4))
        assert torch.equal(many, one.expand_as(many))
        assert not torch.equal(many, make()(x, torch.Generator().manual_seed(5)))


def test_the_mean_colour_is_a_colour_of_the_image() -> None:
    x = images(2)
    found = baselines.mean_colour()(x)
    assert torch.allclose(found[:, :, 0, 0], x.mean(dim=(2, 3)))
    assert found.std(dim=(2, 3)).max() < 1e-6
