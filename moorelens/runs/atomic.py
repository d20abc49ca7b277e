"""Files that appear whole or not at all: written beside, flushed to the disk, renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from moorelens.errors import StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an operating-system error while writing `path` into a StorageError of one sentence."""
    try:
        yield
    except OSError as error:
        raise StorageError(_sentence(path, error)) from error


def write_atomic(path: Path, data: bytes, *, scratch: Path | None = None) -> None:
    """Put `data` at `path`: a reader, or a power cut, sees the old file or the new one and nothing between.

    `scratch` is the folder of the temporary file (default: that of `path`; it must be on the same disk).

    Raises: StorageError where the disk is full or the folder cannot be written; the old file is then untouched.
    """
    path = Path(path)
    with storage_errors(path):
        temporary = write_scratch(path.parent if scratch is None else scratch, data)
        try:
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_scratch(folder: Path, data: bytes) -> Path:
    """Write `data` to a new temporary file in `folder`, flush it to the disk and return its path."""
    path = folder / f".{secrets.token_hex(8)}.tmp"
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename survives a power cut; a no-op where folders cannot be opened."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_full(error: OSError) -> bool:
    """Say whether an operating-system error means that the disk, or the user's share of it, is full."""
    return error.errno in _FULL


def _sentence(path: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    if is_full(error):
        return (
            f"{path} could not be written because the disk or your quota is full ({reason}): free space and run again."
        )
    return f"{path} could not be written ({reason}): choose another folder with --out, or make this one writable."
