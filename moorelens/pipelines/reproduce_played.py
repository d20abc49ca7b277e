"""Rows of `reproduce control` and `atari`: the ordinary job on a bundled policy, its codes up to the published size."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec

from moorelens.fsm.config import QuantiseConfig
from moorelens.pipelines.config import ExplainConfig, Preset
from moorelens.pipelines.explain import explain_stages, run_job
from moorelens.pipelines.job import open_job
from moorelens.pipelines.reproduce_tables import PublishedRow
from moorelens.policies.zoo.files import zoo_names
from moorelens.reports.summary import RunSummary
from moorelens.runs.progress import Progress


class PlayedRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is made of one row: where, with which seed, on how many held-out games, and how much work."""

    row: PublishedRow
    out: str
    seed: int
    held_out: int
    preset: Preset
    force: bool = False


def make_played_row(task: PlayedRow, *, progress: Progress | None = None) -> dict[str, Any]:
    """Explain the row's policy into its run folder and return the row's blocks.

    `ours` speaks of the folded machine on held-out seeds, `ours_published` of the same machine in the one game of the
    published protocol, None where the seed matters. A row whose policy is not bundled has neither.
    """
    policy = task.row.policy
    assert policy is not None
    if policy.removeprefix("zoo:") not in zoo_names():
        return {"ours": None, "ours_published": None, "equivalent": None, "restarts": 0}
    name = task.row.key if task.seed == 0 else f"{task.row.key}-seed{task.seed}"
    config = ExplainConfig(
        policy=policy,
        out=str(Path(task.out) / "rows" / name),
        seed=task.seed,
        held_out=task.held_out,
        preset=task.preset,
        force=task.force,
    )
    job = open_job(config)
    job = dataclasses.replace(job, quantise=up_to_published_size(job.quantise, task.row.digits))
    summary = run_job(job, "explain", explain_stages(job), progress=progress).summary
    assert summary is not None
    published = summary.returns_published.folded
    return {
        "ours": _block(summary, summary.returns.folded),
        "ours_published": None if published is None else _block(summary, published),
        "equivalent": None,
        "restarts": 0,
    }


def up_to_published_size(settings: QuantiseConfig, digits: tuple[int, int]) -> QuantiseConfig:
    """Return `settings` that try the preset's sizes no larger than the row's, small to large, and the row's last.

    The first that keeps the return is taken, so that a row says how small a code does what the published one did.
    Fitting the published sizes at once gives far more states: LunarLander with 128 and 64 digits came to 35,000, of
    which hardly one is met again in a held-out game (docs/results.md).
    """
    smaller = tuple(size for size in settings.sizes if size[0] <= digits[0] and size[1] <= digits[1] and size != digits)
    return msgspec.structs.replace(settings, sizes=(*smaller, digits))


def _block(summary: RunSummary, score: Any) -> dict[str, Any]:
    machine, folded = summary.sizes.machine, summary.sizes.folded
    return {
        "states": None if folded is None else folded.states,
        "symbols": None if folded is None else folded.symbols,
        "unminimised_states": None if machine is None else machine.states,
        "unminimised_symbols": None if machine is None else machine.symbols,
        "score": None if score is None else score.mean,
        "low": None if score is None else score.low,
        "high": None if score is None else score.high,
    }
