"""Probes: words through every transition of a network's own machine, with the answers of the task's oracle."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from moorelens.envs.memory.languages import labels_of
from moorelens.envs.memory.lessons import Batch, Lesson, classes_of
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.reading import codes_of, features_of
from moorelens.fsm.tables import NetworkTable

MOST_STATES = 400


def probe(
    network: MooreMachineNetwork, lesson: Lesson, seen: Batch, *, rng: np.random.Generator, endings: int
) -> tuple[Batch, npt.NDArray[np.bool_]]:
    """Return words and whether the network answered each of them right throughout.

    The network's own machine is walked from its start over the symbols that occur in `seen`, up to `MOST_STATES`
    states; to each transition leads a shortest word, and `endings` random symbols follow. The oracle is asked for
    answers to these words only, as the environment gives them to any player.
    """
    observations, symbols = _symbols(network, seen)
    table = NetworkTable(network)
    ids = table.symbols(symbols)
    words = _words(table, ids)
    tails = rng.integers(0, len(ids), size=(len(words), 4 * endings))
    longest = max(len(word) for word in words) + tails.shape[1]
    chosen = np.zeros((len(words), longest), dtype=np.int64)
    mask = np.zeros((len(words), longest), dtype=np.bool_)
    for row, (word, tail) in enumerate(zip(words, tails, strict=True)):
        whole = [*word, *tail.tolist()]
        chosen[row, : len(whole)], mask[row, : len(whole)] = whole, True
    labels = labels_of(lesson.language, classes_of(lesson, observations)[chosen])
    answers = _answers(table, ids[chosen])
    right = ((answers == labels) | ~mask).all(axis=1)
    return Batch(observations[chosen].swapaxes(0, 1).copy(), labels.T.copy(), mask.T.copy()), right


def _symbols(network: MooreMachineNetwork, seen: Batch) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8]]:
    """Return for each symbol of the network one observation (O, *obs) that is read as it, and its code (O, L)."""
    observations = np.unique(seen.observations[seen.mask], axis=0)
    codes = codes_of(network, features_of(network.policy, observations))
    found, first = np.unique(codes, axis=0, return_index=True)
    return observations[first], found


def _words(table: NetworkTable, symbols: npt.NDArray[np.int64]) -> list[list[int]]:
    """Return a shortest word, as places in `symbols`, for every transition of the network's machine."""
    access: dict[int, list[int]] = {table.start: []}
    words: list[list[int]] = []
    queue = deque([table.start])
    while queue:
        state = queue.popleft()
        reached = table.step(np.full(len(symbols), state), symbols).tolist()
        for place, target in enumerate(reached):
            word = [*access[state], place]
            words.append(word)
            if target not in access and len(access) < MOST_STATES:
                access[target] = word
                queue.append(target)
    return words


def _answers(table: NetworkTable, symbols: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    at = np.full(len(symbols), table.start, dtype=np.int64)
    answers = np.empty(symbols.shape, dtype=np.int64)
    for t in range(symbols.shape[1]):
        at = table.step(at, symbols[:, t])
        answers[:, t] = table.actions(at)
    return answers
