"""The most typical observation is the one with the least summed distance to the others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorelens.errors import InvariantError
from moorelens.fsm.medoids import LIMIT, medoid


def transcribed(rows: list[list[float]]) -> list[float]:
    return [sum(float(np.linalg.norm(np.subtract(a, b))) for b in rows) for a in rows]


@given(st.lists(st.lists(st.integers(-9, 9), min_size=2, max_size=2), min_size=1, max_size=20))
def test_no_other_row_is_nearer_to_all(rows: list[list[float]]) -> None:
    sums = transcribed(rows)
    chosen = medoid(np.array(rows))
    assert sums[chosen] == pytest.approx(min(sums))
    assert chosen == next(place for place, value in enumerate(sums) if value <= min(sums) + 1e-9)


def test_units_do_not_decide_where_a_scale_is_given() -> None:
    rows = np.array([[0.0, 0.0], [1000.0, 0.0], [2000.0, 9.0], [1000.0, 1.0], [1000.0, 0.4]])
    assert medoid(rows, scale=[1000.0, 1.0]) == 4
    assert medoid(rows, scale=[0.0, 1.0]) == 4


def test_a_large_common_offset_costs_no_digits() -> None:
    rows = np.array([[0.0], [0.1], [0.2]]) + 1e6
    assert medoid(rows) == 1


def test_frames_are_compared_pixel_by_pixel() -> None:
    frames = np.zeros((3, 1, 80, 80), dtype=np.uint8)
    frames[0, 0, :5] = 255
    frames[2, 0, 0, 0] = 9
    assert medoid(frames) == 2


def test_of_very_many_rows_an_even_selection_is_compared() -> None:
    rows = np.linspace(0, 1, 10 * LIMIT)[:, None]
    assert abs(rows[medoid(rows)][0] - 0.5) < 0.01


def test_nothing_recorded_has_no_example() -> None:
    with pytest.raises(InvariantError, match="at least one"):
        medoid(np.zeros((0, 4)))
