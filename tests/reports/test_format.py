"""Numbers are written for readers and never say more, or something else, than was measured."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorelens.reports.format import (
    MINUS,
    MISSING,
    count,
    feature,
    listed,
    number,
    plural,
    seed_range,
    share,
    signed,
    span,
    times,
)

FINITE = st.floats(min_value=-1e12, max_value=1e12, allow_nan=False)


def read(text: str) -> float:
    return float(text.replace("\u202f", "").replace(MINUS, "-").removesuffix("%"))


@given(FINITE)
def test_a_number_reads_back_to_a_few_percent(value: float) -> None:
    assert math.isclose(read(number(value)), value, rel_tol=0.06, abs_tol=1e-12)


@given(FINITE)
def test_a_feature_reads_back_to_four_decimals_and_never_in_powers_of_ten(value: float) -> None:
    assert "e" not in feature(value)
    assert math.isclose(read(feature(value)), value, rel_tol=0.01, abs_tol=0.5e-4)


@given(st.floats(min_value=0, max_value=1))
def test_a_share_reads_as_none_or_all_only_if_it_is(value: float) -> None:
    assert (share(value) == "0\u202f%") == (value == 0)
    assert (share(value) == "100\u202f%") == (value == 1)


@pytest.mark.parametrize(
    ("value", "text"),
    [(500, "500"), (500.0, "500"), (487.35, "487.4"), (-0.52, f"{MINUS}0.52"), (8.3, "8.3"), (6947, "6\u202f947")],
)
def test_numbers_have_the_decimals_that_matter(value: float, text: str) -> None:
    assert number(value) == text


def test_nothing_measured_is_not_zero() -> None:
    assert number(None) == share(None) == count(None) == signed(None) == MISSING
    assert span(None, None) == "\u2013"


def test_both_ends_of_an_interval_have_the_same_decimals() -> None:
    assert span(0.8012, 35.66) == "0.8 to 35.7"
    assert span(-4.93, 25.33) == f"{MINUS}4.9 to 25.3"
    assert span(0.951, 0.977, as_share=True) == "95.1\u202f% to 97.7\u202f%"


def test_words_follow_the_number() -> None:
    assert (plural(1, "state"), plural(0, "state"), plural(2, "policy", "policies")) == (
        "1 state", "0 states", "2 policies",
    )  # fmt: skip
    assert (times(1), times(2), times(17)) == ("once", "twice", "17 times")
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"], last="or") == "a, b or c"


def test_seeds_are_counted_and_runs_shortened() -> None:
    assert seed_range([]) == "none"
    assert seed_range([0, 1, 2, 3, 8, 9]) == "6 (0\u20133, 8, 9)"
    assert seed_range([0, 2, 4, 6, 8]).endswith(", \u2026)")
