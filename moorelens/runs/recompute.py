"""A stage made once more on files in memory: what verifying a run needs, with nothing written anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moorelens.errors import InvariantError
from moorelens.runs.checkpoints import Checkpoint
from moorelens.runs.progress import NullProgress, Progress
from moorelens.runs.stages import Stage, StageContext


def recompute(stage: Stage, files: Mapping[str, bytes], *, progress: Progress | None = None) -> Mapping[str, bytes]:
    """Run `stage` on `files` (name -> bytes) and return what it makes; it begins afresh and keeps no checkpoint."""
    return stage.run(_Memory(stage, files, progress=progress or NullProgress()))


class NoCheckpoint(Checkpoint):
    """Keeps nothing."""

    def __init__(self) -> None:
        """There is no file."""

    def load(self) -> None:
        """Return None: there is nothing to go on from."""

    def save(self, files: Mapping[str, bytes]) -> None:
        """Nothing is kept."""

    def due(self, every_s: float = 20.0) -> bool:
        """Say that there is nothing to save."""
        return False

    def clear(self) -> None:
        """There is nothing to forget."""


class _Memory(StageContext):
    def __init__(self, stage: Stage, files: Mapping[str, bytes], *, progress: Progress) -> None:
        self.progress, self.checkpoint = progress, NoCheckpoint()
        self._stage, self._files = stage, files
        self._left_out: list[str] = []

    def read(self, name: str) -> bytes:
        if name not in self._files:
            raise InvariantError(f"Stage {self._stage.name!r} reads {name!r}, which the run does not hold.")
        return self._files[name]

    def names(self, prefix: str = "") -> tuple[str, ...]:
        return tuple(sorted(name for name in self._files if name.startswith(prefix)))

    def log(self, event: str, /, **facts: Any) -> None:
        """Nothing is noted: this is no run."""

    def seconds_left(self) -> float | None:
        return None
