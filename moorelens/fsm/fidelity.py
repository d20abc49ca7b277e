"""How faithful a machine is: equal decisions on its own traces, the network's and the policy's, and in control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.envs.rollouts import Rollouts
from moorelens.errors import InvariantError
from moorelens.fsm.automata.run import Stepper
from moorelens.fsm.reading import FeatureReader
from moorelens.fsm.sequences import sequences_of
from moorelens.policies.base import RecurrentPolicy

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Driven:
    """A machine led through T symbols: `actions (T,)`, `decided (T,)` by a recorded transition, `known (T,)`.

    `sources (T,)`: the position in which each symbol was read.
    """

    sources: npt.NDArray[np.int64]
    actions: npt.NDArray[np.int64]
    decided: Bools
    known: Bools


def drive(stepper: Stepper, symbol_codes: Array, offsets: Array) -> Driven:
    """Lead a compiled machine through recorded symbol codes (T, L), episode by episode (teacher forcing)."""
    symbols, known = stepper.recognise(symbol_codes)
    sources, actions = np.zeros(len(symbols), dtype=np.int64), np.zeros(len(symbols), dtype=np.int64)
    decided = np.zeros(len(symbols), dtype=np.bool_)
    starts, lengths = np.asarray(offsets[:-1]), np.diff(offsets)
    positions = stepper.start(len(starts))
    for step in range(int(lengths.max(initial=0))):
        rows = np.flatnonzero(lengths > step)
        at = starts[rows] + step
        sources[at] = positions[rows]
        positions[rows], actions[at], decided[at] = stepper.step(positions[rows], symbols[at])
    return Driven(sources=sources, actions=actions, decided=decided & known, known=known)


def share_repeated(stepper: Stepper, *, symbol_codes: Array, actions: Array, offsets: Array) -> float:
    """Return the share of its own recorded actions that a machine repeats; 1 unless it is wrong.

    Raises `InvariantError` where there is no step to repeat.
    """
    if not len(actions):
        raise InvariantError("A machine is replayed on its own traces and these hold no step: play at least one.")
    return agreement(drive(stepper, symbol_codes, offsets).actions, actions)


def policy_choices(policy: RecurrentPolicy, rollouts: Rollouts, *, reader: FeatureReader) -> npt.NDArray[np.int64]:
    """Return the greedy action (T,) that the policy would have chosen at each recorded step, whoever acted."""
    watched = sequences_of(policy, rollouts, reader=reader)
    greedy = watched.logits.argmax(dim=-1).T[watched.mask.T]
    return np.asarray(greedy.numpy(), dtype=np.int64)


def agreement(first: Array, second: Array) -> float:
    """Return the share of equal decisions; NaN where there are none."""
    return float(np.mean(np.asarray(first) == np.asarray(second))) if len(first) else float("nan")
