"""Causal curves: exact areas, fair ties, and parts of any shape."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.curves import causal_curve, flip_area, rank_parts, ranks_of
from moorelens.saliency.meter import Meter
from moorelens.saliency.patches import PatchGrid
from tests.saliency.models import images, kept_share


def test_areas_are_those_of_the_closed_form_where_steps_do_not_divide_the_pixels() -> None:
    """spec-saliency 14.4. 7 x 9 = 63 pixels; the first 18 in the order are the part that counts.

    Deleted in that order the score falls linearly from 1 to 0 at fraction 18/63 and stays there: area 9/63. Inserted
    it rises linearly to 1 by then: area 1 - 9/63. With 7 steps there is an edge at 18/63 exactly.
    """
    image = images(1, 3, (7, 9))
    part = torch.zeros(7, 9, dtype=torch.bool)
    part[:2] = True
    score = kept_share(image, part)
    order = torch.arange(63)[None]
    for steps in (7, 63, 200):
        deleted = causal_curve(image, image + 1, score, order=order, steps=steps)
        inserted = causal_curve(image, image + 1, score, order=order, steps=steps, mode="insertion")
        assert float(deleted.auc) == pytest.approx(9 / 63, abs=1e-6)
        assert float(inserted.auc) == pytest.approx(1 - 9 / 63, abs=1e-6)
        assert float(deleted.auc_norm) == pytest.approx(9 / 63, abs=1e-6)
    # 50 steps do not divide 63 pixels: every edge is a true fraction, so only the kink's own step is off.
    uneven = causal_curve(image, image + 1, score, order=order, steps=50)
    assert uneven.x[0].tolist() == pytest.approx([round(63 * k / 50) / 63 for k in range(51)])
    edges = [round(63 * k / 50) for k in range(51)]
    exact = sum((b - a) / 63 * (max(0, 1 - a / 18) + max(0, 1 - b / 18)) / 2 for a, b in pairwise(edges))
    assert float(uneven.auc) == pytest.approx(exact, abs=1e-6)


def test_a_constant_score_of_one_has_an_area_of_exactly_one() -> None:
    image = images(2, 3, (7, 7))
    for steps in (1, 7, 50):
        curve = causal_curve(image, image * 0, lambda x: x.new_ones(len(x)), saliency=image.mean(1), steps=steps)
        assert curve.auc.tolist() == [1.0, 1.0]
        assert curve.auc_norm.isnan().all(), "there is no gap to scale by"


def test_a_constant_map_scores_like_a_random_order_and_not_like_the_raster() -> None:
    """spec-saliency 14.5. The score counts the upper half only, which a raster order would delete first."""
    image = images(1, 1, (10, 10))
    part = torch.zeros(10, 10, dtype=torch.bool)
    part[:5] = True
    score = kept_share(image, part)

    def area(order: Tensor) -> float:
        return float(causal_curve(image, image + 1, score, order=order[None]).auc)

    generator = torch.Generator().manual_seed(0)
    random = torch.tensor([area(torch.randperm(100, generator=generator)) for _ in range(200)])
    constant = causal_curve(image, image + 1, score, saliency=torch.ones(1, 10, 10))
    assert abs(float(constant.auc) - float(random.mean())) < 3 * float(random.std())
    assert abs(area(torch.arange(100)) - float(random.mean())) > 3 * float(random.std())


def test_a_ranking_is_stable_under_its_seed_and_the_same_whatever_the_batch() -> None:
    tied = (images(3, 1)[:, 0] * 3).round()
    seed = torch.Generator().manual_seed
    order = rank_parts(tied, generator=seed(1))
    assert torch.equal(order, rank_parts(tied, generator=seed(1)))
    assert torch.equal(order[:1], rank_parts(tied[:1], generator=seed(1)))
    assert not torch.equal(order, rank_parts(tied, generator=seed(2)))
    ranked = tied.flatten(1).gather(1, order)
    assert (ranked[:, :-1] >= ranked[:, 1:]).all()
    assert torch.equal(order.gather(1, ranks_of(order)), torch.arange(120).expand(3, -1))


def test_patches_move_as_a_whole_and_count_by_their_area() -> None:
    labels = torch.tensor([[0, 0, 0], [1, 2, 2]])
    grid = PatchGrid(labels=labels)
    x = torch.ones(1, 1, 2, 3)
    saliency = torch.tensor([[[1.0, 1, 1], [9, 5, 5]]])
    curve = causal_curve(x, x * 0, lambda p: p.sum(dim=(1, 2, 3)), saliency=saliency, grid=grid, steps=10)
    assert curve.x[0].tolist() == pytest.approx([0, 1 / 6, 3 / 6, 1])
    assert curve.y[0].tolist() == [6, 5, 3, 0]


def test_vectors_have_curves_too_and_batches_stay_small() -> None:
    x = torch.tensor([[1.0, 2.0, 4.0], [4.0, 1.0, 0.5]])
    meter = Meter(lambda p: p.sum(dim=1), max_batch=3)
    curve = causal_curve(x, x * 0, meter, saliency=x)
    assert curve.y.tolist() == [[7, 3, 1, 0], [5.5, 1.5, 0.5, 0]]
    assert (meter.largest_batch, meter.n_forward) == (3, 8)


def test_the_least_area_that_changes_a_decision() -> None:
    x = torch.tensor([[3.0, 2.0, 1.0, 0.0], [9.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])

    def decide(points: Tensor) -> Tensor:
        return (points.sum(dim=1) > 2).long()

    found = flip_area(x, x * 0, decide, saliency=x)
    assert found[:2].tolist() == [0.5, 0.25] and found[2].isnan()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "pass one"),
        ({"saliency": torch.ones(1, 3), "order": torch.arange(3)[None]}, "pass one"),
        ({"saliency": torch.ones(1, 2)}, "resolution of the input"),
        ({"saliency": torch.ones(1, 3), "mode": "sideways"}, "deletion or an insertion"),
        ({"saliency": torch.full((1, 3), torch.nan)}, "NaN"),
        ({"saliency": torch.ones(1, 3), "grid": PatchGrid.features(4)}, "covers its input"),
    ],
)
def test_a_curve_that_cannot_be_drawn_is_refused(options, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(OptionError, match=words):
        causal_curve(torch.ones(1, 3), torch.zeros(1, 3), lambda p: p.sum(dim=1), **options)
