"""Shifted copies of games: what counts as one, and what does not."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from moorelens.envs.copies import shifted_copies
from moorelens.envs.rollouts import Rollouts


def games(*sequences: list[int]) -> Rollouts:
    """Episodes that show the given frame numbers."""
    seen = sorted({number for sequence in sequences for number in sequence})
    flat = [seen.index(number) for sequence in sequences for number in sequence]
    n = len(sequences)
    return Rollouts(
        frames=np.array(seen, dtype=np.uint8).reshape(-1, 1, 1, 1),
        frame_index=np.array(flat, dtype=np.int32),
        actions=np.zeros(len(flat), dtype=np.int32),
        rewards=np.zeros(len(flat)),
        offsets=np.cumsum([0, *map(len, sequences)]).astype(np.int64),
        terminated=np.ones(n, dtype=bool),
        truncated=np.zeros(n, dtype=bool),
        seeds=np.arange(n),
    )


FIT = games(list(range(100)), list(range(100, 160)))


def test_the_same_game_begun_later_is_a_copy() -> None:
    assert shifted_copies(games(list(range(7, 100))), of=FIT).tolist() == [True]


def test_the_same_game_begun_earlier_is_a_copy() -> None:
    waited = [200, 201, 202, *range(100, 160)]
    assert shifted_copies(games(waited), of=FIT).tolist() == [True], "three other frames before it"


def test_a_game_that_parts_from_it_is_new() -> None:
    parted = [*range(50), *range(200, 250)]
    other = [*range(80), 251, *range(81, 100)]
    assert shifted_copies(games(parted, other), of=FIT).tolist() == [False, False]


def test_each_game_is_judged_for_itself() -> None:
    found = shifted_copies(games(list(range(100)), [9, 8, 7], list(range(105, 160))), of=FIT)
    assert found.tolist() == [True, False, True]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_it_is_what_the_definition_says(game: list[int], other: list[int]) -> None:
    """Nine tenths of the shorter one, counted from the end without a gap."""
    shared = 0
    for one, two in zip(reversed(game), reversed(other), strict=False):
        if one != two:
            break
        shared += 1
    expected = shared >= 0.9 * min(len(game), len(other))
    assert shifted_copies(games(game), of=games(other)).tolist() == [expected]
