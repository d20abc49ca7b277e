"""The constructors copy what drawings, decisions and rules say."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from moorelens.reports.build import difference_picture, dwell_bins, feature_example, frame_picture
from moorelens.reports.data import Place, ReportData
from moorelens.reports.figures import action_mark, episode_strip, histogram, returns_plot
from moorelens.reports.svg import clean_svg


@given(st.dictionaries(st.integers(1, 500), st.integers(0, 1000), max_size=20))
def test_a_histogram_loses_no_stay_and_has_no_gap(lengths: dict[int, int]) -> None:
    bins = dwell_bins(lengths)
    assert sum(item.count for item in bins) == sum(lengths.values())
    assert all(first.high + 1 == second.low for first, second in pairwise(bins))


def test_branches_are_ordered_and_their_shares_add_up(cart_pole: ReportData) -> None:
    for decision in cart_pole.decisions:
        assert sum(branch.share for branch in decision.branches) == pytest.approx(1)
        counts = [branch.count for branch in decision.branches]
        assert counts == sorted(counts, reverse=True)
    weights = [decision.weight_bits for decision in cart_pole.decisions]
    assert weights == sorted(weights, reverse=True)


def test_an_example_differs_from_the_other_branch_by_what_it_says() -> None:
    example = feature_example(
        [1.0, -2.0], [0.5, 1.0], feature_names=("x", "y"), place=Place(episode=0, step=3), symbol=7, decisive=[1]
    )
    assert [(value.name, value.value, value.difference, value.decisive) for value in example.values] == [
        ("x", 1.0, 0.5, False), ("y", -2.0, -3.0, True),
    ]  # fmt: skip
    alone = feature_example([1.0], None, feature_names=("x",), place=Place(episode=0, step=0), symbol=0)
    assert alone.values[0].difference is None


def test_a_frame_is_stored_as_it_was_seen() -> None:
    frame = np.arange(80 * 80, dtype=np.uint8).reshape(1, 80, 80)
    picture = frame_picture(frame, alt="seen")
    assert (picture.width, picture.height) == (80, 80)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture.png))), frame[0])
    assert frame_picture(frame, alt="seen") == picture


def test_equal_frames_show_no_colour_and_different_ones_do() -> None:
    frame = np.full((80, 80), 100, dtype=np.uint8)
    other = frame.copy()
    other[10:12, 10:12] = 236
    plain = np.asarray(Image.open(io.BytesIO(difference_picture(frame, frame, alt="").png)))
    assert np.all(plain[..., 0] == plain[..., 2])
    marked = np.asarray(Image.open(io.BytesIO(difference_picture(frame, other, alt="").png)))
    assert np.sum(marked[..., 0] != marked[..., 2]) == 4


def test_the_small_figures_are_clean_drawings(cart_pole: ReportData) -> None:
    marks = {mark.index: mark for mark in cart_pole.actions}
    plot = returns_plot(cart_pole)
    assert plot is not None
    figures = [plot, *(action_mark(mark) for mark in cart_pole.actions)]
    figures += [episode_strip(episode, marks) for episode in cart_pole.episodes]
    figures.append(histogram(dwell_bins({1: 3, 2: 5, 40: 1}), title="Stays"))
    for figure in figures:
        clean_svg(figure)
    assert plot.count("<circle") == sum(len(row.values) for row in cart_pole.seed_returns)
