"""Cross-testing shows the cells of one model's map to another, and the matrix depends on nothing but that."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.studies.crosstest import CrossTest, Judge, cross_test, random_maps

SIDE = 8


def looks_at(*cells: tuple[int, int]) -> Tensor:
    """Weights (8, 8) of a model that adds up these pixels."""
    weights = torch.zeros(SIDE, SIDE)
    for row, column in cells:
        weights[row, column] = 1 / len(cells)
    return weights


MODELS = {"top": looks_at((0, 0), (0, 1)), "bottom": looks_at((7, 6), (7, 7)), "both": looks_at((0, 0), (7, 7))}


def judge(name: str, weights: Tensor, *, count: int = 3) -> Judge:
    def score(x: Tensor) -> Tensor:
        return (x[:, 0] * weights).sum(dim=(1, 2))

    x = torch.ones(count, 1, SIDE, SIDE)
    return Judge(name=name, score=score, x=x, baseline=torch.zeros_like(x))


def crossed(names: list[str], **settings: object) -> CrossTest:
    judges = [judge(name, MODELS[name]) for name in names]
    maps = {name: MODELS[name].expand(3, SIDE, SIDE) for name in names}
    return cross_test(judges, maps, side=SIDE, **settings)  # type: ignore[arg-type]


def test_the_curve_is_what_the_tester_says_of_the_exact_pictures() -> None:
    """Written out: at each share the top cells, one by one, are moved and the model is asked."""
    generator = torch.Generator().manual_seed(3)
    maps = torch.rand(3, SIDE, SIDE, generator=generator)
    weights = torch.rand(SIDE, SIDE, generator=generator)
    one = judge("one", weights)
    for mode in ("insertion", "deletion"):
        found = cross_test([one], {"any": maps}, mode=mode, fractions=(0.1, 0.25), side=SIDE)
        assert found.x.tolist() == [0, 6 / 64, 16 / 64, 1]
        for row, (point, count) in [(r, pc) for r in range(3) for pc in enumerate((0, 6, 16, 64))]:
            order = maps[row].flatten().argsort(descending=True)
            shown = torch.zeros(64) if mode == "insertion" else torch.ones(64)
            shown[order[:count]] = 1.0 if mode == "insertion" else 0.0
            assert float(found.y[0, 0, row, point]) == pytest.approx(float((shown * weights.flatten()).sum()), rel=1e-5)
        x, y = found.x, found.y[0, 0]
        areas = sum((y[:, i] + y[:, i + 1]) / 2 * (x[i + 1] - x[i]) for i in range(3))
        assert torch.allclose(found.area[0, 0], areas)


def test_a_model_gets_more_from_its_own_map_than_from_chance() -> None:
    """Spec test 22."""
    judges = [judge(name, weights) for name, weights in MODELS.items()]
    maps = {name: weights.expand(3, SIDE, SIDE) for name, weights in MODELS.items()}
    maps["random"] = random_maps(3, SIDE, (SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    inserted = cross_test(judges, maps, side=SIDE).area.mean(dim=2)
    deleted = cross_test(judges, maps, side=SIDE, mode="deletion").area.mean(dim=2)
    for column in range(3):
        assert inserted[column, column] >= inserted[3, column]
        assert deleted[column, column] <= deleted[3, column]
    assert inserted[0, 1] < inserted[2, 1] < inserted[1, 1]  # "both" serves "bottom" better than "top" does


def test_permuting_the_names_permutes_the_matrix() -> None:
    names = list(MODELS)
    order = [2, 0, 1]
    first, second = crossed(names), crossed([names[i] for i in order])
    assert torch.equal(first.area[order][:, order], second.area)
    assert second.rows == second.columns == tuple(names[i] for i in order)


def test_identical_models_give_equal_rows_and_columns() -> None:
    judges = [judge("first", MODELS["both"]), judge("twin", MODELS["both"])]
    maps = {name: MODELS["both"].expand(3, SIDE, SIDE) for name in ("first", "twin")}
    area = cross_test(judges, maps, side=SIDE).area
    assert torch.equal(area[0], area[1])
    assert torch.equal(area[:, 0], area[:, 1])


def test_coarse_cells_are_moved_as_a_whole() -> None:
    one = judge("one", torch.ones(SIDE, SIDE) / 64)
    found = cross_test([one], {"m": MODELS["top"].expand(3, SIDE, SIDE)}, side=4, fractions=(1 / 16,))
    assert found.x.tolist() == [0, 1 / 16, 1]
    assert found.y[0, 0, 0].tolist() == pytest.approx([0, 4 / 64, 1])


def test_a_constant_map_is_ranked_by_chance_and_the_same_for_everybody() -> None:
    one = judge("one", torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(0)))
    flat = torch.zeros(3, SIDE, SIDE)
    first = cross_test([one], {"a": flat, "b": flat + 1}, side=SIDE, seed=1)
    second = cross_test([one], {"a": flat}, side=SIDE, seed=2)
    assert torch.equal(first.area[0], first.area[1])
    assert not torch.equal(first.y[0], second.y[0])


def test_random_maps_are_those_of_their_generator() -> None:
    made = [random_maps(2, 4, (SIDE, SIDE), generator=torch.Generator().manual_seed(s)) for s in (5, 5, 6)]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert made[0].shape == (2, SIDE, SIDE)
    assert len(torch.unique(made[0][0])) == 16


def test_unlike_sizes_and_shares_are_refused() -> None:
    with pytest.raises(OptionError, match="one size"):
        cross_test([judge("a", MODELS["top"])], {"a": torch.zeros(3, 4, 4)})
    with pytest.raises(OptionError, match="one size"):
        cross_test([judge("a", MODELS["top"])], {"a": torch.zeros(2, SIDE, SIDE)})
    for fractions in ((), (0.0,), (1.5,)):
        with pytest.raises(OptionError, match="Shares"):
            crossed(["top"], fractions=fractions)
