"""Words to learn and test a language on: the generators of the Tomita tasks (spec-fsm 3.2), and plain random ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from moorelens.envs.memory.languages import Language, labels_of

Word = npt.NDArray[np.int64]
Random = np.random.Generator

LONGEST = 50
# Of these grammars the published task calls every prefix of a word that it made a member a member too. Grammars 1 and 4
# are closed under prefixes; 6 is not, and a fifth of its labels are wrong.
ALWAYS_ACCEPTED = frozenset({1, 4, 6})
# The share of words of each grammar that are made to belong to it (spec-fsm 3.2).
_FORCED = {1: 0.5, 2: 0.5, 3: 0.4, 4: 0.3, 5: 0.4, 6: 0.25, 7: 0.3}


def tomita_word(number: int, rng: Random) -> tuple[Word, bool]:
    """Return one word of grammar `number`'s task (T,), T >= 1, and whether it was made to belong to the language.

    Else its bits are independent, 1 with a chance drawn anew for every word.
    """
    if rng.random() < _FORCED[number]:
        return _MEMBERS[number](rng), True
    length = int(rng.integers(3, 31)) if number == 6 else int(rng.integers(1, LONGEST + 1))
    word = (rng.random(length) < rng.random()).astype(np.int64)
    if number == 2 and rng.random() < 0.25:
        pairs = int(rng.integers(0, length // 2 + 1))
        word[: 2 * pairs] = np.tile([1, 0], pairs)
    return word, False


def random_word(language: Language, rng: Random, *, longest: int = LONGEST) -> Word:
    """Return a word (T,) of 1 to `longest` symbols whose frequencies are drawn anew for every word."""
    length = int(rng.integers(1, longest + 1))
    weights = rng.dirichlet(np.ones(language.n_symbols))
    return rng.choice(language.n_symbols, size=length, p=weights).astype(np.int64)


def word_labels(language: Language, word: Word, *, always_accept: bool = False) -> Word:
    """Return the label (T,) of every prefix of `word (T,)`.

    `always_accept`: every prefix is called a member, whatever it is (see `ALWAYS_ACCEPTED`).
    """
    return np.ones_like(word) if always_accept else labels_of(language, word)


def _only_ones(rng: Random) -> Word:
    return np.ones(int(rng.integers(1, LONGEST + 1)), dtype=np.int64)


def _pairs(rng: Random) -> Word:
    return np.tile([1, 0], int(rng.integers(1, LONGEST // 2 + 1))).astype(np.int64)


def _even_answers(rng: Random) -> Word:
    """Runs of 0 to 9 ones, an odd run followed by 2 to 8 zeros, an even one by 0 to 9; the last may overshoot."""
    length, runs = int(rng.integers(1, LONGEST + 1)), list[int]()
    while len(runs) < length:
        ones = int(rng.integers(0, 10))
        zeros = 2 * int(rng.integers(1, 5)) if ones % 2 else int(rng.integers(0, 10))
        runs += [1] * ones + [0] * zeros
    return np.array(runs, dtype=np.int64)


def _no_three_zeros(rng: Random) -> Word:
    word = rng.integers(0, 2, size=int(rng.integers(1, LONGEST + 1)))
    for t in range(2, len(word)):
        if not word[t - 1] and not word[t - 2]:
            word[t] = 1
    return word.astype(np.int64)


def _even_counts(rng: Random) -> Word:
    zeros, ones = (2 * int(rng.integers(0, LONGEST // 4 + 1)) for _ in range(2))
    return _shuffled(rng, zeros, ones or 2 * (not zeros))


def _equal_modulo_three(rng: Random) -> Word:
    zeros = int(rng.integers(0, max(1, int(rng.integers(3, 31)) // 2 - 1)))
    return _shuffled(rng, zeros, zeros + 3 * int(rng.integers(1, 10)))


def _four_runs(rng: Random) -> Word:
    length = int(rng.integers(1, LONGEST))
    cuts = np.sort(rng.integers(0, length + 1, size=3))
    runs = rng.permutation(np.diff(np.concatenate([[0], cuts, [length]])))
    return np.repeat([0, 1, 0, 1], runs).astype(np.int64)


def _shuffled(rng: Random, zeros: int, ones: int) -> Word:
    return rng.permutation(np.repeat([0, 1], [zeros, ones])).astype(np.int64)


_MEMBERS: dict[int, Callable[[Random], Word]] = {
    1: _only_ones,
    2: _pairs,
    3: _even_answers,
    4: _no_three_zeros,
    5: _even_counts,
    6: _equal_modulo_three,
    7: _four_runs,
}
