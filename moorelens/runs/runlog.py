"""`run-log.json`: when, where and how long; the only file of a run folder that differs between two equal runs."""

from __future__ import annotations

import datetime
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from moorelens.runs.atomic import write_atomic

FORMAT = "moorelens.run-log/1"
RUN_LOG = "run-log.json"


class Session(msgspec.Struct, kw_only=True):
    """One process that worked on the folder; `run` is the digest of the run's verb and identity."""

    run: str
    started: str
    folder: str
    host: dict[str, Any]
    events: list[dict[str, Any]]


class LogFile(msgspec.Struct, kw_only=True):
    """`run-log.json` is this struct."""

    format: str
    sessions: list[Session]


class RunLog:
    """Collects events and writes them when a stage begins or ends: a kill loses little, a log costs nothing."""

    def __init__(self, folder: Path, *, scratch: Path, run: str, fresh: bool = False) -> None:
        self._path, self._scratch = folder / RUN_LOG, scratch
        self._began = time.monotonic()
        earlier = None if fresh else read_log(folder)
        self._session = Session(run=run, started=_now(), folder=str(folder.resolve()), host=_host(), events=[])
        self._file = LogFile(format=FORMAT, sessions=[*(earlier.sessions if earlier else []), self._session])

    def add(self, event: str, /, **facts: Any) -> None:
        """Note an event with the seconds since this process began."""
        self._session.events.append({"event": event, "at_s": round(time.monotonic() - self._began, 3), **facts})

    def flush(self) -> None:
        """Write what was noted so far."""
        data = msgspec.json.format(msgspec.json.encode(self._file, enc_hook=str), indent=1)
        write_atomic(self._path, data + b"\n", scratch=self._scratch)


def read_log(folder: Path) -> LogFile | None:
    """Read a folder's log, or None where there is none that can be read."""
    try:
        log = msgspec.json.decode((folder / RUN_LOG).read_bytes(), type=LogFile)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return log if log.format == FORMAT else None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _host() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "python": sys.executable,
    }
