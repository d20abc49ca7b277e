"""A run folder on the disk: how files get into it whole, and how an interrupted change is made good."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from moorelens.errors import InvariantError, RunFolderError
from moorelens.runs.atomic import storage_errors, sync_folder, write_atomic, write_scratch
from moorelens.runs.hashing import digest, digest_bytes
from moorelens.runs.manifest import FORMAT, MANIFEST, Header, Manifest, StageEntry, encode_manifest
from moorelens.runs.runlog import RUN_LOG

SCRATCH = ".moorelens"  # temporary files, checkpoints, journal and lock; absent from a finished folder
_JOURNAL = "journal"
_CHECKPOINT = ".checkpoint"


class _Journal(msgspec.Struct, frozen=True):
    """A change of several files, written before it begins, so that a kill half-way is made good at the next opening."""

    manifest: Manifest
    place: dict[str, str]  # final name -> name in the scratch folder
    remove: list[str]


class RunFolder:
    """An open run folder; made by `moorelens.runs.opening.open_folder`, used by `run_stages` only."""

    def __init__(self, path: Path, manifest: Manifest, *, order: Sequence[str]) -> None:
        self.path, self.scratch, self.manifest = path, path / SCRATCH, manifest
        self._order = {name: position for position, name in enumerate(order)}

    def holds(self, name: str, key: str) -> bool:
        """Say whether stage `name` finished with this `key`, left nothing out, and its files are unchanged."""
        entry = self.manifest.entry(name)
        if entry is None or entry.key != key or entry.left_out:
            return False
        return all(self._sha(file) == sha for file, sha in entry.outputs.items())

    def read(self, name: str) -> bytes:
        """Return the bytes of the file `name`.

        Raises: RunFolderError where it cannot be read.
        """
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise RunFolderError(
                f"{self.path / name} is needed and cannot be read ({error.strerror}): run the command again, which "
                "makes it anew."
            ) from error

    def checkpoint_path(self, stage: str) -> Path:
        """Return where stage `stage` keeps its checkpoint."""
        return self.scratch / (digest(stage)[:16] + _CHECKPOINT)

    def place(self, entry: StageEntry, files: Mapping[str, bytes]) -> None:
        """Put a finished stage's files and entry into the folder; what was computed from other files of it goes.

        Raises: StorageError where the disk is full; what was there before is then still there.
        """
        gone = {entry.name, *_stale(self.manifest.stages, entry)}
        kept = [old for old in self.manifest.stages if old.name not in gone]
        removed = {name for old in self.manifest.stages if old.name in gone for name in old.outputs}
        scratch: dict[str, str] = {}
        with storage_errors(self.path):
            try:
                for name, data in files.items():
                    scratch[name] = write_scratch(self.scratch, data).name
            except BaseException:
                for name in scratch.values():
                    (self.scratch / name).unlink(missing_ok=True)
                raise
        self._change(self.manifest.header, [*kept, entry], place=scratch, remove=removed - set(files))
        self.checkpoint_path(entry.name).unlink(missing_ok=True)

    def begin(self, header: Header, *, over: bool) -> None:
        """Take the folder for a run of `header`; files of stages that it does not have go, but for added stages'.

        `over`: all files go.
        """
        kept = [] if over else [one for one in self.manifest.stages if one.added or one.name in self._order]
        kept_files = {name for entry in kept for name in entry.outputs}
        if over:
            for path in self.scratch.glob(f"*{_CHECKPOINT}"):
                path.unlink()
        self._change(header, kept, place={}, remove=set(self.manifest.files()) - kept_files)

    def tidy(self) -> None:
        """Remove temporary files that a kill left behind."""
        for path in self.scratch.glob(".*.tmp"):
            path.unlink(missing_ok=True)

    def finish(self) -> None:
        """Leave nothing in the folder but results: the run is done."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def replay(self) -> None:
        """Finish a change that a kill interrupted."""
        path = self.scratch / _JOURNAL
        try:
            journal = msgspec.json.decode(path.read_bytes(), type=_Journal)
        except FileNotFoundError:
            return
        except (msgspec.MsgspecError, UnicodeDecodeError):  # not ours: a journal appears whole
            path.unlink()
            return
        self._finish(journal)

    def _change(self, header: Header, stages: Iterable[StageEntry], *, place: dict[str, str], remove: set[str]) -> None:
        ordered = sorted(stages, key=lambda entry: self._order.get(entry.name, len(self._order)))
        journal = _Journal(Manifest(format=FORMAT, header=header, stages=ordered), place, sorted(remove))
        if place or remove:
            write_atomic(self.scratch / _JOURNAL, msgspec.json.encode(journal))
        self._finish(journal)

    def _finish(self, journal: _Journal) -> None:
        with storage_errors(self.path):
            touched = {self.path}
            for name, scratch in journal.place.items():
                target = self.path / checked_name(name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileNotFoundError):  # it was renamed before the kill
                    os.replace(self.scratch / Path(scratch).name, target)
                touched.update(parent for parent in target.parents if parent.is_relative_to(self.path))
            for name in journal.remove:
                target = self.path / checked_name(name)
                target.unlink(missing_ok=True)
                if target.parent != self.path:
                    with contextlib.suppress(OSError):  # other files are in it
                        target.parent.rmdir()
            for folder in sorted(touched):
                sync_folder(folder)
            self._write_manifest(journal.manifest)
            (self.scratch / _JOURNAL).unlink(missing_ok=True)

    def _write_manifest(self, manifest: Manifest) -> None:
        self.manifest = manifest
        data = encode_manifest(manifest)
        if self._sha(MANIFEST) != digest_bytes(data):
            write_atomic(self.path / MANIFEST, data, scratch=self.scratch)

    def _sha(self, name: str) -> str | None:
        try:
            return digest_bytes((self.path / name).read_bytes())
        except OSError:
            return None


def checked_name(name: str) -> str:
    """Return `name` where it is a relative path below the run folder, in POSIX writing, that a stage may write.

    Raises: InvariantError.
    """
    path = PurePosixPath(name)
    plain = not path.is_absolute() and str(path) == name and "\\" not in name and ":" not in name
    if not plain or ".." in path.parts or path.parts[0] in (SCRATCH, MANIFEST, RUN_LOG, "."):
        raise InvariantError(f"A stage writes files below its run folder, and {name!r} is not such a name: rename it.")
    return name


def _stale(stages: Sequence[StageEntry], fresh: StageEntry) -> set[str]:
    """Return the stages that read, directly or through others, a file of `fresh` as it no longer is."""
    before = {name for entry in stages if entry.name == fresh.name for name in entry.outputs}
    changed = {name: fresh.outputs.get(name) for name in before | set(fresh.outputs)}
    stale: set[str] = set()
    while True:
        more = {
            entry.name
            for entry in stages
            if entry.name != fresh.name and entry.name not in stale
            and any(name in changed and changed[name] != sha for name, sha in entry.needs.items())
        }  # fmt: skip
        if not more:
            return stale
        stale |= more
        changed.update({name: None for entry in stages if entry.name in more for name in entry.outputs})
