"""`verify`: every number of a run computed again from its stored inputs, and which one moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from moorelens.errors import MissingToolError, MooreLensError, RunFolderError
from moorelens.pipelines.differences import Moved, differences
from moorelens.pipelines.explain import explain_stages
from moorelens.pipelines.extract import extract_stages
from moorelens.pipelines.job import Job
from moorelens.pipelines.machines import MACHINE, QUANTISER, ROLLOUTS, TRACES
from moorelens.pipelines.opened_run import OpenedRun, changed_input, job_of, open_run
from moorelens.pipelines.reporting import HTML, PDF, REPORT_DATA, SUMMARY, summary_of
from moorelens.pipelines.run_config import VerifyConfig
from moorelens.pipelines.threads import limited_threads
from moorelens.reports.data import decode_report_data
from moorelens.reports.html import render_html
from moorelens.reports.pdf import render_pdf
from moorelens.reports.summary import encode_summary
from moorelens.runs.hashing import digest_bytes
from moorelens.runs.manifest import installed_versions
from moorelens.runs.progress import NullProgress, Progress
from moorelens.runs.recompute import recompute
from moorelens.runs.stages import Stage

_PLAYED = ("rollouts", "extract", "evaluate", "saliency")  # what `--stored` takes as it is
# `quantise` and `repeats` are searches: their results are inputs here. Pictures and pages hold no number of their own.
_WITH_NUMBERS = (".json", ".npz", ".csv")
_COMPUTED = (*_PLAYED, "reduce", "summary", "score", "replica")


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at, and what came of it in a sentence."""

    name: str
    result: Literal["holds", "fails", "not checked"]
    detail: str = ""


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify` found: `holds` only where every check does; `moved` names each value that is another one now.

    `versions`: packages whose version is not the run's, as (name, the run's, installed).
    """

    format: Literal["moorelens.verification/1"] = "moorelens.verification/1"
    run: str
    holds: bool
    checks: tuple[Check, ...]
    moved: tuple[Moved, ...] = ()
    versions: tuple[tuple[str, str, str], ...] = ()


def run_verify(config: VerifyConfig, *, progress: Progress | None = None) -> Verification:
    """Verify a run; nothing is written. Raises `RunFolderError` where `config.run` is no run."""
    run = open_run(config.run)
    work = _Work(run, config, progress or NullProgress())
    work.files()
    job = work.inputs()
    if job is not None:
        with limited_threads(job.threads):
            work.stages(job)
        work.summary(job)
        work.pages()
    return work.result()


class _Work:
    def __init__(self, run: OpenedRun, config: VerifyConfig, progress: Progress) -> None:
        self._run, self._config, self._progress = run, config, progress
        self._checks: list[Check] = []
        self._moved: list[Moved] = []
        self._stored: dict[str, bytes] = {}
        self._true: dict[str, bytes] = {}

    def files(self) -> None:
        """Every file of the manifest is there, and has the hash that was written down when it was made."""
        wrong = []
        for name, sha in sorted(self._run.manifest.files().items()):
            try:
                self._stored[name] = self._run.read_as_is(name)
            except RunFolderError:
                wrong.append(f"{name} is missing")
                continue
            if digest_bytes(self._stored[name]) != sha:
                wrong.append(f"{name} was changed")
        self._true = dict(self._stored)
        told = "; ".join(wrong) or f"{len(self._stored)} files are as they were written"
        self._say("files", not wrong, told)

    def inputs(self) -> Job | None:
        """The policy and the environment are the run's."""
        try:
            job = job_of(self._run, policy=self._config.policy, trust=self._config.trust, checked=False)
        except MooreLensError as error:
            self._say("inputs", False, str(error))
            return None
        part = changed_input(self._run, job)
        told = "policy and environment are the run's"
        self._say("inputs", part is None, f"the {part} is not the run's" if part else told)
        return job if part is None else None

    def stages(self, job: Job) -> None:
        """Episodes, machines and games are made again from the policy and the quantisers."""
        names = [entry.name for entry in self._run.manifest.stages]
        plan = [stage for stage in stages_of(self._run, job) if stage.name in names and stage.name in _COMPUTED]
        with self._progress.task("verifying", total=len(plan)) as task:
            for stage in plan:
                self._stage(stage)
                task.advance()

    def _stage(self, stage: Stage) -> None:
        if self._config.stored and stage.name in _PLAYED:
            self._checks.append(
                Check(name=stage.name, result="not checked", detail="--stored: the stored games are taken as they are")
            )
            return
        try:
            made = recompute(stage, self._true, progress=self._progress)
        except MooreLensError as error:
            self._say(stage.name, False, str(error))
            return
        self._compare(stage.name, made, said=_SAID[stage.name])
        self._true |= made

    def summary(self, job: Job) -> None:
        """The summary follows from what was made again, and the report's data hold that summary."""
        if self._run.verb == "extract" or SUMMARY not in self._run.manifest.files():
            return
        stage = Stage(name="summary", run=lambda context: {SUMMARY: encode_summary(summary_of(job, context).summary)})
        try:
            made = recompute(stage, self._true)
        except MooreLensError as error:
            self._say("summary", False, str(error))
            return
        self._compare("summary", made, said=_SAID["summary"])

    def pages(self) -> None:
        """The report shows its data, and its data hold the summary."""
        if REPORT_DATA not in self._stored or SUMMARY not in self._stored:
            return
        try:
            data = decode_report_data(self._stored[REPORT_DATA])
        except RunFolderError as error:
            self._say("report", False, str(error))
            return
        wrong = []
        if encode_summary(data.summary) != self._stored[SUMMARY]:
            wrong.append(f"{REPORT_DATA} holds another summary than {SUMMARY}")
        for name, render in ((HTML, render_html), (PDF, render_pdf)):
            try:
                if name in self._stored and render(data) != self._stored[name]:
                    wrong.append(f"{name} does not show what {REPORT_DATA} holds")
            except MissingToolError:
                continue
        self._say("report", not wrong, "; ".join(wrong) or "the pages show the summary")

    def result(self) -> Verification:
        """Return what was found."""
        then, now = self._run.manifest.header.versions, installed_versions()
        return Verification(
            run=self._run.folder.name,
            holds=all(check.result != "fails" for check in self._checks),
            checks=tuple(self._checks),
            moved=tuple(self._moved),
            versions=tuple((name, version, now.get(name, "none")) for name, version in then.items()
                           if now.get(name) != version),
        )  # fmt: skip

    def _compare(self, name: str, made: Mapping[str, bytes], *, said: str) -> None:
        found: list[Moved] = []
        for file, data in made.items():
            if file in self._stored and file.endswith(_WITH_NUMBERS):
                found += differences(file, self._stored[file], data, tolerance=self._config.tolerance)
        self._moved += found
        places = ", ".join(dict.fromkeys(one.file for one in found))
        self._say(name, not found, f"{places}: values moved" if found else said)

    def _say(self, name: str, holds: bool, detail: str) -> None:
        self._checks.append(Check(name=name, result="holds" if holds else "fails", detail=detail))


def stages_of(run: OpenedRun, job: Job) -> Sequence[Stage]:
    """Return the stages of the run's own plan; the row of a published table has one more."""
    return [*extract_stages(job), *_scores(run, job)] if run.verb == "extract" else explain_stages(job)


def _scores(run: OpenedRun, job: Job) -> list[Stage]:
    from moorelens.pipelines.reproduce_memory import score_stage
    from moorelens.pipelines.reproduce_replica import replica_stage
    from moorelens.pipelines.reproduce_tables import ROWS

    rows = {row.key: row for row in (*ROWS["mce"], *ROWS["tomita"])}
    found = []
    for name in ("score", "replica"):
        entry = run.manifest.entry(name)
        row = rows.get(entry.config["row"]) if entry else None
        if entry and row and name == "score":
            found.append(score_stage(job, row, restarts=entry.config["restarts"]))
        elif row:
            found.append(replica_stage(job, row))
    return found


_SAID = {
    "rollouts": f"the policy plays its fit games again as in {ROLLOUTS}",
    "extract": f"the network with {QUANTISER} plays again as in {TRACES}, and the machine read off is {MACHINE}",
    "reduce": "the machine reduces and folds to the same machines",
    "evaluate": "every held-out game, and the replay of the traces, comes out the same",
    "saliency": "every attribution and every intervention comes out the same",
    "summary": f"every number of {SUMMARY} follows",
    "score": "the machine is completed, minimised and compared with the task's own with the same result",
    "replica": "the folded machine of the published protocol comes to the same score",
}
