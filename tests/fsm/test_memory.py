"""Memory indices: what the symbol alone, the clock alone, or a small tree would decide, against slow counting."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from moorelens.fsm.automata.build import build_machine
from moorelens.fsm.automata.codes import write_codes
from moorelens.fsm.automata.folding import fold
from moorelens.fsm.memory import open_loop_score, reactivity, table_score, tree_inputs, tree_score

steps = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=30)
episodes = st.lists(st.lists(st.integers(0, 3), max_size=6), min_size=1, max_size=6)


def columns(rows: list[tuple[int, int]]) -> tuple[Any, Any]:
    array = np.array(rows)
    return array[:, 0], array[:, 1]


def most_frequent(actions: list[int]) -> int:
    """The commonest action, the smallest of equals."""
    return min(Counter(actions).items(), key=lambda pair: (-pair[1], pair[0]))[0]


@given(steps)
def test_reactivity_is_the_share_of_steps_whose_symbol_has_one_action(rows: list[tuple[int, int]]) -> None:
    followers = defaultdict(set)
    for symbol, action in rows:
        followers[symbol].add(action)
    expected = sum(len(followers[symbol]) == 1 for symbol, _ in rows) / len(rows)
    assert reactivity(*columns(rows)) == expected


def test_a_machine_as_small_as_its_actions_may_need_no_memory_at_all() -> None:
    """Spec-fsm 4.8: with a symbol of its own at every step, folding gives one state an action, and reactivity is 1."""
    length = 40
    actions = np.random.default_rng(0).integers(0, 5, length)
    digits = np.array([[int(d) for d in f"{i:06b}"] for i in range(length)], dtype=np.int8)
    machine, traces = build_machine(
        start_codes=np.full((1, 6), -1, np.int8),
        state_codes=digits,
        symbol_codes=digits,
        actions=actions,
        offsets=[0, length],
        terminated=[True],
        truncated=[False],
        action_names="abcde",
    )
    assert len(set(write_codes(digits, ternary=True))) == machine.n_states == length
    assert fold(machine, traces=traces).machine.n_states == len(set(actions.tolist())) == 5
    assert reactivity(traces.symbols, traces.actions) == 1.0


@given(steps, steps)
def test_the_table_gives_each_symbol_its_commonest_action(
    rows: list[tuple[int, int]], others: list[tuple[int, int]]
) -> None:
    followers = defaultdict(list)
    for symbol, action in rows:
        followers[symbol].append(action)
    common = most_frequent([action for _, action in rows])
    right = sum(action == (most_frequent(followers[s]) if s in followers else common) for s, action in others)
    symbols, actions = columns(others)
    assert table_score(*columns(rows), test_symbols=symbols, test_actions=actions) == right / len(others)


@given(steps)
def test_a_table_is_at_least_as_right_as_the_recording_is_reactive(rows: list[tuple[int, int]]) -> None:
    symbols, actions = columns(rows)
    assert table_score(symbols, actions, test_symbols=symbols, test_actions=actions) >= reactivity(symbols, actions)


@given(episodes, episodes)
def test_the_clock_predicts_the_commonest_action_of_each_step(first: list[list[int]], other: list[list[int]]) -> None:
    def flat(words: list[list[int]]) -> tuple[Any, Any]:
        return np.array([a for word in words for a in word], int), np.cumsum([0, *map(len, words)])

    if not sum(map(len, first)) or not sum(map(len, other)):
        (actions, offsets), (test_actions, test_offsets) = flat(first), flat(other)
        assert np.isnan(open_loop_score(actions, offsets, test_actions=test_actions, test_offsets=test_offsets))
        return
    at = defaultdict(list)
    for word in first:
        for t, action in enumerate(word):
            at[t].append(action)
    common = most_frequent([a for word in first for a in word])
    guesses = [(most_frequent(at[t]) if t in at else common) == a for word in other for t, a in enumerate(word)]
    actions, offsets = flat(first)
    test_actions, test_offsets = flat(other)
    found = open_loop_score(actions, offsets, test_actions=test_actions, test_offsets=test_offsets)
    assert found == sum(guesses) / len(guesses)


class TestTree:
    ROWS = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)

    def test_a_rule_on_features_is_found(self) -> None:
        actions = (self.ROWS[:, 1] > 0.2).astype(int) + (self.ROWS[:, 2] > 0)
        found = tree_score(
            self.ROWS[:300], actions[:300], test_observations=self.ROWS[300:], test_actions=actions[300:]
        )
        assert found > 0.97

    def test_what_only_memory_tells_is_not_found(self) -> None:
        actions = np.arange(400) % 2  # alternates, whatever is seen
        found = tree_score(
            self.ROWS[:300], actions[:300], test_observations=self.ROWS[300:], test_actions=actions[300:]
        )
        assert found < 0.65

    def test_it_is_the_same_every_time(self) -> None:
        train = self.ROWS[:300].copy()
        train[:, 1] = train[:, 0]  # two features that are equally good, until they differ
        actions = (self.ROWS[:, 0] > 0).astype(int)
        test: dict[str, Any] = {"test_observations": self.ROWS[300:], "test_actions": actions[300:]}
        assert len({tree_score(train, actions[:300], **test) for _ in range(8)}) == 1

    def test_where_something_is_in_an_image_is_found(self) -> None:
        images = np.zeros((200, 1, 80, 80), np.uint8)
        rows = np.random.default_rng(1).integers(0, 76, (200, 2))
        for image, (y, x) in zip(images, rows, strict=True):
            image[0, y : y + 4, x : x + 4] = 255
        actions = (rows[:, 0] > 38).astype(int)
        found = tree_score(images[:150], actions[:150], test_observations=images[150:], test_actions=actions[150:])
        assert tree_inputs(images).shape == (200, 20 * 20 + 80 + 80 + 2)
        assert found > 0.9

    def test_an_image_is_shrunk_to_the_means_of_its_blocks(self) -> None:
        image = np.random.default_rng(2).integers(0, 256, (1, 2, 43, 60), dtype=np.uint8)
        blocks = [
            image[0, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean()
            for c in range(2) for i in range(21) for j in range(30)
        ]  # fmt: skip
        rows = [image[0, c, y].mean() for c in range(2) for y in range(43)]
        columns = [image[0, c, :, x].mean() for c in range(2) for x in range(60)]
        inputs = tree_inputs(image)
        assert np.allclose(inputs[:, :-4], [[*blocks, *rows, *columns]])
        for place, c in ((-4, 0), (-3, 1)):
            weights = image[0, c].sum(axis=1)
            assert np.isclose(inputs[0, place], np.average(np.arange(43), weights=weights))
        assert np.array_equal(tree_inputs(np.moveaxis(image, 1, -1)), tree_inputs(image))


def test_without_steps_nothing_is_known() -> None:
    none, some = np.zeros(0, int), np.zeros(1, int)
    assert np.isnan(reactivity(none, none))
    assert np.isnan(table_score(none, none, test_symbols=some, test_actions=some))
    assert np.isnan(table_score(some, some, test_symbols=none, test_actions=none))
    assert np.isnan(tree_score(np.zeros((0, 2)), none, test_observations=np.zeros((1, 2)), test_actions=some))
