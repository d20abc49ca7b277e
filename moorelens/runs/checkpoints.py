"""The state of a stage that is under way: files that are saved together or not at all, and gone when the stage ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from moorelens.runs.atomic import write_atomic
from moorelens.runs.hashing import digest


class _Saved(msgspec.Struct, frozen=True):
    key: str
    files: dict[str, bytes]
    sha256: str


class OutOfTime(Exception):
    """The run's time limit has passed; raised by `Checkpoint.save` once the state is safe, caught by `run_stages`."""


class Checkpoint:
    """Where a stage keeps its state; one that belongs to other inputs or another config counts as absent."""

    def __init__(self, path: Path, *, key: str, out_of_time: Callable[[], bool] = lambda: False) -> None:
        self._path, self._key, self._out_of_time = path, key, out_of_time
        self._saved_at = time.monotonic()

    def load(self) -> Mapping[str, bytes] | None:
        """Return the last saved files, or None where the stage starts afresh (also where the checkpoint is damaged)."""
        try:
            saved = msgspec.msgpack.decode(self._path.read_bytes(), type=_Saved)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None
        whole = saved.key == self._key and saved.sha256 == digest(saved.files)
        return saved.files if whole else None

    def save(self, files: Mapping[str, bytes]) -> None:
        """Replace the checkpoint by `files`, as a whole.

        Raises: StorageError where the disk is full (the checkpoint before it is then untouched); OutOfTime,
        after saving, where the run's time limit has passed: let it through.
        """
        named = dict(files)
        write_atomic(self._path, msgspec.msgpack.encode(_Saved(self._key, named, digest(named))))
        self._saved_at = time.monotonic()
        if self._out_of_time():
            raise OutOfTime

    def due(self, every_s: float = 20.0) -> bool:
        """Say whether to save now: `every_s` seconds have passed (a kill may lose at most 60 s), or time is up."""
        return time.monotonic() - self._saved_at >= every_s or self._out_of_time()

    def stop_if_late(self) -> None:
        """Raise OutOfTime where the run's time limit has passed: what was done since the last save is done again."""
        if self._out_of_time():
            raise OutOfTime

    def clear(self) -> None:
        """Forget the checkpoint."""
        self._path.unlink(missing_ok=True)
