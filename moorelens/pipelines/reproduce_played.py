"""Rows of `reproduce control` and `atari`: the ordinary job on a bundled policy, its codes up to the published size."""

from __future__ import annotations

import dataclasses
import shutil
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
from moorelens.runs.atomic import storage_errors
from moorelens.runs.progress import Progress


class PlayedRows(msgspec.Struct, frozen=True, kw_only=True):
    """What is made of the rows of one policy: where, with which seed, on how many held-out games, how much work."""

    rows: tuple[PublishedRow, ...]
    out: str
    seed: int
    held_out: int
    preset: Preset
    force: bool = False

    def folder(self, row: PublishedRow) -> Path:
        """Where the run of a row lies."""
        name = row.key if self.seed == 0 else f"{row.key}-seed{self.seed}"
        return Path(self.out) / "rows" / name


def make_played_rows(task: PlayedRows, *, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Explain the rows' policy into a run folder a row and return the rows' blocks.

    `ours` speaks of the folded machine on held-out seeds, `ours_published` of the same machine in the one game of the
    published protocol, None where the seed matters. A row whose policy is not bundled has neither.
    """
    return [_made(task, position, progress) for position in range(len(task.rows))]


def _made(task: PlayedRows, position: int, progress: Progress | None) -> dict[str, Any]:
    row = task.rows[position]
    policy = row.policy
    assert policy is not None
    if policy.removeprefix("zoo:") not in zoo_names():
        return {"ours": None, "ours_published": None, "equivalent": None, "restarts": 0}
    folder, force = task.folder(row), task.force
    config = ExplainConfig(
        policy=policy, out=str(folder), seed=task.seed, held_out=task.held_out, preset=task.preset, force=force
    )
    job = open_job(config)
    settings = [up_to_published_size(job.quantise, other.digits) for other in task.rows[: position + 1]]
    alike = (k for k in range(position) if _same_search(task.folder(task.rows[k]), settings[k], settings[position]))
    twin = next(alike, position)
    if twin != position and (force or not (folder / "summary.json").is_file()):
        _copy(task.folder(task.rows[twin]), folder)
        job = dataclasses.replace(job, config=msgspec.structs.replace(config, force=False))
    job = dataclasses.replace(job, quantise=settings[twin])
    summary = run_job(job, "explain", explain_stages(job), progress=progress).summary
    assert summary is not None
    published = summary.returns_published.folded
    return {
        "ours": _block(summary, summary.returns.folded),
        "ours_published": None if published is None else _block(summary, published),
        "equivalent": None,
        "restarts": 0,
    }


def _same_search(folder: Path, theirs: QuantiseConfig, ours: QuantiseConfig) -> bool:
    """Return whether the search of a finished run, told `theirs`, ended before it did anything that `ours` would not.

    Then both rows are the same run, said to be the earlier one's.
    """
    found = msgspec.json.decode((folder / "quantise.json").read_bytes())
    tried = theirs.sizes[: theirs.sizes.index(tuple(found["size"])) + 1]
    return bool(found["chosen"]["kept"]) and ours.sizes[: len(tried)] == tried and not ours.search_all


def _copy(finished: Path, folder: Path) -> None:
    """Put a copy of a finished run where another row's belongs; the job then finds everything made."""
    partial = folder.with_name(f".{folder.name}.partial")
    with storage_errors(folder):
        for stale in (partial, folder):
            shutil.rmtree(stale, ignore_errors=True)
        shutil.copytree(finished, partial)
        partial.rename(folder)


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
