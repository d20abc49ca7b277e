"""Images of any layout and range become pictures that can be compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from moorelens.pipelines.frames import as_bytes, coloured, grey

RNG = np.random.default_rng(0)


def bytes_of(*shape: int) -> Any:
    return RNG.integers(0, 256, size=shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("shape", "picture"),
    [
        ((7, 9), (7, 9)),
        ((1, 7, 9), (7, 9)),
        ((3, 7, 9), (7, 9, 3)),
        ((4, 7, 9), (7, 9)),
        ((7, 9, 3), (7, 9, 3)),
        ((7, 9, 1), (7, 9)),
    ],
)
def test_every_layout_becomes_a_picture(shape: tuple[int, ...], picture: tuple[int, ...]) -> None:
    frame = bytes_of(*shape)
    assert coloured(frame).shape == picture
    assert grey(frame).shape == picture[:2]
    assert coloured(frame).dtype == grey(frame).dtype == np.uint8


def test_one_channel_is_shown_as_it_is_and_several_by_their_mean() -> None:
    frame = bytes_of(1, 5, 6)
    assert np.array_equal(grey(frame), frame[0])
    stack = bytes_of(4, 5, 6)
    assert all(abs(int(grey(stack)[y, x]) - stack[:, y, x].mean()) <= 0.5 for y in range(5) for x in range(6))
    colour = bytes_of(3, 5, 6)
    assert np.array_equal(coloured(colour)[2, 4], colour[:, 2, 4])


def test_bytes_stay_and_numbers_are_stretched_alike() -> None:
    frame = bytes_of(1, 5, 6)
    assert as_bytes(frame, frame)[1] is frame
    first, second = np.array([[0.0, 0.5]], np.float32), np.array([[0.5, 1.0]], np.float32)
    dark, bright = as_bytes(first, second)
    assert (dark.tolist(), bright.tolist()) == ([[0, 128]], [[128, 255]])
    assert as_bytes(first * 0)[0].tolist() == [[0, 0]]
