"""Rules say when a branch is taken: found where planted, worded briefly, and never better than they are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from moorelens.errors import InvariantError
from moorelens.fsm.predicates import Clause, StateRules, branch_rules, round_between, rule_texts

NAMES = ("cart position", "pole angle", "left leg down")
Floats = npt.NDArray[np.float32]


def planted(rule: npt.NDArray[np.int64], x: Floats, *, state: int = 3) -> StateRules:
    found = branch_rules(x, np.full(len(x), state), rule, feature_names=NAMES)
    return found[state]


def features(n: int = 600, *, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(n, 3))
    x[:, 2] = rng.integers(0, 2, size=n)
    return x.astype(np.float32)


def test_one_threshold_is_found_and_said_in_one_condition() -> None:
    x = features()
    rules = planted(np.where(x[:, 1] > 0.03, 7, 5), x)
    assert (rules.depth, rules.validated) == (1, True)
    assert rules.accuracy > 0.98
    low, high = rules.rule(5), rules.rule(7)
    assert low is not None and high is not None
    assert low.text == high.text.replace(">", "\u2264")
    assert high.text.startswith("pole angle > 0.0")
    assert (low.coverage, low.precision, high.coverage, high.precision) == (1.0, 1.0, 1.0, 1.0)


def test_a_band_is_said_as_one_condition_with_two_ends() -> None:
    x = features()
    rules = planted(np.where(np.abs(x[:, 0]) < 0.5, 1, 0), x)
    inside, outside = rules.rule(1), rules.rule(0)
    assert inside is not None and outside is not None
    assert inside.text.count("<") == 1 and inside.text.count("\u2264") == 1
    assert " or " in outside.text
    assert outside.coverage == pytest.approx(1.0, abs=0.02)


def test_a_feature_that_is_zero_or_one_is_said_so() -> None:
    x = features()
    rules = planted(x[:, 2].astype(np.int64), x)
    assert [rule.text for rule in rules.rules] == ["left leg down = 0", "left leg down = 1"]


def test_two_features_are_joined_by_and() -> None:
    x = features(2000)
    rules = planted(np.where((x[:, 0] > 0) & (x[:, 1] > 0), 1, 0), x)
    rule = rules.rule(1)
    assert rule is not None
    assert rule.text.count(" and ") == 1
    assert rules.accuracy > 0.97


def test_where_nothing_decides_the_accuracy_says_so() -> None:
    x = features()
    noise = np.random.default_rng(1).integers(0, 2, size=len(x))
    rules = planted(noise, x)
    assert rules.depth == 1
    assert abs(rules.accuracy - 0.5) < 0.1
    assert rules.majority == pytest.approx(max(np.mean(noise), 1 - np.mean(noise)))


def test_a_rare_branch_counts_as_missed_and_gets_no_rule() -> None:
    x = features(100)
    target = np.where(x[:, 1] > 0, 1, 0)
    target[:3] = 9
    rules = planted(target, x)
    assert rules.rule(9) is None
    assert rules.accuracy <= 0.97


def test_a_state_with_one_frequent_branch_has_no_rules() -> None:
    x = features(50)
    target = np.zeros(50, dtype=np.int64)
    assert branch_rules(x, np.zeros(50), target, feature_names=NAMES) == {}
    target[0] = 1
    assert branch_rules(x, np.zeros(50), target, feature_names=NAMES) == {}


def test_states_do_not_share_rules_and_texts_are_by_branch() -> None:
    x = features()
    states = np.arange(len(x)) % 2
    targets = np.where(states == 0, x[:, 0] > 0, x[:, 1] > 0).astype(np.int64)
    found = branch_rules(x, states, targets, feature_names=NAMES, units=("m", "rad", ""))
    texts = rule_texts(found)
    assert set(texts) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert texts[0, 1].startswith("cart position >") and texts[0, 1].endswith(" m")
    assert texts[1, 1].startswith("pole angle >") and texts[1, 1].endswith(" rad")


def test_the_same_data_gives_the_same_rules() -> None:
    x = features()
    target = np.where(x[:, 0] + x[:, 1] > 0.3, 1, 0)
    assert planted(target, x) == planted(target, x)


def transcribed(clauses: tuple[Clause, ...], row: Floats) -> bool:
    """The definition of a rule, one observation at a time."""
    return any(
        all(
            (c.low is None or row[c.feature] > np.float32(c.low))
            and (c.high is None or row[c.feature] <= np.float32(c.high))
            for c in clause
        )
        for clause in clauses
    )


@settings(max_examples=25)
@given(st.integers(0, 40))
def test_coverage_and_precision_are_what_they_say(seed: int) -> None:
    x = features(120, seed=seed)
    rng = np.random.default_rng(seed)
    target = (x[:, 0] * rng.normal() + x[:, 1] * rng.normal() > rng.normal() * 0.2).astype(np.int64)
    found = branch_rules(x, np.zeros(len(x)), target, feature_names=NAMES)
    assume(found)
    for rule in found[0].rules:
        holds = np.array([transcribed(rule.clauses, row) for row in x])
        mine = target == rule.target
        assert rule.coverage == pytest.approx(np.mean(holds[mine]))
        assert rule.precision == pytest.approx(np.mean(mine[holds]))


@given(st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=30), st.data())
def test_rounding_a_threshold_moves_hardly_an_observation(values: list[float], data: st.DataObject) -> None:
    x = np.unique(np.asarray(values, dtype=np.float32))
    assume(len(x) > 1)
    place = data.draw(st.integers(0, len(x) - 2))
    threshold = (float(x[place]) + float(x[place + 1])) / 2
    assume(x[place] <= threshold < x[place + 1])
    rounded = round_between(threshold, x)
    moved = np.mean((x <= np.float32(rounded)) != (x <= threshold))
    assert moved <= 0.005 or rounded == threshold
    assert len(repr(rounded)) <= len(repr(threshold)) + 2


def test_a_rule_that_is_mostly_wrong_is_not_given() -> None:
    rng = np.random.default_rng(0)
    x = features(2000)
    rare = (x[:, 1] > 0.2) & (rng.random(len(x)) < 0.02)
    rules = planted(np.where(rare, 1, 0), x)
    assert rules.rule(1) is None
    assert all(rule.precision >= 0.5 and rule.text for rule in rules.rules)


def test_a_threshold_is_as_short_as_the_data_allow() -> None:
    assert round_between(0.0314, np.array([0.01, 0.05], dtype=np.float32)) == 0.03
    dense = np.linspace(0, 1, 1001, dtype=np.float32)
    assert round_between(0.33341, dense) == 0.33
    assert round_between(12.7, np.array([1.0, 30.0], dtype=np.float32)) == 10.0


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    x = features(10)
    with pytest.raises(InvariantError, match="one observation, source and target"):
        branch_rules(x, np.zeros(9), np.zeros(10), feature_names=NAMES)
    with pytest.raises(InvariantError, match="a name for each feature"):
        branch_rules(x, np.zeros(10), np.zeros(10), feature_names=("x",))
    x[0, 0] = np.nan
    with pytest.raises(InvariantError, match="finite"):
        branch_rules(x, np.zeros(10), np.zeros(10), feature_names=NAMES)
