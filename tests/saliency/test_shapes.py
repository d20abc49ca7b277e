"""Planted pictures: what each task draws, that parts do not touch, and that nothing but the cause tells the class."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.glyphs import LETTERS, letter
from moorelens.saliency.shapes import CAUSES, CLASSES, TASKS, Shapes, Task, classes_of, make_shapes

COUNT = 200


def drawn(task: Task, *, count: int = COUNT, seed: int = 0, size: int = 56, p_spurious: float = 0.0) -> Shapes:
    generator = torch.Generator().manual_seed(seed)
    return make_shapes(count, generator=generator, task=task, size=size, p_spurious=p_spurious)


def least_distance(one: Tensor, other: Tensor) -> float:
    """The least distance of two masks (H, W) between the middles of their pixels: every pair is looked at."""
    return float(torch.cdist(torch.nonzero(one).float(), torch.nonzero(other).float()).min())


def cells_of(mask: Tensor) -> int:
    """The transcription: bit 7 * row + column where any pixel of the cell of 8 x 8 is set, at a side of 56."""
    found = 0
    for row in range(7):
        for column in range(7):
            if mask[8 * row : 8 * row + 8, 8 * column : 8 * column + 8].any():
                found |= 1 << (7 * row + column)
    return found


@pytest.mark.parametrize("task", TASKS)
def test_a_picture_shows_its_parts_and_nothing_else(task: Task) -> None:
    shapes = drawn(task)
    assert shapes.x.shape == shapes.background.shape == (COUNT, 3, 56, 56)
    assert shapes.x.min() >= 0 and shapes.x.max() <= 1
    assert set(shapes.parts) == {*CAUSES[task], "distractors"} | ({"tag"} if task == "watermark" else set())
    covered = torch.stack(list(shapes.parts.values())).sum(dim=0)
    assert covered.max() == 1, "no two parts overlap"
    assert not ((shapes.x != shapes.background).any(dim=1) & (covered == 0)).any()
    assert torch.equal(shapes.truth, torch.stack([shapes.parts[name] for name in CAUSES[task]]).any(dim=0))
    assert torch.equal((shapes.x != shapes.erased).any(dim=1) & ~shapes.truth, torch.zeros_like(shapes.truth))
    assert torch.equal(shapes.erased, shapes.without(*CAUSES[task]))
    assert torch.equal(shapes.without(*shapes.parts), shapes.background)
    assert shapes.y.min() == 0 and shapes.y.max() == len(classes_of(task)) - 1


@pytest.mark.parametrize("task", TASKS)
def test_objects_lie_apart_and_share_no_cell(task: Task) -> None:
    shapes = drawn(task, count=60)
    for row in range(60):
        masks = [part[row] for part in shapes.parts.values()]
        for index, mask in enumerate(masks):
            for other in masks[:index]:
                assert least_distance(mask, other) >= 10
        cells = [cells_of(mask) for mask in masks]
        assert sum(cells) == cells[0] | cells[1] | (cells[2] if len(cells) > 2 else 0)
        assert shapes.cells[row] == cells_of(shapes.truth[row])
        assert shapes.cells_of("distractors")[row] == cells_of(shapes.parts["distractors"][row])


@settings(max_examples=15, deadline=None)
@given(task=st.sampled_from(TASKS), seed=st.integers(0, 10**6), size=st.integers(40, 90), count=st.integers(1, 5))
def test_any_size_and_seed(task: Task, seed: int, size: int, count: int) -> None:
    shapes, again = (drawn(task, seed=seed, size=size, count=count) for _ in range(2))
    assert shapes.x.shape == (count, 3, size, size)
    assert torch.equal(shapes.x, again.x) and torch.equal(shapes.y, again.y) and shapes.cells == again.cells
    assert torch.stack(list(shapes.parts.values())).sum(dim=0).max() == 1
    assert all(part.flatten(1).any(dim=1).all() for part in shapes.parts.values())
    for name in CAUSES[task]:
        pairs = zip(shapes.cells_of(name), shapes.cells_of("distractors"), strict=True)
        # A side that 7 does not divide has cells of up to a pixel more than 8 / 56 of it.
        assert size % 7 or not any(one & other for one, other in pairs)


def test_another_seed_is_another_picture() -> None:
    assert not torch.equal(drawn("single").x, drawn("single", seed=1).x)


@pytest.mark.parametrize("task", TASKS)
def test_classes_are_equally_frequent(task: Task) -> None:
    shapes = drawn(task, count=1000, size=40)
    classes = len(classes_of(task))
    counts = torch.bincount(shapes.y, minlength=classes).double()
    expected = 1000 / classes
    assert float(((counts - expected) ** 2 / expected).sum()) < 30, "chi-squared, at most 7 degrees of freedom"


@pytest.mark.parametrize("task", ["single", "or", "and", "xor", "thin"])
def test_colours_sizes_and_places_do_not_tell_the_class(task: Task) -> None:
    """Means by class agree within what chance allows: 4.5 standard errors, for some fifty comparisons."""
    shapes = drawn(task, count=1500, size=40)
    truth = shapes.truth[:, None]
    colour = (shapes.x * truth).flatten(2).sum(dim=2) / truth.flatten(2).sum(dim=2)
    told = torch.cat([colour, shapes.meta["centres"].flatten(1), shapes.meta["radii"]], dim=1).double()
    for number in range(len(classes_of(task))):
        rows = shapes.y == number
        error = told.std(dim=0) / rows.sum().sqrt()
        assert ((told[rows].mean(dim=0) - told.mean(dim=0)).abs() < 4.5 * error).all()


def test_or_shows_the_class_twice() -> None:
    shapes = drawn("or")
    assert torch.equal(shapes.meta["kinds"][:, 0], shapes.y) and torch.equal(shapes.meta["kinds"][:, 1], shapes.y)
    for row, (one, other) in enumerate(zip(shapes.cells_of("first"), shapes.cells_of("second"), strict=True)):
        assert one and other and not one & other, "two disjoint sets of cells"
        assert shapes.cells[row] == one | other


def test_and_and_xor_need_both() -> None:
    """One glyph of the pair leaves the class open: given it, each class it allows is equally frequent."""
    both, odd = drawn("and", count=1000, size=40), drawn("xor", count=2000, size=40)
    first, second = both.meta["kinds"][:, 0], both.meta["kinds"][:, 1] - 2
    assert torch.equal(both.y, 2 * first + second)
    assert classes_of("and")[1] == "disc + cross" and CLASSES[int(both.meta["kinds"][0, 1])] in ("triangle", "cross")
    pair = odd.meta["kinds"][:, 0] + odd.meta["kinds"][:, 1] - 2
    assert torch.equal(odd.y, pair % 2)
    for column in (0, 1):
        for kind in odd.meta["kinds"][:, column].unique():
            share = odd.y[odd.meta["kinds"][:, column] == kind].double().mean()
            assert abs(float(share) - 0.5) < 0.05


@pytest.mark.parametrize("p", [0.0, 0.5, 0.95, 1.0])
def test_the_letter_of_a_watermark_agrees_as_often_as_asked(p: float) -> None:
    shapes = drawn("watermark", count=2000, size=40, p_spurious=p)
    agrees = float((shapes.meta["tag"] == shapes.y).double().mean())
    assert agrees == pytest.approx(p + (1 - p) / 4, abs=0.04)
    assert torch.bincount(shapes.meta["tag"]).min() > 400, "letters are equally frequent"


def test_a_letter_is_drawn_as_it_is_read() -> None:
    shapes = drawn("watermark")
    assert shapes.parts["tag"][:, 2:14, 2:14].all() and int(shapes.parts["tag"][0].sum()) == 144
    assert set(shapes.cells_of("tag")) == {0b110000011}, "the letter lies in the four cells of the corner"
    for row in range(20):
        shown = shapes.x[row, :, 2:14, 2:14]
        assert torch.equal(shown, letter(int(shapes.meta["tag"][row]), 4).float().expand(3, -1, -1))
    letters = {tuple(letter(kind, 1).flatten().tolist()) for kind in range(len(LETTERS))}
    assert len(letters) == len(CLASSES)


def test_thin_strokes_are_at_most_two_pixels_thick() -> None:
    """No 3 x 3 block is filled where a single stroke passes; where two meet, at most a few pixels are."""
    shapes, thick = drawn("thin"), drawn("single")
    for part in ("glyph", "distractors"):
        filled = [
            torch.nn.functional.avg_pool2d(found.parts[part][:, None].float(), 3, stride=1).ge(0.999).sum(dim=(1, 2, 3))
            for found in (shapes, thick)
        ]
        assert filled[0].max() <= 4 and filled[0].float().mean() < 0.5
        if part == "glyph":
            assert filled[1].min() > 10
    assert (shapes.truth.flatten(1).sum(dim=1) >= 15).all()


def test_attributes_are_independent_and_make_the_class() -> None:
    shapes = drawn("attributes", count=2000, size=40)
    found = shapes.meta["attributes"].double()
    assert torch.equal(shapes.y, (found @ torch.tensor([1.0, 2.0, 4.0], dtype=torch.double)).long())
    correlation = torch.corrcoef(found.T) - torch.eye(3, dtype=torch.double)
    assert correlation.abs().max() < 0.09
    assert classes_of("attributes")[5] == "square not warm striped"
    red_over_blue = ((shapes.x[:, 0] - shapes.x[:, 2]) * shapes.truth).flatten(1).sum(dim=1) > 0
    assert torch.equal(red_over_blue, shapes.meta["attributes"][:, 1])


def test_what_cannot_be_drawn_is_refused() -> None:
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(OptionError, match="'nand' is none"):
        make_shapes(1, generator=generator, task="nand")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="p_spurious"):
        make_shapes(1, generator=generator, task="watermark", p_spurious=1.5)
    with pytest.raises(OptionError, match="with the task 'watermark'"):
        make_shapes(1, generator=generator, p_spurious=0.5)
    with pytest.raises(OptionError, match="room for three"):
        make_shapes(1, generator=generator, task="or", size=30, scale=1.0)
    with pytest.raises(OptionError, match="room for three"):
        make_shapes(0, generator=generator)
    with pytest.raises(OptionError, match="first, second, distractors"):
        drawn("or", count=1).without("tag")
