"""Rows of `reproduce control` and `atari`: the ordinary job on a bundled policy, with the published code sizes."""

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

_WIDTH = 16  # digits up to which the presets' own step length was found to hold


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
    job = dataclasses.replace(job, quantise=at_published_size(job.quantise, task.row.digits))
    summary = run_job(job, "explain", explain_stages(job), progress=progress).summary
    assert summary is not None
    published = summary.returns_published.folded
    return {
        "ours": _block(summary, summary.returns.folded),
        "ours_published": None if published is None else _block(summary, published),
        "equivalent": None,
        "restarts": 0,
    }


def at_published_size(settings: QuantiseConfig, digits: tuple[int, int]) -> QuantiseConfig:
    """Return `settings` for the code sizes of a row, which are larger than those that presets try.

    Wide quantisers take smaller steps: at the presets' 2e-3, LunarLander with 128 and 100 digits fell from 257 to -500
    within two rounds and never came back; at an eighth of it, it kept its return (docs/results.md).
    """
    slower = min(1.0, _WIDTH / max(digits))
    return msgspec.structs.replace(
        settings,
        sizes=(digits,),
        learning_rate=settings.learning_rate * slower,
        passes=max(1, settings.passes // 2) if slower < 1.0 else settings.passes,
    )


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
