"""Environments in which a word is read symbol by symbol and every prefix must be judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
import numpy.typing as npt

from moorelens.envs.memory.languages import Language, Variant, tomita
from moorelens.envs.memory.words import ALWAYS_ACCEPTED, Word, random_word, tomita_word, word_labels
from moorelens.errors import EnvironmentRequestError

Observation = npt.NDArray[np.float32]


class LanguageEnv(gymnasium.Env[Observation, np.int64]):  # type: ignore[misc]
    """Reads words to the player; the last action should be the output of the machine for the whole word.

    `transitions`, `outputs`, `start`: the machine as tables (see `Language`), so that any machine will do. `longest`:
    words have 1 to so many symbols. Two symbols are shown as one number, 0 or 1; more of them one-hot. The action after
    a symbol is the judgement of the word so far; the reward is 1 at the end of the word iff the last one is right, and
    `info["desired_action"]` says what would be right now. Episodes end with the word (terminated).
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        transitions: Sequence[Sequence[int]] | None = None,
        outputs: Sequence[int] | None = None,
        start: int = 0,
        longest: int = 50,
    ) -> None:
        """Build the task of one machine; raises `EnvironmentRequestError` where the tables describe none."""
        if transitions is None or outputs is None:
            raise EnvironmentRequestError(
                "A language task needs its machine and none was given: pass transitions and outputs, for example "
                '--env-kwargs \'{"transitions": [[0, 1], [1, 0]], "outputs": [1, 0]}\'.'
            )
        rows = tuple(tuple(int(target) for target in row) for row in transitions)
        language = Language(name="language", transitions=rows, outputs=tuple(int(o) for o in outputs), start=start)
        if longest < 1:
            raise EnvironmentRequestError(f"A word has at least one symbol and longest is {longest}: pass 1 or more.")
        self._longest = longest
        self._set(language)

    def _set(self, language: Language) -> None:
        self.language = language
        width = language.n_symbols if language.n_symbols > 2 else 1
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (width,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(language.n_actions)
        self._word = self._labels = np.zeros(0, dtype=np.int64)
        self._at = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draw a word and show its first symbol."""
        super().reset(seed=seed)
        self._word, self._labels = self._draw()
        self._at = 0
        return self._seen(), self._info()

    def step(self, action: np.int64) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]:
        """Judge the word so far; the next symbol, or after the last one the end."""
        last = self._at == len(self._word) - 1
        reward = float(last and int(action) == self._labels[self._at])
        if not last:
            self._at += 1
        return self._seen(), reward, last, False, self._info()

    def _draw(self) -> tuple[Word, Word]:
        word = random_word(self.language, self.np_random, longest=self._longest)
        return word, word_labels(self.language, word)

    def _seen(self) -> Observation:
        return symbols_seen(self.language, self._word[self._at])

    def _info(self) -> dict[str, Any]:
        return {"desired_action": int(self._labels[self._at])}


class TomitaEnv(LanguageEnv):
    """One of the seven Tomita grammars, with words of 1 to 50 bits (a few more where a member overshoots).

    `variant`: which Tomita 3 (see `tomita`). `label_bug="gym_x"`: the labels of the published task, which accept every
    prefix of a word that was made a member of grammar 6.
    """

    def __init__(self, number: int = 1, variant: Variant = "gym_x", label_bug: str | None = None) -> None:
        """Build the task of grammar `number`."""
        if label_bug not in (None, "gym_x"):
            raise EnvironmentRequestError(f"The label bug to repeat is 'gym_x' or none, not {label_bug!r}.")
        self._number, self._bug = number, label_bug is not None
        self._set(tomita(number, variant=variant))

    def _draw(self) -> tuple[Word, Word]:
        return tomita_example(self._number, self.language, self.np_random, label_bug=self._bug)


def tomita_example(
    number: int, language: Language, rng: np.random.Generator, *, label_bug: bool = False
) -> tuple[Word, Word]:
    """Return a word (T,) of a Tomita task and the label (T,) of each prefix."""
    word, member = tomita_word(number, rng)
    return word, word_labels(language, word, always_accept=label_bug and member and number in ALWAYS_ACCEPTED)


def symbols_seen(language: Language, words: npt.NDArray[Any]) -> Observation:
    """Return what `words (...)` look like, (..., 1) for two symbols, one-hot (..., K) for more."""
    if language.n_symbols <= 2:
        return np.asarray(words, dtype=np.float32)[..., None]
    return np.asarray(np.eye(language.n_symbols, dtype=np.float32)[words])
