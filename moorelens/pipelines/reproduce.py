"""`reproduce`: a published table made again, row by row in processes of their own, in a folder that is continued."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from moorelens.errors import RunFolderError
from moorelens.pipelines.reproduce_config import ReproduceConfig
from moorelens.pipelines.reproduce_memory import MemoryRow, make_memory_row
from moorelens.pipelines.reproduce_output import ROWS_JSON, table_files
from moorelens.pipelines.reproduce_played import PlayedRows, make_played_rows
from moorelens.pipelines.reproduce_replica import make_replica
from moorelens.pipelines.reproduce_tables import PublishedRow, select_rows
from moorelens.runs.atomic import storage_errors, write_atomic
from moorelens.runs.executor import open_executor
from moorelens.runs.progress import NullProgress, Progress

MARK = "reproduce.json"
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A table's end: its folder, its rows as `--json` prints them, and for each row how many seeds came out exact."""

    folder: Path
    rows: Sequence[Row]
    exact: Mapping[str, tuple[int, int]]


def run_reproduce(config: ReproduceConfig, *, progress: Progress | None = None) -> Reproduction:
    """Make a table again in `config.out`; rows that are finished there are kept, and the same call goes on.

    Raises `OptionError` for rows that do not exist, `RunFolderError` for a folder of something else.
    """
    rows = select_rows(config.table, config.rows)
    folder = Path(config.out or default_folder(config.table))
    _claim(folder, config)
    tasks = _tasks(rows, config, folder)
    made: dict[tuple[str, int], Row] = {}
    with (
        (progress or NullProgress()).task(f"reproducing {config.table}", total=len(rows) * len(config.seeds)) as bar,
        open_executor(min(config.workers, len(tasks))) as executor,
    ):
        for task, found in zip(tasks, executor.map(make_rows, tasks), strict=True):
            for row, blocks in zip(task.rows, found, strict=True):
                made[row.key, task.seed] = blocks
                bar.advance()
                bar.note(_note(row, blocks))
    finished, exact = _rows(rows, [[made[row.key, seed] for seed in config.seeds] for row in rows])
    for name, data in table_files(config.table, finished, exact).items():
        write_atomic(folder / name, data)
    return Reproduction(folder=folder, rows=finished, exact=exact)


def make_rows(task: MemoryRow | PlayedRows) -> list[Row]:
    """Make the rows of one task in this process."""
    if isinstance(task, MemoryRow):
        return [make_memory_row(task) | {"ours_published": make_replica(task)}]
    return make_played_rows(task)


def default_folder(table: str) -> str:
    """Return where a table goes if nothing is said."""
    return f"runs/reproduce-{table}"


def _tasks(rows: Sequence[PublishedRow], config: ReproduceConfig, folder: Path) -> list[MemoryRow | PlayedRows]:
    """Return what can be made at the same time: each row that learns by itself, and all rows of one policy together."""
    tasks: list[MemoryRow | PlayedRows] = []
    for policy, alike in itertools.groupby(rows, key=lambda row: row.policy):
        group = tuple(alike)
        for seed in config.seeds:
            if policy is None:
                tasks += [_memory_row(row, config, folder, seed) for row in group]
            else:
                tasks.append(_played_rows(group, config, folder, seed))
    return tasks


def _memory_row(row: PublishedRow, config: ReproduceConfig, folder: Path, seed: int) -> MemoryRow:
    return MemoryRow(
        row=row, out=str(folder), seed=seed, restarts=config.restarts, held_out=config.held_out, force=config.force
    )


def _played_rows(rows: tuple[PublishedRow, ...], config: ReproduceConfig, folder: Path, seed: int) -> PlayedRows:
    return PlayedRows(
        rows=rows, out=str(folder), seed=seed, held_out=config.held_out, preset=config.preset, force=config.force
    )


def _rows(rows: Sequence[PublishedRow], made: Sequence[Sequence[Row]]) -> tuple[list[Row], dict[str, tuple[int, int]]]:
    """Return one row a published cell, of the first seed, and how many of its seeds came out exact."""
    finished, exact = [], {}
    for row, found in zip(rows, made, strict=True):
        first = found[0]
        finished.append(
            {
                "name": row.name,
                "setting": row.setting,
                "published": row.published,
                "ours": first["ours"],
                "ours_published": first.get("ours_published"),
                "true_states": row.true_states,
                "equivalent": first["equivalent"],
                "restarts": first["restarts"],
            }
        )
        if row.true_states is not None:
            right = [one["equivalent"] and one["ours"]["states"] == row.true_states for one in found]
            exact[row.key] = (sum(right), len(right))
    return finished, exact


def _note(row: PublishedRow, found: Row) -> str:
    ours = found["ours"]
    return f"{row.key}: {ours['states']} states, score {ours['score']:.4g}" if ours else f"{row.key}: no policy"


def _claim(folder: Path, config: ReproduceConfig) -> None:
    """Mark the folder as this table's; raises `RunFolderError` where it is another's."""
    mark = folder / MARK
    wanted = msgspec.json.encode({"format": "moorelens.reproduce/1", "table": config.table}) + b"\n"
    if folder.is_file():
        raise RunFolderError(f"A table is written to a folder, and {folder} is a file: choose another with --out.")
    there = mark.read_bytes() if mark.is_file() else None
    if there != wanted and folder.is_dir() and any(folder.iterdir()) and not (config.force and there is not None):
        what = "no table of `moorelens reproduce`" if there is None else "another table"
        raise RunFolderError(
            f"A table is written to a new folder or its own, and {folder} holds {what}: choose another with --out."
        )
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomic(mark, wanted)


__all__ = ["ROWS_JSON", "Reproduction", "default_folder", "make_rows", "run_reproduce"]
