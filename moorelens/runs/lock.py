"""One process at a time in a run folder; the system drops the lock when its holder dies, however it dies."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from moorelens.errors import RunFolderError

LOCK = "lock"


@contextlib.contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Hold the lock file in `folder` for the length of the context; it is gone afterwards.

    Raises: RunFolderError where another process holds it.
    """
    descriptor = _acquire(folder / LOCK)
    if descriptor is None:
        raise RunFolderError(
            f"One process at a time works in a run folder, and another one is at work in {folder.parent}: "
            "wait for it to end, or choose another folder with --out."
        )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # the folder is gone already, or the system does not remove open files
            (folder / LOCK).unlink()
        os.close(descriptor)


def _acquire(path: Path) -> int | None:
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        if not _try_lock(descriptor):
            os.close(descriptor)
            return None
        # The holder before us may have removed the file between our opening and our locking it.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
