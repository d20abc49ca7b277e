"""A digest is equal for equal values and different for different ones."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorelens.errors import InvariantError
from moorelens.runs.hashing import digest, digest_bytes


class Point(msgspec.Struct, frozen=True):
    x: int
    y: int


class Place(msgspec.Struct, frozen=True):
    x: int
    y: int


DIFFERENT: list[Any] = [
    None,
    True,
    1,
    1.0,
    "1",
    b"1",
    [1],
    [[1]],
    [1, 1],
    ["ab", "c"],
    ["a", "bc"],
    {"a": 1},
    {"a": 2},
    {"b": 1},
    {},
    [],
    "",
    b"",
    np.array([1, 2]),
    np.array([1.0, 2.0]),
    np.array([[1, 2]]),
    np.array([1, 2], dtype=np.int8),
    np.array([], dtype=np.int8),
    Point(1, 2),
    Point(2, 1),
    Place(1, 2),
    {"x": 1, "y": 2},
    float("nan"),
    0.0,
    -0.0,
]


def test_different_values_have_different_digests() -> None:
    assert len({digest(value) for value in DIFFERENT}) == len(DIFFERENT)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([1, 2], (1, 2)),
        (np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))),
        (np.arange(4, dtype="<i4"), np.arange(4, dtype=">i4")),
        (np.arange(8)[::2], np.array([0, 2, 4, 6])),
        (np.float64(0.5), 0.5),
        (b"x", bytearray(b"x")),
        (float("nan"), float("nan")),
    ],
)
def test_equal_values_have_equal_digests(one: Any, other: Any) -> None:
    assert digest(one) == digest(other)


@pytest.mark.parametrize("value", [{1, 2}, object(), np.array([object()])])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(InvariantError):
        digest(value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(VALUES, min_size=2, max_size=6))
def test_digests_are_equal_exactly_where_values_are(values: list[Any]) -> None:
    for one, other in itertools.combinations(values, 2):
        assert (digest(one) == digest(other)) == (_typed(one) == _typed(other))


def test_bytes_have_their_plain_sha256() -> None:
    assert digest_bytes(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def _typed(value: Any) -> Any:
    if isinstance(value, dict):
        return ("dict", frozenset((key, _typed(inner)) for key, inner in value.items()))
    if isinstance(value, list):
        return ("list", tuple(_typed(inner) for inner in value))
    return (type(value).__name__, value)
