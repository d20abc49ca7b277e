"""The search for minimal sufficient sets against enumeration, and what it may cost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.sets.exact import exact_mse
from moorelens.saliency.sets.functions import SetFunction
from moorelens.saliency.sets.search import find_mse, known_sets
from tests.saliency.sets.set_functions import additive, alternatives, bits, minimal_by_definition, of, table


def random_values(seed: int, *, count: int, monotone: bool) -> Tensor:
    """Random v on all sets with v(all) = 1 and v(nothing) = 0; monotone: no set is below one of its subsets."""
    values = torch.rand(1 << count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if monotone:
        index = torch.arange(1 << count)
        sizes = sum((index >> patch & 1) for patch in range(count))
        values = values.pow(2) * sizes / count
        for patch in range(count):
            inside = (index >> patch & 1).bool()
            values[inside] = torch.maximum(values[inside], values[index[inside] ^ (1 << patch)])
    values[0], values[-1] = 0.0, 1.0
    return values


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), monotone=st.booleans(), single=st.booleans(), p_high=st.sampled_from([0.5, 0.9]))
def test_exact_enumeration_is_the_definition(seed: int, monotone: bool, single: bool, p_high: float) -> None:
    v = table(random_values(seed, count=7, monotone=monotone))
    found = exact_mse(v, p_high=p_high, minimal="single" if single else "subset")
    assert found == minimal_by_definition(v, p_high, single=single)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), monotone=st.booleans(), p_high=st.sampled_from([0.4, 0.7, 0.9]))
def test_what_is_found_on_3_by_4_patches_is_certified_and_minimal(seed: int, monotone: bool, p_high: float) -> None:
    v = table(random_values(seed, count=12, monotone=monotone))
    truth = exact_mse(v, p_high=p_high)
    search = find_mse(v, p_high=p_high)
    assert search.found and not search.vacuous and not search.exhausted
    assert {mse.minimal for mse in search.found} == {"subset"}
    assert {mse.bits for mse in search.found} <= truth
    assert all(mse.value == float(v([mse.bits])[0]) >= p_high for mse in search.found)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), monotone=st.booleans())
def test_uncertified_sets_are_labelled_and_no_single_patch_can_go(seed: int, monotone: bool) -> None:
    v = table(random_values(seed, count=12, monotone=monotone))
    search = find_mse(v, p_high=0.8, certify=0)
    single = exact_mse(v, p_high=0.8, minimal="single")
    assert all(mse.bits in single for mse in search.found)
    assert all(mse.minimal == "single" or mse.size <= 2 for mse in search.found)


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), monotone=st.booleans(), p_high=st.sampled_from([0.6, 0.9]))
def test_a_beam_that_holds_every_set_finds_every_minimal_set(seed: int, monotone: bool, p_high: float) -> None:
    v = table(random_values(seed, count=8, monotone=monotone))
    search = find_mse(v, p_high=p_high, beam=1000, q=None, max_roots=1000)
    assert {mse.bits for mse in search.found} == exact_mse(v, p_high=p_high)


def test_or_returns_every_single_patch() -> None:
    v = of(lambda patches: float(bool(patches)), count=12)
    search = find_mse(v, max_roots=12)
    assert {mse.bits for mse in search.found} == {1 << patch for patch in range(12)}


def test_and_returns_exactly_one_set() -> None:
    v = of(lambda patches: float({2, 5, 7, 11} <= patches), count=12)
    search = find_mse(v)
    assert [mse.patches for mse in search.found] == [(2, 5, 7, 11)]
    assert search.found[0].minimal == "subset"


def test_xor_ends() -> None:
    v = of(lambda patches: float(len(patches) % 2), count=11)
    assert {mse.size for mse in find_mse(v, max_roots=50).found} == {1}


def test_a_certificate_replaces_a_set_that_no_single_removal_betrays() -> None:
    """{0, 1, 2} holds, none of its pairs does, and yet {1} alone does: greedy removal never sees it."""
    good = {bits(0, 1, 2), bits(1), 0b1111}
    v = table(torch.tensor([1.0 if chosen in good else 0.1 for chosen in range(16)]))
    guide = torch.tensor([1.0, -5.0, 1.0, 0.0])
    uncertified = find_mse(v, guide=guide, q=1, beam=1, certify=0)
    assert all(mse.size != 1 for mse in uncertified.found)
    assert find_mse(v).found[0].bits == bits(1)


def test_shrinking_takes_the_removal_that_keeps_most() -> None:
    """From {0, 1, 2} both {1, 2} and {0, 2} suffice; the better one is kept whatever the order of the patches."""
    values = torch.zeros(8, dtype=torch.float64)
    values[bits(0, 1, 2)], values[bits(1, 2)], values[bits(0, 2)] = 1.0, 0.91, 0.95
    v = table(values)
    # q = 1 leads straight up to the full set, which then is shrunk.
    search = find_mse(v, guide=[3, 2, 1], q=1, beam=1)
    assert [mse.patches for mse in search.found] == [(0, 2)]


def test_the_beam_does_not_collapse() -> None:
    """On an additive function of 49 patches, `beam` DISTINCT sets are extended at level 4; nothing is asked twice."""
    generator = torch.Generator().manual_seed(3)
    weights = torch.rand(49, generator=generator).tolist()
    asked: list[list[int]] = []
    inner = additive(weights)

    def spy(sets: Sequence[int]) -> Tensor:
        asked.append(list(sets))
        return inner(sets)

    beam, q, levels = 15, 10, 5
    v = SetFunction(spy, count=49)
    search = find_mse(v, beam=beam, q=q, max_size=levels, guide=weights)
    flat = [chosen for batch in asked for chosen in batch]
    assert len(flat) == len(set(flat)) == v.n_evals == search.n_evaluated
    assert len(flat) <= 2 + levels * beam * q
    best = sorted((chosen for chosen in flat if chosen.bit_count() == 4), key=lambda chosen: -float(v([chosen])[0]))
    parents = set(best[:beam])
    extended = [chosen for chosen in flat if chosen.bit_count() == 5]
    assert all(any(parent & chosen == parent for parent in parents) for chosen in extended)
    used = {parent for parent in parents if any(parent & chosen == parent for chosen in extended)}
    assert len(used) == beam


def test_supersets_of_what_was_found_are_not_evaluated() -> None:
    asked: list[int] = []
    inner = alternatives({3}, {5, 6, 7}, count=20)

    def spy(sets: Sequence[int]) -> Tensor:
        asked.extend(sets)
        return inner(sets)

    search = find_mse(SetFunction(spy, count=20), guide=range(20), q=None)
    assert {mse.patches for mse in search.found} == {(3,), (5, 6, 7)}
    assert not [chosen for chosen in asked if chosen >> 3 & 1 and 1 < chosen.bit_count() < 20]


def test_disjoint_reasons_are_found_in_order_of_size_and_value() -> None:
    v = alternatives({0, 1}, {10, 11, 12}, {20}, count=25)
    search = find_mse(v)
    assert [mse.patches for mse in search.found] == [(20,), (0, 1), (10, 11, 12)]
    assert [mse.relative for mse in search.found] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("constant", [0.0, 0.7, -2.0])
def test_a_constant_score_is_vacuous(constant: float) -> None:
    v = of(lambda _: constant, count=49)
    search = find_mse(v)
    assert search.vacuous and search.found == () and search.n_evaluated == 2


def test_a_baseline_that_already_suffices_is_vacuous() -> None:
    search = find_mse(of(lambda patches: 0.95 + 0.05 * (len(patches) == 9), count=9))
    assert search.vacuous and search.empty == 0.95 and search.full == 1.0


def test_a_negative_score_of_the_whole_is_refused() -> None:
    for empty in (-2.0, 3.0):
        with pytest.raises(OptionError, match="share of a positive score"):
            find_mse(of(lambda patches, empty=empty: -1.0 if patches else empty, count=4))  # type: ignore[misc]


@pytest.mark.parametrize("budget", [2, 10, 30, 60, 100, 140, 10_000])
def test_a_budget_is_never_exceeded_and_what_it_ends_is_said(budget: int) -> None:
    v = alternatives({0, 1, 2}, {7, 8, 9, 10}, {13, 14, 3}, count=20)
    search = find_mse(v, budget=budget, guide=range(20))
    assert search.n_evaluated == v.n_evals <= budget
    assert search.exhausted == (budget < 10_000)
    truth = {bits(0, 1, 2), bits(7, 8, 9, 10), bits(13, 14, 3)}
    assert {mse.bits for mse in search.found} <= truth
    if budget == 10_000:
        assert {mse.bits for mse in search.found} == truth and search.unfinished == 0


def test_a_budget_that_ends_while_a_set_shrinks_drops_it() -> None:
    found = []
    for budget in range(2, 160, 3):
        v = of(lambda patches: float(len(patches) >= 6), count=8)
        found.append(find_mse(v, budget=budget))
    assert any(search.unfinished for search in found)
    assert all(mse.size == 6 for search in found for mse in search.found)


def test_sets_known_otherwise_are_labelled_so() -> None:
    v = alternatives({0, 1}, count=4)
    search = known_sets(v, [bits(0, 1), bits(0, 1, 2)])
    assert [(mse.patches, mse.minimal) for mse in search.found] == [((0, 1), "unchecked"), ((0, 1, 2), "unchecked")]


def test_the_same_request_gives_the_same_answer() -> None:
    values = random_values(7, count=12, monotone=False)
    assert find_mse(table(values)) == find_mse(table(values))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"p_high": 0.0}, "p_high"),
        ({"p_high": 1.1}, "p_high"),
        ({"beam": 0}, "beam"),
        ({"q": 0}, "q is"),
        ({"max_size": 0}, "max_size"),
        ({"max_roots": 0}, "max_roots"),
        ({"budget": 1}, "budget"),
        ({"certify": -1}, "certify"),
        ({"guide": [1.0, 2.0]}, "guide"),
        ({"guide": [float("nan")] * 4}, "guide"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        find_mse(of(lambda patches: float(len(patches)), count=4), **wrong)  # type: ignore[arg-type]


def test_enumeration_has_a_limit() -> None:
    with pytest.raises(OptionError, match="find_mse"):
        exact_mse(of(lambda patches: 1.0, count=17))


def test_a_set_of_another_grid_and_a_value_that_is_none_are_refused() -> None:
    v = of(lambda patches: float("nan") if 3 in patches else 0.0, count=4)
    with pytest.raises(OptionError, match="another grid"):
        v([16])
    with pytest.raises(OptionError, match="finite"):
        v([8])
    with pytest.raises(OptionError, match="at least one patch"):
        SetFunction(lambda sets: torch.zeros(len(sets)), count=0)
