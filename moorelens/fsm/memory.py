"""Whether memory is used: what the symbol alone, the clock alone, or a small tree on the observation would do.

A small machine says little by itself (spec-fsm 4.8); these companions say how much of it is memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
TREE_DEPTH = 4
_CHANNELS = 4  # a last axis of at most so many is one of channels
_BATCH = 512  # images that are read at once
TREE_PIXELS = 20  # an image has at least so many blocks a side


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
    """Return how often a decision tree of depth 4 on the observation (T, *obs) alone is right on other episodes."""
    from sklearn.tree import DecisionTreeClassifier

    if not len(actions) or not len(test_actions):
        return float("nan")
    tree = DecisionTreeClassifier(max_depth=TREE_DEPTH, random_state=0).fit(tree_inputs(observations), actions)
    return float(np.mean(tree.predict(tree_inputs(test_observations)) == test_actions))


def tree_inputs(observations: Array) -> Array:
    """Return what a tree reads of observations (T, *obs): vectors as they are, of an image a few hundred numbers.

    Of each channel of an image (C, H, W), (H, W, C) or (H, W): its means over about 20 x 20 square blocks (rows and
    columns that fit no block are left out), the means of its rows and of its columns, and its centre of mass. A tree
    on bare pixels would be a weak rival, as it tests one place at a time.
    """
    if observations.ndim <= 2:
        return observations.reshape(len(observations), -1)
    if observations.ndim == 4 and observations.shape[-1] <= _CHANNELS < observations.shape[1]:
        observations = np.moveaxis(observations, -1, 1)
    parts = [_image_inputs(observations[first : first + _BATCH]) for first in range(0, len(observations), _BATCH)]
    return np.concatenate(parts) if parts else np.zeros((0, 1), dtype=np.float32)


def _image_inputs(observations: Array) -> npt.NDArray[np.float32]:
    images = observations.reshape(len(observations), -1, *observations.shape[-2:]).astype(np.float32)
    height, width = images.shape[-2:]
    block = max(1, min(height, width) // TREE_PIXELS)
    rows, columns = height // block, width // block
    cut = images[..., : rows * block, : columns * block]
    blocks = cut.reshape(*cut.shape[:2], rows, block, columns, block).mean(axis=(3, 5))
    by_row, by_column = images.mean(axis=3), images.mean(axis=2)
    centres = [
        (profile * np.arange(profile.shape[2])).sum(axis=2) / (np.abs(profile).sum(axis=2) + 1e-6)
        for profile in (by_row, by_column)
    ]
    found = [array.reshape(len(images), -1) for array in (blocks, by_row, by_column, *centres)]
    return np.concatenate(found, axis=1).astype(np.float32)


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
