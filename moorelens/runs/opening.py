"""Whose run folder it is: what may be opened, and what is refused with nothing in it touched."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from moorelens.errors import RunFolderError
from moorelens.runs.atomic import is_full, storage_errors
from moorelens.runs.folder import SCRATCH, RunFolder
from moorelens.runs.hashing import digest
from moorelens.runs.lock import hold_lock
from moorelens.runs.manifest import FORMAT, MANIFEST, Header, Manifest, decode_manifest
from moorelens.runs.runlog import RUN_LOG, read_log


@contextlib.contextmanager
def open_folder(path: Path, header: Header, *, order: Sequence[str], force: bool = False) -> Iterator[RunFolder]:
    """Open (or make) the folder of the run that `header` describes, and hold it for the length of the context.

    A folder of the same run is continued, or with `force` started over; a folder that is another run's is refused,
    or with `force` taken over (its run's files are removed). A folder with files that is no run folder is always
    refused.

    Raises: RunFolderError.
    """
    path = Path(path)
    if not (path / SCRATCH).is_dir():
        _judge(path, header, force=force)
    _make_writable(path)
    with hold_lock(path / SCRATCH):
        folder = RunFolder(path, Manifest(format=FORMAT, header=header, stages=[]), order=order)
        folder.replay()
        _judge(path, header, force=force)
        folder.tidy()
        folder.manifest = _read_manifest(path) or folder.manifest
        folder.begin(header, over=force)
        yield folder


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of a run folder, without changing anything in it.

    Raises: RunFolderError where `path` is no run folder.
    """
    if not path.is_dir():
        what = "it is a file" if path.exists() else "there is nothing"
        raise RunFolderError(
            f"A run is a folder that holds a {MANIFEST}, and at {path} {what}: check how it is written."
        )
    manifest = _read_manifest(path)
    if manifest is None:
        raise RunFolderError(
            f"A run is a folder that holds a {MANIFEST}, and {path} holds none that can be read: give the folder that "
            "`moorelens explain` or `extract` wrote."
        )
    return manifest


def run_digest(header: Header) -> str:
    """Return what two headers share when they describe the same run."""
    return digest({"verb": header.verb, "identity": header.identity})


def _judge(path: Path, header: Header, *, force: bool) -> None:
    """Raise where the folder is not this run's to touch."""
    if not path.exists():
        return
    if not path.is_dir():
        raise RunFolderError(f"A run is written to a folder, and {path} is a file: choose another place with --out.")
    if not _entries(path):
        return
    manifest, log = _read_manifest(path), read_log(path)
    if manifest is not None:
        if force or run_digest(manifest.header) == run_digest(header):
            return
        raise RunFolderError(_of_another_run(path, manifest.header, header))
    if log is not None and log.sessions and (force or log.sessions[-1].run == run_digest(header)):
        return
    raise RunFolderError(_no_run(path, damaged=log is not None))


def _of_another_run(path: Path, there: Header, wanted: Header) -> str:
    differing = sorted(
        name
        for name in there.identity.keys() | wanted.identity.keys()
        if there.identity.get(name) != wanted.identity.get(name)
    )
    other = f"differs in its {', '.join(differing)}"
    what = f"was made by `{there.verb}`" if there.verb != wanted.verb else other
    return (
        f"A run folder is continued by the run that made it, and {path} belongs to another one: it {what}; "
        "choose another folder with --out, or give --force to remove that run and start over."
    )


def _no_run(path: Path, *, damaged: bool) -> str:
    if damaged:
        return (
            f"{path} is a run folder whose {MANIFEST} is missing or damaged, and {RUN_LOG} says that it is another "
            "run's: "
            "choose another folder with --out, or give --force to start over."
        )
    return (
        f"A run is written to a new or empty folder, and {path} holds files that are not a run's (no readable "
        f"{MANIFEST}): "
        "choose another folder with --out."
    )


def _entries(path: Path) -> list[str]:
    try:
        return sorted(set(os.listdir(path)) - {SCRATCH})
    except OSError as error:
        raise RunFolderError(
            f"The run folder {path} cannot be read ({error.strerror}): choose another folder with --out."
        ) from error


def _make_writable(path: Path) -> None:
    try:
        (path / SCRATCH).mkdir(parents=True, exist_ok=True)
        probe = path / SCRATCH / ".probe.tmp"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        if is_full(error):
            with storage_errors(path):
                raise
        raise RunFolderError(
            f"The run folder {path} cannot be written ({error.strerror}): choose another folder with --out, "
            "or make this one writable."
        ) from error


def _read_manifest(path: Path) -> Manifest | None:
    try:
        return decode_manifest((path / MANIFEST).read_bytes())
    except OSError:
        return None
