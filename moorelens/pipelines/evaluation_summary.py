"""From played blocks to `evaluation.json`: scores with intervals, rows by seed, and what the rivals say of memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.pipelines.games import Unit
from moorelens.pipelines.job import Job
from moorelens.pipelines.rivals import RivalPlayer
from moorelens.pipelines.summarise import reference_of
from moorelens.reports.evaluation import Condition, EpisodeRow, Evaluation, PlayerResult, Rival
from moorelens.reports.format import number
from moorelens.reports.summary import score_of
from moorelens.stats import estimate, paired_difference

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


def evaluation_of(
    job: Job, units: Sequence[Unit], done: Mapping[str, Arrays], rivals: Sequence[RivalPlayer]
) -> Evaluation:
    """Return the evaluation; held-out games that only replay a fit game, shifted in time, count nowhere."""
    seeds = tuple(dict.fromkeys(seed for unit in units for seed in unit.seeds))
    conditions = []
    kept_of: dict[str, dict[str, Array]] = {}
    for key in dict.fromkeys(unit.condition.key for unit in units):
        own = [unit for unit in units if unit.condition.key == key]
        joined = {
            name: _joined([done[unit.key] for unit in own if unit.entrant.key == name])
            for name in dict.fromkeys(unit.entrant.key for unit in own)
        }
        new = ~joined["policy"].get("copy", np.zeros(len(seeds), dtype=np.bool_)).astype(np.bool_)
        kept_of[key] = {name: arrays["returns"][new] for name, arrays in joined.items()}
        players = tuple(
            _result(unit, joined[unit.entrant.key], joined["policy"], seeds=seeds, new=new)
            for unit in {unit.entrant.key: unit for unit in own}.values()
            if new.any()
        )
        condition = own[0].condition
        conditions.append(
            Condition(
                key=key, title=condition.title, detail=condition.detail, players=players, copies=int(np.sum(~new))
            )
        )
    found = _rivals(rivals, kept_of[units[0].condition.key])
    memory, finding = _finding(found)
    return Evaluation(
        policy=reference_of(job),
        env=job.request.id,
        seeds=seeds,
        conditions=tuple(conditions),
        rivals=found,
        memory=memory,  # type: ignore[arg-type]
        finding=finding,
    )


def _joined(blocks: Sequence[Arrays]) -> dict[str, Array]:
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _result(unit: Unit, own: Arrays, policy: Arrays, *, seeds: tuple[int, ...], new: Array) -> PlayerResult:
    entrant = unit.entrant
    total = int(own["steps"][new].sum())
    teacher = policy.get(f"teacher/{entrant.key}")
    shares = {name: float(own[name][new].sum() / total) for name in ("unseen", "undefined", "agrees") if name in own}
    loss = None
    if entrant.key != "policy":
        loss = score_of(paired_difference(policy["returns"][new], own["returns"][new]))
    forced = None
    if teacher is not None and unit.condition.disturbance is None:
        forced = float(teacher[new].sum() / policy["steps"][new].sum())
    rows = [_row(seeds[i], i, own, policy, teacher) for i in np.flatnonzero(new).tolist()]
    return PlayerResult(
        player=entrant.key,
        title=entrant.title,
        fallback=entrant.fallback,
        score=score_of(estimate(own["returns"][new])),
        loss=loss,
        teacher_forced=forced,
        episodes=tuple(rows),
        **shares,
    )


def _row(seed: int, i: int, own: Arrays, policy: Arrays, teacher: Array | None) -> EpisodeRow:
    steps = int(own["steps"][i])

    def whole(name: str) -> int | None:
        return int(own[name][i]) if name in own and own[name][i] >= 0 else None

    return EpisodeRow(
        seed=seed,
        total=float(own["returns"][i]),
        steps=steps,
        unseen=whole("unseen"),
        undefined=whole("undefined"),
        agrees=float(own["agrees"][i] / steps) if "agrees" in own else None,
        teacher_forced=None if teacher is None else float(teacher[i] / policy["steps"][i]),
        diverged=whole("diverged"),
        stopped=whole("stopped"),
    )


def _rivals(rivals: Sequence[RivalPlayer], returns: Mapping[str, Array]) -> tuple[Rival, ...]:
    if not len(returns["policy"]):
        return ()
    return tuple(
        Rival(
            player=rival.key,
            title=rival.title,
            sees=rival.sees,
            memory=rival.memory,
            gain=score_of(paired_difference(returns["machine"], returns[rival.key])),
            policy_gain=score_of(paired_difference(returns["policy"], returns[rival.key])),
            detail=rival.detail,
        )
        for rival in rivals
    )


def _finding(rivals: Sequence[Rival]) -> tuple[str, str]:
    """Say whether the machine beats every rival without memory: each interval of the gain lies above zero.

    All must be beaten, so nothing is chosen by a held-out number, and no correction for several rivals is needed.
    """
    blind = [rival for rival in rivals if not rival.memory]
    if not blind:
        return "not measured", ""
    equals = [rival for rival in blind if not (rival.gain.low is not None and rival.gain.low > 0)]
    if not equals:
        least = min(blind, key=lambda rival: rival.gain.mean)
        return "used", (
            f"Memory is used: the machine beats every player without it, the closest "
            f"({least.title.lower()}) by {number(least.gain.mean)}."
        )
    near = min(equals, key=lambda rival: rival.gain.mean)
    return "not shown", (
        f"That memory is used is not shown: {near.title.lower()}, which sees only {near.sees}, is not beaten "
        f"(the machine gains {_bounded(near)})."
    )


def _bounded(rival: Rival) -> str:
    low, high = rival.gain.low, rival.gain.high
    bounds = "" if low is None or high is None else f", {number(low)} to {number(high)}"
    return f"{number(rival.gain.mean)}{bounds}"
