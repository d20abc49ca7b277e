"""`evaluation.json`: every player under every condition, seed by seed, and what the rivals without memory say."""

from __future__ import annotations

from typing import Literal

import msgspec

from moorelens.errors import RunFolderError
from moorelens.reports.summary import Record, Score

EVALUATION_FORMAT: Literal["moorelens.evaluation/1"] = "moorelens.evaluation/1"


class EpisodeRow(Record, frozen=True, kw_only=True):
    """One episode; null where it does not apply or was not measured, steps count from 0.

    `unseen`: steps with an unknown symbol. `undefined`: steps with a known symbol and no recorded transition.
    `agrees`: share of steps at which the policy, shown the same, would have acted alike; `diverged`: the first other.
    `teacher_forced`: share of the policy's own actions in its game on this seed that the player, shown the same, takes.
    `stopped`: where a machine without an answer ended (fallback `error`); `total` then counts up to there.
    """

    seed: int
    total: float
    steps: int
    unseen: int | None = None
    undefined: int | None = None
    agrees: float | None = None
    teacher_forced: float | None = None
    diverged: int | None = None
    stopped: int | None = None


class PlayerResult(Record, frozen=True, kw_only=True):
    """One player under one condition; `loss` is the policy's return minus its own, seed by seed.

    `fallback` is what a machine does where nothing was recorded. Shares are of all steps.
    """

    player: str
    title: str
    fallback: str | None = None
    score: Score
    loss: Score | None = None
    unseen: float | None = None
    undefined: float | None = None
    agrees: float | None = None
    teacher_forced: float | None = None
    episodes: tuple[EpisodeRow, ...] = ()


class Condition(Record, frozen=True, kw_only=True):
    """One way in which episodes were played; `copies` of fit games were left out."""

    key: str
    title: str
    detail: str
    players: tuple[PlayerResult, ...]
    copies: int = 0


class Rival(Record, frozen=True, kw_only=True):
    """A player that the machine is compared with, on the held-out games.

    `sees`: what it acts on. `memory`: whether the machine's state is part of it. `gain`: the machine's return minus
    its own; `policy_gain`: the policy's minus its own. `detail`: how it was made.
    """

    player: str
    title: str
    sees: str
    memory: bool
    gain: Score
    policy_gain: Score
    detail: str = ""


class Evaluation(Record, frozen=True, kw_only=True):
    """`evaluation.json`; `memory` is `used` only where the machine beats every rival without memory."""

    format: Literal["moorelens.evaluation/1"] = EVALUATION_FORMAT
    policy: str
    env: str
    seeds: tuple[int, ...]
    conditions: tuple[Condition, ...]
    rivals: tuple[Rival, ...] = ()
    memory: Literal["used", "not shown", "not measured"] = "not measured"
    finding: str = ""


def decode_evaluation(data: bytes) -> Evaluation:
    """Return the evaluation in `data`, validated; raises `RunFolderError` where it is not one."""
    try:
        return msgspec.json.decode(data, type=Evaluation)
    except msgspec.MsgspecError as error:
        raise RunFolderError(
            f"An evaluation must follow {EVALUATION_FORMAT}, and this one does not ({error}): run `moorelens evaluate` "
            "on the run again."
        ) from error
