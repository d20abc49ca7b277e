"""Runs a list of stages in a folder: what is done stays, what was interrupted goes on, what changed is redone."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from moorelens.errors import InvariantError, RunFolderError, StorageError
from moorelens.runs.checkpoints import Checkpoint, OutOfTime
from moorelens.runs.folder import SCRATCH, RunFolder, checked_name
from moorelens.runs.hashing import digest, digest_bytes
from moorelens.runs.manifest import Header, Manifest, StageEntry, installed_versions
from moorelens.runs.opening import open_folder, read_manifest, run_digest
from moorelens.runs.progress import NullProgress, Progress
from moorelens.runs.runlog import RunLog


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of a run: a pure function of the files it needs and its config (which holds every seed it uses).

    `needs` and `outputs` name files of the run folder; a name that ends in `/` stands for every file below it.
    `config` is anything JSON can hold, or a struct; it is recorded in the manifest, so it holds no absolute path.
    `uses` names files that it reads too where they are there; the run's own plan need not write them.
    `added`: made on request after the run (`add_stages`); it stays when the run is continued, for as long as the
    files that it read are the same.
    """

    name: str
    run: Callable[[StageContext], Mapping[str, bytes]]
    config: Any = None
    needs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    added: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """Which stages ran now, which still held, and what the time limit left out (stages by name, parts in words)."""

    ran: tuple[str, ...]
    held: tuple[str, ...]
    left_out: tuple[str, ...]


class Limit:
    """A time limit for a whole run, in minutes from now (None: none)."""

    def __init__(self, minutes: float | None) -> None:
        self._end = None if minutes is None else time.monotonic() + 60.0 * minutes

    def seconds_left(self) -> float | None:
        """Return the seconds that are left (0 when time is up), or None without a limit."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def passed(self) -> bool:
        """Say whether time is up."""
        return self._end is not None and time.monotonic() >= self._end


class StageContext:
    """What a stage sees of its run: the files it needs, its checkpoint, its progress and the run's log."""

    def __init__(
        self,
        stage: Stage,
        *,
        folder: RunFolder,
        available: Mapping[str, str],
        checkpoint: Checkpoint,
        progress: Progress,
        log: RunLog,
        limit: Limit,
    ) -> None:
        self.progress, self.checkpoint = progress, checkpoint
        self._stage, self._folder, self._available = stage, folder, available
        self._log, self._limit = log, limit
        self._left_out: list[str] = []

    def read(self, name: str) -> bytes:
        """Return the bytes of a file that the stage needs.

        Raises: InvariantError where the stage does not list `name` in its `needs`.
        """
        if name not in self._available:
            raise InvariantError(
                f"A stage reads only what it lists in `needs`, and {self._stage.name!r} asked for {name!r}: "
                "add the name there, or make it in an earlier stage."
            )
        return self._folder.read(name)

    def names(self, prefix: str = "") -> tuple[str, ...]:
        """Return the names of the files that the stage may read and that begin with `prefix`, sorted."""
        return tuple(sorted(name for name in self._available if name.startswith(prefix)))

    def log(self, event: str, /, **facts: Any) -> None:
        """Note a timing or a fact about this host in `run-log.json`, and nowhere else."""
        self._log.add(event, stage=self._stage.name, **facts)

    def seconds_left(self) -> float | None:
        """Return the seconds until the run's time limit, or None without one."""
        return self._limit.seconds_left()

    def leave_out(self, what: str) -> None:
        """Say which part of the stage was left out for want of time; the next run makes the stage anew."""
        self._left_out.append(what)

    @property
    def left_out(self) -> tuple[str, ...]:
        """What `leave_out` was told."""
        return tuple(self._left_out)


def run_stages(
    folder: Path,
    stages: Sequence[Stage],
    *,
    header: Header,
    force: bool = False,
    progress: Progress | None = None,
    max_minutes: float | None = None,
) -> RunOutcome:
    """Bring `folder` to what `stages` describe, running only those whose inputs or config changed.

    A stage is a function of its key (verb, identity, versions and threads of `header`; its name and config; the
    hashes of the files it needs). Files appear whole; a process killed at any moment is continued by the next call.
    With `max_minutes` the run stops in order between stages or at a checkpoint, and the outcome says what was left
    out. `force` starts over.

    Raises: RunFolderError for a folder that is not this run's, StorageError where the disk is full, and what stages
    raise.
    """
    _check_plan(stages)
    with open_folder(Path(folder), header, order=[stage.name for stage in stages], force=force) as opened:
        log = RunLog(opened.path, scratch=opened.path / SCRATCH, run=run_digest(header), fresh=force)
        run = _Run(opened, header, progress=progress or NullProgress(), log=log, limit=Limit(max_minutes))
        return _work(opened, run, stages, log)


def add_stages(
    folder: Path,
    stages: Sequence[Stage],
    *,
    progress: Progress | None = None,
    max_minutes: float | None = None,
) -> RunOutcome:
    """Make more of a finished run: run `stages` on its files, and touch no other stage's.

    Stages of the run itself may be among them, to be made anew with what the added ones found. Their keys hold the
    versions that are installed now; the manifest keeps saying what the run was made with.

    Raises: RunFolderError for a folder that is no run, or lacks a file that a stage needs, and as `run_stages` does.
    """
    manifest = read_manifest(Path(folder))
    header = msgspec.structs.replace(manifest.header, versions=installed_versions())
    written = set(manifest.files())
    _check_complete(Path(folder), manifest, stages)
    _check_plan(stages, written=written)
    order = [*(entry.name for entry in manifest.stages), *(stage.name for stage in stages)]
    with open_folder(Path(folder), manifest.header, order=list(dict.fromkeys(order))) as opened:
        log = RunLog(opened.path, scratch=opened.path / SCRATCH, run=run_digest(header))
        run = _Run(opened, header, progress=progress or NullProgress(), log=log, limit=Limit(max_minutes))
        return _work(opened, run, stages, log)


def _work(opened: RunFolder, run: _Run, stages: Sequence[Stage], log: RunLog) -> RunOutcome:
    try:
        outcome = run.all(stages)
    except BaseException:
        with contextlib.suppress(StorageError):  # what stopped the run is the news, not that its log could not say so
            log.flush()
        raise
    log.flush()
    if len(outcome.ran) + len(outcome.held) == len(stages):
        opened.finish()
    return outcome


class _Run:
    def __init__(self, folder: RunFolder, header: Header, *, progress: Progress, log: RunLog, limit: Limit) -> None:
        self._folder, self._header = folder, header
        self._progress, self._log, self._limit = progress, log, limit
        self._left_out: list[str] = []

    def all(self, stages: Sequence[Stage]) -> RunOutcome:
        ran: list[str] = []
        held: list[str] = []
        for position, stage in enumerate(stages):
            needs = self._needs(stage)
            key = self._key(stage, needs)
            if self._folder.holds(stage.name, key):
                held.append(stage.name)
                continue
            if self._limit.passed() or not self._one(stage, key, needs):
                self._left_out += [later.name for later in stages[position:]]
                self._log.add("stopped by the time limit", left_out=self._left_out)
                break
            ran.append(stage.name)
        return RunOutcome(ran=tuple(ran), held=tuple(held), left_out=tuple(self._left_out))

    def _one(self, stage: Stage, key: str, needs: Mapping[str, str]) -> bool:
        """Run a stage; say whether it came to its end before the time limit."""
        checkpoint = Checkpoint(self._folder.checkpoint_path(stage.name), key=key, out_of_time=self._limit.passed)
        began = time.monotonic()
        self._log.add("stage began", stage=stage.name)
        self._log.flush()
        context = StageContext(
            stage,
            folder=self._folder,
            available=needs,
            checkpoint=checkpoint,
            progress=self._progress,
            log=self._log,
            limit=self._limit,
        )
        try:
            with self._progress.task(stage.name):
                files = stage.run(context)
                self._folder.place(_entry(stage, key, needs, files, context.left_out), files)
        except OutOfTime:
            return False
        except BaseException as error:
            self._log.add("stage failed", stage=stage.name, error=f"{type(error).__name__}: {error}")
            raise
        self._left_out += context.left_out
        self._log.add("stage ended", stage=stage.name, seconds=round(time.monotonic() - began, 3))
        self._log.flush()
        return True

    def _needs(self, stage: Stage) -> dict[str, str]:
        files = self._folder.manifest.files()
        return {name: files[name] for name in sorted(files) if _named(name, (*stage.needs, *stage.uses))}

    def _key(self, stage: Stage, needs: Mapping[str, str]) -> str:
        header = self._header
        return digest(
            {
                "run": run_digest(header),
                "versions": header.versions,
                "threads": header.threads,
                "stage": stage.name,
                "config": msgspec.to_builtins(stage.config),
                "needs": needs,
            }
        )


def _entry(
    stage: Stage, key: str, needs: Mapping[str, str], files: Mapping[str, bytes], left_out: Sequence[str]
) -> StageEntry:
    for name in files:
        if not _named(checked_name(name), stage.outputs):
            raise InvariantError(
                f"A stage writes only what it lists in `outputs`, and {stage.name!r} returned {name!r}: add the name "
                "there."
            )
    missing = [name for name in stage.outputs if not name.endswith("/") and name not in files]
    if missing:
        raise InvariantError(
            f"Stage {stage.name!r} did not return {', '.join(missing)}, which it lists in `outputs`: mend it."
        )
    return StageEntry(
        name=stage.name,
        key=key,
        config=msgspec.to_builtins(stage.config),
        needs=dict(needs),
        outputs={name: digest_bytes(data) for name, data in files.items()},
        left_out=list(left_out),
        added=stage.added,
    )


def _named(name: str, patterns: Sequence[str]) -> bool:
    return any(name.startswith(pattern) if pattern.endswith("/") else name == pattern for pattern in patterns)


def _check_complete(folder: Path, manifest: Manifest, stages: Sequence[Stage]) -> None:
    there = [*manifest.files(), *(name for stage in stages for name in stage.outputs)]
    missing = [need for stage in stages for need in stage.needs if not _written(need, there)]
    if missing:
        raise RunFolderError(
            f"More is made of a finished run, and {folder} lacks {missing[0]}: it was stopped, or made by another "
            f"version, so run `moorelens {manifest.header.verb}` on it again."
        )


def _written(need: str, there: Collection[str]) -> bool:
    """Say whether something `there`, files or folders, is or holds what is needed."""
    return any(_named(need, (name,)) or _named(name, (need,)) for name in there)


def _check_plan(stages: Sequence[Stage], *, written: Collection[str] = ()) -> None:
    """Refuse a plan that contradicts itself; `written`: the files of the run that the stages are added to."""
    seen: set[str] = set()
    own: set[str] = set()
    written = set(written)
    for stage in stages:
        if stage.name in seen:
            raise InvariantError(f"Stages have names of their own, and two are called {stage.name!r}: rename one.")
        if twice := own & set(stage.outputs):
            raise InvariantError(
                f"A file is written by one stage, and {sorted(twice)} by two: mend the list of stages."
            )
        if unknown := [name for name in stage.needs if not _written(name, written)]:
            raise InvariantError(
                f"Stage {stage.name!r} needs {unknown}, which no earlier stage writes: mend the list of stages."
            )
        seen.add(stage.name)
        own |= set(stage.outputs)
        written |= set(stage.outputs)
