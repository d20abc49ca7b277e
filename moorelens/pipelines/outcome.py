"""What a whole job hands back: its folder, its summary, and what a time limit left out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moorelens.reports.summary import RunSummary


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A job's end; `summary` is None where the time limit came before there was anything to sum up."""

    folder: Path
    summary: RunSummary | None
    left_out: tuple[str, ...] = ()
