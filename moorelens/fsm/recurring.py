"""Decision points of several machines of one policy: which of them are found again and again?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.fsm.automata.decisions import decision_points
from moorelens.fsm.automata.machine import MooreMachine

FOUND_AT = 0.5
RECURS_IN = 0.8

NOWHERE = -1


def decision_places(machine: MooreMachine, sources: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the decision point (T,) in which each step began, -1 where it began in another state or the start.

    `sources (T,)`: the state in which each symbol of T shared steps was read.
    """
    deciding = np.full(len(machine.actions), NOWHERE, dtype=np.int64)
    for point in decision_points(machine):
        if not point.silent:
            deciding[point.state] = point.state
    return np.asarray(deciding[sources], dtype=np.int64)


def recurring(places: Sequence[npt.NDArray[np.int64]]) -> tuple[float | None, ...]:
    """Return for each of K machines which share of its decision points recurs; None where it visits none.

    Decision points of different machines share no names, so they are matched by *when* they are. All machines watch
    the same T steps, and `places (T,)` says of each at which of its decision points it was. A decision point is
    *found* by a machine that is at some decision point of its own in at least half of the steps at which the first
    is visited. It *recurs* where at least 80 % of the K machines find it, its own among them. Decision points that
    the shared steps never visit are left out. A machine that decides at nearly every step finds nearly everything, so
    read the share beside `deciding`.
    """
    return tuple(_recurring(own, places) for own in places)


def deciding(places: npt.NDArray[np.int64]) -> float:
    """Return the share of steps at which a machine is at a decision point; 0 where there is no step."""
    return float(np.mean(places != NOWHERE)) if len(places) else 0.0


def _recurring(own: npt.NDArray[np.int64], places: Sequence[npt.NDArray[np.int64]]) -> float | None:
    points, numbers = np.unique(own[own != NOWHERE], return_inverse=True)
    if not len(points):
        return None
    visits = np.bincount(numbers)
    finders = np.zeros(len(points))
    for other in places:
        met = np.bincount(numbers, weights=(other[own != NOWHERE] != NOWHERE).astype(np.float64))
        finders += met >= FOUND_AT * visits
    # Rounded up by hand: 0.8 * 5 is 4.000000000000001 for some orders of multiplication.
    needed = int(np.ceil(RECURS_IN * len(places) - 1e-9))
    return float(np.mean(finders >= needed))
