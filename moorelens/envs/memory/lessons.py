"""Batches of observations and right answers for supervised learning: what the tasks show, and what their oracles do."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from moorelens.envs.memory.languages import Language, Variant, labels_of, tomita
from moorelens.envs.memory.modes import MODES, STEPS, mode_language, mode_seen
from moorelens.envs.memory.reading import symbols_seen, tomita_example
from moorelens.envs.memory.words import random_word

Array = npt.NDArray[Any]


class Batch(NamedTuple):
    """N sequences padded to T steps: `observations (T, N, *obs)` float32, `labels (T, N)` int64, `mask (T, N)` bool."""

    observations: Array
    labels: Array
    mask: Array


class Lesson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which memory task is taught, and on what.

    `task`: amnesia, blind, tracker, or tomita1 to tomita7. `variant`: which Tomita 3. `label_bug`: the published labels
    of Tomita 6 (see `TomitaEnv`). `plain`: the words and observations of the task itself and nothing else; else half of
    the words are plain random ones, and the numbers that say nothing in `blind` are drawn up to three times as wide, so
    that what is rare in the task is not rare in the lesson.
    """

    task: str
    variant: Variant = "gym_x"
    label_bug: bool = False
    plain: bool = False

    @property
    def tomita(self) -> int | None:
        """The number of the grammar, None for mode counters."""
        return int(self.task.removeprefix("tomita")) if self.task.startswith("tomita") else None

    @property
    def language(self) -> Language:
        """The machine that answers right, over the classes of observations."""
        number = self.tomita
        return mode_language(self.task) if number is None else tomita(number, variant=self.variant)

    @property
    def env_id(self) -> str:
        """The Gymnasium id of the task."""
        later = "Later" if self.tomita == 3 and self.variant == "later" else ""
        return f"moorelens/{self.task.capitalize()}{later}-v0"

    @property
    def longest(self) -> int:
        """The steps of the longest sequences that are taught."""
        return STEPS if self.tomita is None else 50


def draw_lesson(lesson: Lesson, rng: np.random.Generator, *, n: int, longest: int | None = None) -> Batch:
    """Return `n` sequences of at most `longest` steps (None: as long as the task's; members may be a little longer)."""
    if lesson.tomita is None:
        return _modes(lesson, rng, n=n, steps=longest or STEPS)
    return _words(lesson, rng, n=n, longest=longest)


def _modes(lesson: Lesson, rng: np.random.Generator, *, n: int, steps: int) -> Batch:
    drawn = rng.integers(0, MODES, size=(n, steps))
    spread = 1.0 if lesson.plain else 3.0
    seen = mode_seen(lesson.task, drawn, rng, spread=spread)
    classes = np.zeros_like(drawn) if lesson.language.n_symbols == 1 else drawn
    labels = labels_of(lesson.language, classes)
    return Batch(seen.T[..., None].copy(), labels.T.copy(), np.ones((steps, n), dtype=np.bool_))


def _words(lesson: Lesson, rng: np.random.Generator, *, n: int, longest: int | None) -> Batch:
    language, number = lesson.language, lesson.tomita
    assert number is not None
    pairs = []
    for i in range(n):
        if lesson.plain or i % 2:
            word, labels = tomita_example(number, language, rng, label_bug=lesson.label_bug)
        else:
            word = random_word(language, rng, longest=longest or lesson.longest)
            labels = labels_of(language, word)
        pairs.append((word[:longest], labels[:longest]))
    steps = max(len(word) for word, _ in pairs)
    words, answers = np.zeros((steps, n), dtype=np.int64), np.zeros((steps, n), dtype=np.int64)
    mask = np.zeros((steps, n), dtype=np.bool_)
    for column, (word, labels) in enumerate(pairs):
        words[: len(word), column], answers[: len(word), column] = word, labels
        mask[: len(word), column] = True
    return Batch(symbols_seen(language, words), answers, mask)


def classes_of(lesson: Lesson, observations: Array) -> npt.NDArray[np.int64]:
    """Return the class (M,) that the task's designers gave each observation (M, *obs); for judging, never for learning.

    Bits for languages; the band that a number lies in for mode counters, of which `blind` has one.
    """
    values = observations[:, 0]
    if lesson.tomita is not None:
        return np.asarray(np.rint(values), dtype=np.int64)
    if lesson.language.n_symbols == 1:
        return np.zeros(len(values), dtype=np.int64)
    # Bands begin at quarters and are narrower than these, so rounding down cannot miss.
    return np.floor(values.astype(np.float64) * MODES + 1e-6).clip(0, MODES - 1).astype(np.int64)
