"""A finished run folder, opened again: its files, and the job that it was, from its manifest."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import msgspec

from moorelens.envs.config import EnvironmentRequest, named_by_file
from moorelens.errors import RunFolderError
from moorelens.fsm.config import QuantiseConfig
from moorelens.pipelines.config import ExplainConfig, file_name, found
from moorelens.pipelines.job import Job, open_job
from moorelens.pipelines.machines import POLICY_READ
from moorelens.runs.hashing import digest_bytes
from moorelens.runs.manifest import Manifest
from moorelens.runs.opening import read_manifest
from moorelens.runs.runlog import read_log

VERBS = ("explain", "demo", "extract")


@dataclass(frozen=True, kw_only=True)
class OpenedRun:
    """A run folder with what its manifest says of it."""

    folder: Path
    manifest: Manifest

    @property
    def verb(self) -> str:
        """Which command made the run."""
        return self.manifest.header.verb

    @property
    def request(self) -> EnvironmentRequest:
        """The environment of the run, with the names that its parts were given."""
        return msgspec.json.decode(self.manifest.header.identity["environment"], type=EnvironmentRequest)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file of the run as it was made.

        Raises `RunFolderError` where it is not there, or is another than the run wrote.
        """
        data, written = self.read_as_is(name), self.manifest.files().get(name)
        if written is not None and digest_bytes(data) != written:
            raise RunFolderError(
                f"The files of a run belong together, and {self.folder / name} is not the one that this run wrote: "
                f"restore it, or run `moorelens {self.verb}` on this folder again with --force."
            )
        return data

    def read_as_is(self, name: str) -> bytes:
        """Return the bytes of a file of the run, whoever wrote them; raises `RunFolderError` where it is not there."""
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise RunFolderError(
                f"{self.folder / name} is needed and cannot be read ({error.strerror}): the run was not finished or "
                f"lost it, so run `moorelens {self.verb}` on this folder again."
            ) from error


def open_run(folder: str | Path) -> OpenedRun:
    """Open the folder of a run of `explain`, `demo` or `extract`; nothing in it is changed.

    Raises `RunFolderError` where it is none.
    """
    path = Path(folder)
    manifest = read_manifest(path)
    if manifest.header.verb not in VERBS:
        raise RunFolderError(
            f"This needs a run of `moorelens explain`, `demo` or `extract`, and {path} was made by "
            f"`moorelens {manifest.header.verb}`: give another folder."
        )
    return OpenedRun(folder=path, manifest=manifest)


def job_of(run: OpenedRun, *, policy: str | None = None, trust: bool = False, checked: bool = True) -> Job:
    """Return the job that a run was, ready to play again.

    `policy`: where the policy is, if its file was moved. `trust`: allow reading that runs code. `checked`: insist that
    policy and environment are those of the run.
    Raises `RunFolderError` where they are not, or the policy's file is not found, and as `open_job` does.
    """
    header = run.manifest.header
    fields = {**header.config, "policy": policy or _policy_of(run, trust=trust), "names": None, "trust": trust}
    request = named_by_file(run.request, source=str(run.folder), trust=trust)
    job = open_job(msgspec.convert(fields, ExplainConfig), request=request)
    # A file that was moved may have got another name; results bear the run's.
    job = dataclasses.replace(job, loaded=dataclasses.replace(job.loaded, name=file_name(header.config["policy"])))
    entry = run.manifest.entry("quantise")
    settings = entry.config.get("quantise") if entry is not None else None
    if isinstance(settings, dict):  # else the hash of the quantisers that the policy brought along
        job = dataclasses.replace(job, quantise=msgspec.convert(settings, QuantiseConfig))
    if checked and (part := changed_input(run, job)):
        raise RunFolderError(
            f"A run is continued with its own policy and environment, and the {part} is no longer the one that "
            f"{run.folder} was made from: give that one (--policy), or explain the new one in another folder."
        )
    return job


def changed_input(run: OpenedRun, job: Job) -> str | None:
    """Return which of `policy` and `environment` is not that of the run, None where both are."""
    there, now = run.manifest.header.identity, job.header(run.verb).identity
    return next((name for name in ("policy", "environment") if there.get(name) != now[name]), None)


def _policy_of(run: OpenedRun, *, trust: bool) -> str:
    recorded: str = run.manifest.header.config["policy"]
    log = read_log(run.folder)
    events = [event for session in (log.sessions if log else []) for event in session.events]
    places = [str(event["policy"]) for event in events if event.get("event") == POLICY_READ and "policy" in event]
    for place in [*reversed(places), recorded]:
        if not found(place):
            continue
        if place.startswith("python:") and not trust:
            raise RunFolderError(
                f"A policy that a file names is imported only where that file is trusted, and {run.folder} names "
                f"{place}: pass --policy to name it yourself, or --trust if the run is yours."
            )
        return place
    raise RunFolderError(
        f"{run.folder} was made from {recorded}, and that file is no longer where it was: say where it is now with "
        "--policy."
    )
