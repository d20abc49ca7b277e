"""What `reproduce` is asked for; imports no torch."""

from __future__ import annotations

from typing import Literal

import msgspec

from moorelens.pipelines.config import Preset, require

TableName = Literal["mce", "tomita", "control", "atari"]


class ReproduceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`reproduce`: one published table, made again."""

    table: TableName
    """mce (memory tasks), tomita (grammars), control or atari."""
    out: str | None = None
    """Folder for the table and a run folder a row, which the same command continues; runs/reproduce-TABLE else."""
    rows: str | None = None
    """Only rows whose name contains one of these words, separated by commas, such as tomita5,tomita6-8."""
    seed: int = 0
    """Seed of every network, word and episode."""
    repeats: int | None = None
    """Learn every row with so many seeds, counted from --seed, and say how many came out exact; else 1, thorough 5."""
    restarts: int = 3
    """Begin a row again at most so often while selection seeds show mistakes."""
    held_out: int = 100
    """Episodes to measure on, never used for fitting or choosing."""
    workers: int = 2
    """Rows that are made at the same time, each in a process of its own."""
    preset: Preset = "standard"
    """How much work a row of control and atari is; thorough learns the rows of mce and tomita with five seeds."""
    force: bool = False
    """Start over, even in a folder that belongs to another run."""

    def __post_init__(self) -> None:
        """Refuse values that no table can be made with; raises `OptionError`."""
        for name in ("seed", "restarts"):
            require(getattr(self, name) >= 0, name, "a whole number from 0 on", getattr(self, name))
        for name in ("held_out", "workers"):
            require(getattr(self, name) >= 1, name, "a whole number from 1 on", getattr(self, name))
        require(self.repeats is None or self.repeats >= 1, "repeats", "a whole number from 1 on", self.repeats)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that every row is learned with."""
        count = self.repeats or (5 if self.preset == "thorough" else 1)
        return tuple(range(self.seed, self.seed + count))
