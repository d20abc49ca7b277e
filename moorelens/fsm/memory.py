"""Whether memory is used: what the symbol alone, the clock alone, or a small tree on the observation would do.

A small machine says little by itself (spec-fsm 4.8); these companions say how much of it is memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.errors import OptionError

Array = npt.NDArray[Any]
TREE_DEPTH = 4


def reactivity(symbols: Array, actions: Array) -> float:
    """Return the visit-weighted share of symbols that are always followed by one action (spec-fsm 4.8)."""
    if not len(symbols):
        return float("nan")
    table = _counts(symbols, actions)
    return float(table[(table > 0).sum(axis=1) == 1].sum() / len(symbols))


def table_score(symbols: Array, actions: Array, *, test_symbols: Array, test_actions: Array) -> float:
    """Return how often the best symbol -> action table, made on the first recording, is right on the second.

    A symbol that the first recording lacks gets its most frequent action.
    """
    if not len(symbols) or not len(test_symbols):
        return float("nan")
    names, counts = _table(symbols, actions)
    best = counts.argmax(axis=1)
    at = np.searchsorted(names, test_symbols).clip(max=len(names) - 1)
    common = int(np.bincount(np.asarray(actions, dtype=np.int64)).argmax())
    guesses = np.where(names[at] == test_symbols, best[at], common)
    return float(np.mean(guesses == test_actions))


def open_loop_score(actions: Array, offsets: Array, *, test_actions: Array, test_offsets: Array) -> float:
    """Return how often the most frequent action of each time step predicts the action of other episodes.

    Steps later than any seen get the most frequent action of all.
    """
    if not len(actions) or not len(test_actions):
        return float("nan")
    clock, test_clock = _clock(offsets), _clock(test_offsets)
    return table_score(clock, actions, test_symbols=test_clock, test_actions=test_actions)


def tree_score(observations: Array, actions: Array, *, test_observations: Array, test_actions: Array) -> float:
    """Return how often a decision tree of depth 4 on the observation (T, D) alone is right on other episodes.

    Raises `OptionError` for images, on which such a tree says nothing.
    """
    from sklearn.tree import DecisionTreeClassifier

    if observations.ndim != 2:
        raise OptionError("A tree is grown on named features, and these observations are images: leave it out.")
    if not len(actions) or not len(test_actions):
        return float("nan")
    tree = DecisionTreeClassifier(max_depth=TREE_DEPTH, random_state=0).fit(observations, actions)
    return float(np.mean(tree.predict(test_observations) == test_actions))


def _counts(symbols: Array, actions: Array) -> npt.NDArray[np.int64]:
    return _table(symbols, actions)[1]


def _table(symbols: Array, actions: Array) -> tuple[Array, npt.NDArray[np.int64]]:
    names, rows = np.unique(symbols, return_inverse=True)
    width = int(np.max(actions)) + 1
    flat = np.bincount(rows * width + np.asarray(actions, dtype=np.int64), minlength=len(names) * width)
    return names, flat.reshape(len(names), width)


def _clock(offsets: Array) -> npt.NDArray[np.int64]:
    lengths = np.diff(offsets)
    return np.concatenate([np.arange(n) for n in lengths]) if len(lengths) else np.zeros(0, dtype=np.int64)
