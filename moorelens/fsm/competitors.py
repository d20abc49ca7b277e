"""Players that a machine must beat for its memory to count: a table, trees, and a replayed sequence.

All are made from fit games only. The table and the first tree see one observation, the replay only the clock; the
second tree sees the machine's state too, and says what the state adds to an observation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.envs.rollouts import Rollouts
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.run import Stepper
from moorelens.fsm.automata.traces import Traces
from moorelens.fsm.memory import tree_inputs
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.players import MachinePlayer, Positions
from moorelens.fsm.reading import FeatureReader, SymbolReader

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.intp]
DEPTHS = (1, 2, 3, 4, 6, 8, 10, 12)
_FOLDS = 4


def best_actions(traces: Traces, *, n_symbols: int, n_actions: int) -> npt.NDArray[np.int64]:
    """Return the action (O,) most often recorded with each symbol; of equals the first, of a symbol never read 0."""
    flat = np.bincount(traces.symbols.astype(np.int64) * n_actions + traces.actions, minlength=n_symbols * n_actions)
    return np.asarray(flat.reshape(n_symbols, n_actions).argmax(axis=1), dtype=np.int64)


class TablePlayer:
    """Plays the best action of each symbol; an unknown symbol is taken for the nearest, as a machine does."""

    def __init__(
        self,
        stepper: Stepper,
        actions: Array,
        network: MooreMachineNetwork,
        *,
        features: FeatureReader | None = None,
    ) -> None:
        self._stepper, self._actions = stepper, actions
        self._reader = SymbolReader(network, features=features)

    def start(self, n: int) -> None:
        """There is nothing to remember."""

    def act(self, state: None, rows: Rows, observations: Array) -> npt.NDArray[np.intp]:
        """Choose actions (b,) for `observations (b, *obs)`."""
        symbols, _ = self._stepper.recognise(self._reader.codes(observations))
        return np.asarray(self._actions[symbols], dtype=np.intp)


class SequencePlayer:
    """Plays a fixed sequence of actions (T,) whatever it sees, and `then` one action for good."""

    def __init__(self, actions: Array, *, then: int) -> None:
        self._actions, self._then = np.asarray(actions), then

    def start(self, n: int) -> Positions:
        """Return `n` runs at the first action."""
        return Positions(at=np.zeros(n, dtype=np.int64))

    def act(self, state: Positions, rows: Rows, observations: Array) -> npt.NDArray[np.intp]:
        """Choose actions (b,) for `rows (b,)`."""
        at = state.at[rows]
        state.at[rows] += 1
        inside = at < len(self._actions)
        chosen = np.full(len(rows), self._then, dtype=np.intp)
        chosen[inside] = self._actions[at[inside]]
        return chosen


def best_sequence(played: Rollouts) -> SequencePlayer:
    """Return the replay of the fit game with the highest return (the first of equals), then its commonest action."""
    game = int(played.returns.argmax())
    actions = played.actions[int(played.offsets[game]) : int(played.offsets[game + 1])]
    return SequencePlayer(actions, then=int(np.bincount(played.actions).argmax()))


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A decision tree: scikit-learn's `model`, its `depth` and number of `leaves`, and its `agreement` with what it
    imitates on fit games that it was not grown on (None where there is one game only)."""

    model: Any
    depth: int
    leaves: int
    agreement: float | None


def grow_tree(inputs: Array, actions: Array, episodes: Array, *, depths: Sequence[int] = DEPTHS) -> Tree:
    """Return the tree on `inputs (T, D)` that names `actions (T,)` best, of the depth that cross-validation prefers.

    Whole `episodes (T,)` are left out in turn (four folds); of depths that are equally right to a thousandth the
    smallest is taken. With one episode the largest depth is taken.
    """
    groups = np.unique(episodes)
    agreement: float | None = None
    depth = max(depths)
    if len(groups) > 1 and len(np.unique(actions)) > 1:
        fold = np.searchsorted(groups, episodes) % min(_FOLDS, len(groups))
        scores = np.array([_validated(inputs, actions, fold, depth=one) for one in depths])
        place = int(np.argmax(scores >= scores.max() - 1e-3))
        depth, agreement = depths[place], float(scores[place])
    model = _grown(inputs, actions, depth=depth)
    return Tree(model=model, depth=int(model.get_depth()), leaves=int(model.get_n_leaves()), agreement=agreement)


def _validated(inputs: Array, actions: Array, fold: Array, *, depth: int) -> float:
    right = 0
    for number in range(int(fold.max()) + 1):
        own = fold == number
        right += int(np.sum(_grown(inputs[~own], actions[~own], depth=depth).predict(inputs[own]) == actions[own]))
    return right / len(actions)


def _grown(inputs: Array, actions: Array, *, depth: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_depth=depth, random_state=0).fit(inputs, actions)


class TreePlayer:
    """Plays a tree on the observation alone."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def start(self, n: int) -> None:
        """There is nothing to remember."""

    def act(self, state: None, rows: Rows, observations: Array) -> npt.NDArray[np.intp]:
        """Choose actions (b,) for `observations (b, *obs)`."""
        return np.asarray(self._tree.model.predict(tree_inputs(observations)), dtype=np.intp)


class StateTreePlayer:
    """Plays a tree on the observation and the digits of the state that the machine is in before it."""

    def __init__(
        self,
        tree: Tree,
        machine: MooreMachine,
        stepper: Stepper,
        network: MooreMachineNetwork,
        *,
        features: FeatureReader | None = None,
    ) -> None:
        self._tree, self._codes = tree, machine.state_codes
        self._machine = MachinePlayer(stepper, network, features=features)

    def start(self, n: int) -> Positions:
        """Return `n` runs of the machine."""
        return self._machine.start(n)

    def act(self, state: Positions, rows: Rows, observations: Array) -> npt.NDArray[np.intp]:
        """Choose actions (b,) for `observations (b, *obs)` of `rows (b,)`; the machine moves on what is seen."""
        inputs = state_inputs(observations, self._codes[state.at[rows]])
        self._machine.act(state, rows, observations)
        return np.asarray(self._tree.model.predict(inputs), dtype=np.intp)


def state_inputs(observations: Array, codes: Array) -> Array:
    """Return what a tree on observation (T, *obs) and state (T, K) reads, (T, D + K)."""
    return np.concatenate([tree_inputs(observations), codes.astype(np.float32)], axis=1)


def states_before(stepper: Stepper, symbols: Array, offsets: Array) -> npt.NDArray[np.int64]:
    """Return the state (T,) that a machine led through recorded symbols (T,) is in before each of them."""
    found = np.zeros(len(symbols), dtype=np.int64)
    starts, lengths = np.asarray(offsets[:-1]), np.diff(offsets)
    positions = stepper.start(len(lengths))
    for step in range(int(lengths.max(initial=0))):
        rows = np.flatnonzero(lengths > step)
        at = starts[rows] + step
        found[at] = positions[rows]
        positions[rows] = stepper.step(positions[rows], symbols[at])[0]
    return found


def episodes_of(offsets: Array) -> npt.NDArray[np.int64]:
    """Return the episode (T,) of each step."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
