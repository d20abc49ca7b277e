"""Scores against a known truth, beside their definitions written out pixel by pixel."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.localisation import area_of, auroc_pixels, average_ranks, iou_at_area, mass_in, pointing_game


def coarse(seed: int) -> tuple[Tensor, Tensor]:
    """A map with many ties, and a truth that is neither empty nor everything."""
    generator = torch.Generator().manual_seed(seed)
    saliency = torch.randint(-2, 4, (3, 4, 5), generator=generator).float()
    truth = torch.rand(3, 4, 5, generator=generator) < 0.4
    truth[:, 0, 0], truth[:, 3, 4] = True, False
    return saliency, truth


@given(st.integers(0, 200))
def test_scores_follow_their_definitions(seed: int) -> None:
    saliency, truth = coarse(seed)
    found = [score(saliency, truth) for score in (pointing_game, mass_in, auroc_pixels)]
    for row in range(3):
        values, inside = saliency[row].flatten().tolist(), truth[row].flatten().tolist()
        peaks = [hit for value, hit in zip(values, inside, strict=True) if value == max(values)]
        assert float(found[0][row]) == pytest.approx(sum(peaks) / len(peaks))
        mass = [max(value, 0.0) for value in values]
        wanted = sum(m for m, hit in zip(mass, inside, strict=True) if hit) / sum(mass)
        assert float(found[1][row]) == pytest.approx(wanted)
        pairs = [
            1.0 if a > b else 0.5 if a == b else 0.0
            for a, hit in zip(values, inside, strict=True)
            for b, other in zip(values, inside, strict=True)
            if hit and not other
        ]
        assert float(found[2][row]) == pytest.approx(sum(pairs) / len(pairs))


def test_overlap_counts_ties_at_the_threshold_by_their_chance() -> None:
    truth = torch.tensor([[[True, True, False, False]]])
    assert float(iou_at_area(torch.tensor([[[4.0, 3, 2, 1]]]), truth)) == 1
    assert float(iou_at_area(torch.tensor([[[1.0, 2, 3, 4]]]), truth)) == 0
    # 4 is in for certain; of three ties one is drawn, in the truth with chance 1/3: 4/3 of 2 pixels are common.
    assert float(iou_at_area(torch.tensor([[[4.0, 1, 1, 1]]]), truth)) == pytest.approx((4 / 3) / (4 - 4 / 3))


def test_a_map_that_knows_nothing_scores_what_chance_scores() -> None:
    truth = torch.zeros(1, 20, 20, dtype=torch.bool)
    truth[0, 3:9, 4:14] = True
    flat = torch.ones(1, 20, 20)
    assert float(pointing_game(flat, truth)) == pytest.approx(float(area_of(truth)))
    assert float(mass_in(flat, truth)) == pytest.approx(60 / 400)
    assert float(auroc_pixels(flat, truth)) == 0.5
    assert mass_in(flat * 0, truth).isnan().all()


def test_a_near_miss_counts_where_a_tolerance_is_given() -> None:
    saliency, truth = torch.zeros(1, 9, 9), torch.zeros(1, 9, 9, dtype=torch.bool)
    saliency[0, 4, 6], truth[0, 4, 4] = 1, True
    assert [float(pointing_game(saliency, truth, tolerance=t)) for t in (0, 1, 2)] == [0, 0, 1]


def test_ranks_share_ties() -> None:
    assert average_ranks(torch.tensor([[3.0, 1, 3, 2]])).tolist() == [[3.5, 1, 3.5, 2]]


def test_maps_and_truth_must_fit() -> None:
    with pytest.raises(OptionError, match="enlarge the map"):
        mass_in(torch.ones(1, 3, 3), torch.ones(1, 2, 2, dtype=torch.bool))
    with pytest.raises(OptionError, match="pass truth"):
        mass_in(torch.ones(1, 2, 2), torch.ones(1, 2, 2))
