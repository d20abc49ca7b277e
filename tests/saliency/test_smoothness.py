"""Roughness of masks, beside slow transcriptions of its definition; spec-saliency 14.12."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from moorelens.saliency.masks import Upsampler
from moorelens.saliency.smoothness import Edges, bilateral_variation, edges_of, total_variation

SMOOTH = Upsampler(mode="bilinear", align_corners=True)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def slow_variation(mask: Tensor, down: Tensor | None = None, across: Tensor | None = None) -> float:
    """Both means, pixel by pixel; steps weigh 1 without weights."""
    height, width = mask.shape
    below = [
        float(mask[i + 1, j] - mask[i, j]) ** 2 * (1 if down is None else float(down[i, j]))
        for i in range(height - 1)
        for j in range(width)
    ]
    beside = [
        float(mask[i, j + 1] - mask[i, j]) ** 2 * (1 if across is None else float(across[i, j]))
        for i in range(height)
        for j in range(width - 1)
    ]
    return sum(below) / max(1, len(below)) + sum(beside) / max(1, len(beside))


@pytest.mark.parametrize("shape", [(5, 7), (1, 6), (6, 1), (1, 1)])
def test_total_variation_is_its_definition(shape: tuple[int, int]) -> None:
    mask = drawn(3, *shape)
    assert total_variation(mask).tolist() == pytest.approx([slow_variation(row) for row in mask], abs=1e-6)
    assert total_variation(drawn(2, 4)).tolist() == [0, 0], "entries of a vector have no neighbours"


def test_edges_are_their_definition() -> None:
    x, sigma = drawn(2, 3, 4, 5), 0.02
    edges = edges_of(x, sigma=sigma)
    assert edges.down.shape == (2, 3, 5) and edges.across.shape == (2, 4, 4)
    between = sum(float(x[1, c, 2, 3] - x[1, c, 1, 3]) ** 2 for c in range(3)) / 3
    assert float(edges.down[1, 1, 3]) == pytest.approx(math.exp(-between / sigma), abs=1e-6)
    between = sum(float(x[0, c, 2, 4] - x[0, c, 2, 3]) ** 2 for c in range(3)) / 3
    assert float(edges.across[0, 2, 3]) == pytest.approx(math.exp(-between / sigma), abs=1e-6)


def test_bilateral_variation_is_its_definition() -> None:
    x, mask = drawn(2, 3, 9, 6), drawn(2, 4, 3, seed=1)
    edges = edges_of(x, sigma=0.1)
    large = SMOOTH(mask[:, None], (9, 6))[:, 0]
    slow = [
        0.5 * (slow_variation(mask[i]) + slow_variation(large[i], edges.down[i], edges.across[i])) for i in range(2)
    ]
    assert bilateral_variation(mask, edges, SMOOTH).tolist() == pytest.approx(slow, abs=1e-6)


def test_an_image_and_its_transpose_weigh_alike() -> None:
    x, mask = drawn(2, 3, 8, 8), drawn(2, 5, 5, seed=1)
    upright = bilateral_variation(mask, edges_of(x, sigma=0.01), SMOOTH)
    turned = bilateral_variation(mask.transpose(1, 2), edges_of(x.transpose(2, 3), sigma=0.01), SMOOTH)
    assert torch.allclose(upright, turned, rtol=1e-5)


def test_channels_that_change_in_opposite_directions_are_an_edge_both_ways() -> None:
    """In the release their mean vanishes, downwards only."""
    x = torch.zeros(1, 2, 6, 6)
    x[:, 0, 3:], x[:, 1, 3:] = 1.0, -1.0
    down, across = edges_of(x, sigma=0.01), edges_of(x.transpose(2, 3), sigma=0.01)
    assert float(down.down[0, 2].max()) < 1e-20 and float(across.across[0, :, 2].max()) < 1e-20


def test_on_a_flat_image_it_is_total_variation_and_across_an_edge_it_is_free() -> None:
    mask = drawn(1, 6, 6)
    flat = bilateral_variation(mask, edges_of(torch.full((1, 3, 6, 6), 0.4), sigma=0.01), SMOOTH)
    assert torch.allclose(flat, total_variation(mask))
    step = torch.zeros(1, 6, 6)
    step[:, :, 3:] = 1.0
    sharp = step[:, None].expand(1, 3, 6, 6)
    enlarged_only = 2 * bilateral_variation(step, edges_of(sharp, sigma=0.01), SMOOTH) - total_variation(step)
    assert float(enlarged_only) == pytest.approx(0, abs=1e-12)


def test_weights_are_selected_by_row() -> None:
    edges = edges_of(drawn(3, 3, 4, 4), sigma=0.1)
    chosen = edges.select(torch.tensor([2, 0]))
    assert isinstance(chosen, Edges) and torch.equal(chosen.down[0], edges.down[2])
    assert torch.equal(chosen.across[1], edges.across[0])
