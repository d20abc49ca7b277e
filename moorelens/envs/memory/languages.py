"""Machines given as plain tables, and the seven Tomita grammars among them (tomita1982dynamic, spec-fsm 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from moorelens.errors import EnvironmentRequestError

Ints = npt.NDArray[np.int64]
Variant = Literal["gym_x", "later"]


class Language(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A complete Moore machine over K symbols: `transitions[state][symbol]` and `outputs[state]`.

    The output follows the symbol: reading a symbol in `start` emits the output of the successor; the output of `start`
    itself is emitted only when it is entered again. For a grammar the outputs are 1 (accept) and 0 (reject).
    Raises `EnvironmentRequestError` where a table is not that of a machine.
    """

    name: str
    transitions: tuple[tuple[int, ...], ...]
    outputs: tuple[int, ...]
    start: int = 0

    def __post_init__(self) -> None:
        """Refuse tables that describe no machine."""
        n = len(self.outputs)
        widths = {len(row) for row in self.transitions}
        targets = [target for row in self.transitions for target in row]
        whole = n == len(self.transitions) > 0 and len(widths) == 1 and 0 not in widths
        if not (whole and 0 <= self.start < n and 0 <= min(targets) <= max(targets) < n and min(self.outputs) >= 0):
            raise EnvironmentRequestError(
                f"A language is a complete machine, and the tables of {self.name!r} are not ({n} outputs, "
                f"{len(self.transitions)} rows of {sorted(widths)} symbols, start {self.start}): give every state one "
                "output and one existing successor for each symbol."
            )

    @property
    def n_symbols(self) -> int:
        """The number K of symbols."""
        return len(self.transitions[0])

    @property
    def n_actions(self) -> int:
        """The number of outputs, at least two: an environment with one action asks nothing."""
        return max(2, max(self.outputs) + 1)


def states_after(language: Language, words: npt.NDArray[Any]) -> Ints:
    """Return the state (..., T) after each symbol of `words (..., T)`."""
    table = np.array(language.transitions, dtype=np.int64)
    state = np.full(words.shape[:-1], language.start, dtype=np.int64)
    reached = np.empty(words.shape, dtype=np.int64)
    for t in range(words.shape[-1]):
        state = table[state, words[..., t]]
        reached[..., t] = state
    return reached


def labels_of(language: Language, words: npt.NDArray[Any]) -> Ints:
    """Return the output (..., T) after each symbol of `words (..., T)`: the label of each prefix."""
    return np.array(language.outputs, dtype=np.int64)[states_after(language, words)]


def tomita(number: int, *, variant: Variant = "gym_x") -> Language:
    """Return Tomita grammar 1 to 7; of number 3 there are two (spec-fsm 3.2), both with 5 states.

    `gym_x`: an odd run of ones must not be followed at once by an odd run of zeros. `later`: an odd run of zeros must
    not come anywhere after an odd run of ones (Weiss et al. 2018). The shortest word that tells them apart is 100110.
    Raises `EnvironmentRequestError` for other numbers.
    """
    if number not in _TOMITA:
        raise EnvironmentRequestError(f"There are Tomita grammars 1 to 7, and no number {number}: choose one of these.")
    if variant not in ("gym_x", "later"):
        raise EnvironmentRequestError(f"Tomita 3 has the variants 'gym_x' and 'later', not {variant!r}: choose one.")
    if number == 3 and variant == "later":
        return _TOMITA_3_LATER
    return _TOMITA[number]


def _grammar(name: str, rows: Sequence[tuple[int, int]], accepting: Sequence[int]) -> Language:
    return Language(
        name=name, transitions=tuple(rows), outputs=tuple(int(state in accepting) for state in range(len(rows)))
    )


# The empty word has no label, so the minimal machines have 2, 3, 5, 4, 4, 3, 5 states. Rows are (successor under 0,
# successor under 1); a state that leads to itself under both symbols is the sink.
_TOMITA = {
    1: _grammar("tomita1", [(1, 0), (1, 1)], [0]),
    2: _grammar("tomita2", [(2, 1), (0, 2), (2, 2)], [0]),
    # 0: even ones so far in this run, 1: odd ones, 2: odd ones then odd zeros, 3: odd ones then even zeros, 4: sink.
    3: _grammar("tomita3", [(0, 1), (2, 0), (3, 4), (2, 1), (4, 4)], [0, 1, 3]),
    4: _grammar("tomita4", [(1, 0), (2, 0), (3, 0), (3, 3)], [0, 1, 2]),
    5: _grammar("tomita5", [(1, 2), (0, 3), (3, 0), (2, 1)], [0]),
    6: _grammar("tomita6", [(2, 1), (0, 2), (1, 0)], [0]),
    7: _grammar("tomita7", [(0, 1), (2, 1), (2, 3), (4, 3), (4, 4)], [0, 1, 2, 3]),
}
# 0: only even runs of ones, 1: odd ones, 2: odd zeros after some odd run of ones (fatal if the run ends so), 3: after
# an odd run of ones with no odd run of zeros pending, whatever ones follow, 4: sink.
_TOMITA_3_LATER = _grammar("tomita3-later", [(0, 1), (2, 0), (3, 4), (2, 3), (4, 4)], [0, 1, 3])
