"""Recorded segments of games that a pupil learns from."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from moorelens.policies.training.config import ImitationSettings

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.intp]


class Step(NamedTuple):
    """What is recorded of one step of all games, (games, ...) each."""

    frames: Array
    labels: Array
    notes: Array
    features: Array
    starts: Array


class Segments:
    """A ring of recorded segments: frames, judgements and notes of the teacher, where games began, the state before.

    Beside every frame stand the features that the playing network made of it, which serve as soon as its feature net
    does not change any more.
    """

    def __init__(
        self, settings: ImitationSettings, state_size: int, actions: int, *, notes: int = 0, features: int = 0
    ) -> None:
        """Reserve the memory (it is only used as it fills) for `notes` and `features` numbers at every step."""
        count, length = settings.segments, settings.length
        self.frames = np.zeros((count, length, 1, 80, 80), dtype=np.uint8)
        self.labels = np.zeros((count, length, actions), dtype=np.float32)
        self.notes = np.zeros((count, length, notes), dtype=np.float32)
        self.features = np.zeros((count, length, features), dtype=np.float32)
        self.starts = np.zeros((count, length), dtype=np.float32)
        self.states = np.zeros((count, state_size), dtype=np.float32)
        self.added = 0

    def add(self, steps: list[Step], states: Array) -> None:
        """Add one segment per game: its steps, and the states (games, H) before the first."""
        count = len(states)
        slots = (self.added + np.arange(count)) % len(self.frames)
        for name in Step._fields:
            getattr(self, name)[slots] = np.stack([getattr(step, name) for step in steps], axis=1)
        self.states[slots] = states
        self.added += count

    @property
    def held(self) -> int:
        """How many segments are recorded."""
        return min(self.added, len(self.frames))

    def draw(self, count: int, rng: np.random.Generator) -> Rows:
        """Return the slots of `count` segments, half of them from the newest tenth."""
        newest = rng.integers(max(self.held // 10, min(self.held, 32)), size=count // 2)
        any_ = rng.integers(self.held, size=count - count // 2)
        ages = np.concatenate([newest, any_])
        return np.asarray((self.added - 1 - ages) % len(self.frames))
