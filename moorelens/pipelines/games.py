"""The games of `evaluate`: who plays under which condition, in blocks that a kill costs little of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.copies import shifted_copies
from moorelens.envs.playing import Player, play
from moorelens.envs.rollouts import Rollouts
from moorelens.fsm.automata.run import Stepper
from moorelens.fsm.evaluate import Disturbance, DisturbedPlayer
from moorelens.fsm.fidelity import drive, policy_choices
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.reading import FeatureReader, symbol_codes_of
from moorelens.pipelines.job import Job

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
BLOCK = 25  # episodes played at once
NEVER = -1
HELD_OUT = "held_out"  # the condition under which everyone plays


@dataclass(frozen=True, kw_only=True)
class Played:
    """A condition: an environment, and what disturbs the player in it (nothing, where `disturbance` is None)."""

    key: str
    title: str
    detail: str
    request: EnvironmentRequest
    disturbance: Disturbance | None = None


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A player under its key; `as_nearest`: it differs from the machine only in seeds where that had to fall back.

    `disturbed`: it plays under disturbances too.
    """

    key: str
    title: str
    make: Callable[[tuple[int, ...]], Player]
    fallback: str | None = None
    as_nearest: bool = False
    disturbed: bool = False


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A block of episodes of one player under one condition."""

    condition: Played
    entrant: Entrant
    seeds: tuple[int, ...]

    @property
    def key(self) -> str:
        """The name of the block in a checkpoint."""
        return f"{self.condition.key}/{self.entrant.key}/{self.seeds[0]}"


@dataclass(frozen=True, kw_only=True)
class Judges:
    """Who watches: the policy, and the machines that are shown what the policy saw."""

    job: Job
    network: MooreMachineNetwork
    reader: FeatureReader
    steppers: Mapping[str, Stepper]
    fit_games: Rollouts | None = None
    known: dict[str, Any] = field(default_factory=dict)


def units_of(conditions: list[Played], entrants: list[Entrant], seeds: tuple[int, ...]) -> list[Unit]:
    """Return the blocks in the order in which they are played: the policy first, the plain machine before its kin."""
    return [
        Unit(condition=condition, entrant=entrant, seeds=seeds[first : first + BLOCK])
        for condition in conditions
        for entrant in entrants
        if condition.key == HELD_OUT or entrant.disturbed
        for first in range(0, len(seeds), BLOCK)
    ]


def measured(unit: Unit, judges: Judges, *, nearest: Arrays | None) -> Arrays:
    """Play a block and return what was measured, one entry an episode; `nearest`: the same block of the plain machine.

    A machine that meets nothing unrecorded plays the same game whatever its fallback is, so only the other seeds are
    played.
    """
    if unit.entrant.as_nearest and nearest is not None:
        rows = np.flatnonzero(nearest["unseen"] + nearest["undefined"] > 0)
        if not len(rows):
            return dict(nearest)
        seeds = tuple(unit.seeds[row] for row in rows)
        found = _episodes(Unit(condition=unit.condition, entrant=unit.entrant, seeds=seeds), judges)
        joined = {name: array.copy() for name, array in nearest.items()}
        for name, array in found.items():
            joined[name][rows] = array
        return joined
    return _episodes(unit, judges)


def _episodes(unit: Unit, judges: Judges) -> Arrays:
    request, what = unit.condition.request, unit.condition.disturbance
    player = unit.entrant.make(unit.seeds)
    if what is not None:
        player = DisturbedPlayer(player, unit.seeds, what, n_actions=len(judges.job.action_names))
    played = play(request, unit.seeds, player, workers=judges.job.workers)
    found: Arrays = {"returns": played.returns, "steps": played.lengths}
    if "known" in played.extras:
        known, decided = played.extras["known"], played.extras["decided"]
        found["unseen"] = _sums(played, ~known)
        found["undefined"] = _sums(played, known & ~decided)
        found["stopped"] = np.full(len(unit.seeds), NEVER)
    if what is None:
        found |= _watched(unit, played, judges)
    if "stopped" in played.extras:
        _cut(found, played)
    return found


def _watched(unit: Unit, played: Rollouts, judges: Judges) -> Arrays:
    """The policy watches another player; the machines watch the policy."""
    if unit.entrant.key != "policy":
        chosen = policy_choices(judges.job.loaded.policy, played, reader=judges.reader)
        return {
            "agrees": _sums(played, chosen == played.actions),
            "diverged": _first(played, chosen != played.actions),
        }
    codes = symbol_codes_of(judges.network, played)
    found: Arrays = {}
    for name, stepper in judges.steppers.items():
        found[f"teacher/{name}"] = _sums(played, drive(stepper, codes, played.offsets).actions == played.actions)
    if judges.fit_games is not None:
        found["copy"] = shifted_copies(played, of=judges.fit_games)
    return found


def _cut(found: Arrays, played: Rollouts) -> None:
    """Count a run that stopped only up to the step before which it had no answer."""
    stopped = _first(played, played.extras["stopped"])
    found["stopped"] = stopped
    for row in np.flatnonzero(stopped >= 0).tolist():
        first = int(played.offsets[row])
        end = first + int(stopped[row])
        found["returns"][row] = played.rewards[first:end].sum()


def _spans(played: Rollouts) -> list[tuple[int, int]]:
    return list(zip(played.offsets[:-1].tolist(), played.offsets[1:].tolist(), strict=True))


def _sums(played: Rollouts, flags: Array) -> Array:
    return np.array([int(np.sum(flags[a:b])) for a, b in _spans(played)], dtype=np.int64)


def _first(played: Rollouts, flags: Array) -> Array:
    """Return the first flagged step of each episode, `NEVER` where there is none."""
    return np.array([int(np.argmax(flags[a:b])) if flags[a:b].any() else NEVER for a, b in _spans(played)], np.int64)
