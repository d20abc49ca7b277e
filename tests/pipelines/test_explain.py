"""`run_explain` in its folder: what is told, what is kept, and that no file remembers an earlier request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import pytest
import torch

from moorelens import graphviz
from moorelens.errors import MissingToolError
from moorelens.pipelines import pictures, reporting
from moorelens.pipelines.explain import run_explain
from moorelens.pipelines.extract import run_extract
from moorelens.reports.summary import decode_summary
from moorelens.runs.manifest import decode_manifest
from tests.pipelines import small
from tests.runs.toy import tree


class Notes:
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def task(self, name: str, total: int | None = None) -> Task:
        return Task(name, self.said)


class Task:
    def __init__(self, name: str, said: list[str]) -> None:
        self._name, self._said = name, said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, n: int = 1) -> None:
        pass

    def note(self, text: str) -> None:
        self._said.append(f"{self._name}: {text}")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    small.published(tmp_path / "p.p")
    return tmp_path / "p.p"


def test_the_result_is_what_the_folder_holds(policy: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    result = run_explain(small.explaining(policy, tmp_path / "run"))
    assert torch.get_num_threads() == threads
    assert result.folder == tmp_path / "run"
    assert result.left_out == ()
    assert result.summary == decode_summary((tmp_path / "run/summary.json").read_bytes())
    assert result.summary is not None
    assert (result.summary.policy, result.summary.env) == ("mmn:p", "CartPole-v1")


def test_a_summary_of_an_earlier_request_is_no_result(policy: Path, tmp_path: Path) -> None:
    first = run_extract(small.explaining(policy, tmp_path / "run"))
    late = run_extract(small.explaining(policy, tmp_path / "run", seed=1, max_minutes=1e-9))
    assert first.summary is not None
    assert late.summary is None
    assert "summary" in late.left_out


def test_a_folder_does_not_remember_earlier_requests(policy: Path, tmp_path: Path) -> None:
    """Whatever was asked before, of the same policy under another name too, the files are those of the last request."""
    run_explain(small.explaining(policy, tmp_path / "run", seed=3, preset="standard"))
    renamed = policy.rename(tmp_path / "renamed.p")
    run_explain(small.explaining(renamed, tmp_path / "run"))
    run_explain(small.explaining(renamed, tmp_path / "fresh"))
    assert tree(tmp_path / "run") == tree(tmp_path / "fresh")


def test_force_starts_over_and_gives_the_same_bytes(policy: Path, tmp_path: Path) -> None:
    run_extract(small.explaining(policy, tmp_path / "run"))
    before = tree(tmp_path / "run")
    run_extract(small.explaining(policy, tmp_path / "run"))
    assert made(tmp_path / "run") == []
    run_extract(small.explaining(policy, tmp_path / "run", force=True))
    assert made(tmp_path / "run") == ["rollouts", "quantise", "extract", "reduce", "draw", "summary"]
    assert tree(tmp_path / "run") == before


def made(folder: Path) -> list[str]:
    """Return the stages that the last call made."""
    session = json.loads((folder / "run-log.json").read_bytes())["sessions"][-1]
    return [event["stage"] for event in session["events"] if event["event"] == "stage ended"]


def test_a_damaged_file_is_made_anew(policy: Path, tmp_path: Path) -> None:
    run_extract(small.explaining(policy, tmp_path / "run"))
    before = tree(tmp_path / "run")
    (tmp_path / "run/machine.json").write_bytes(b"{")
    (tmp_path / "run/reduced.svg").unlink()
    run_extract(small.explaining(policy, tmp_path / "run"))
    assert tree(tmp_path / "run") == before


def test_without_typst_there_is_no_pdf_and_it_is_said(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moorelens.reports.typesetting.find_spec", lambda name: None)
    monkeypatch.setattr(reporting, "find_spec", lambda name: None)
    notes = Notes()
    result = run_explain(small.explaining(policy, tmp_path / "run"), progress=notes)
    assert result.summary is not None
    assert (result.left_out, result.summary.fidelity.replay) == ((), 1.0)
    assert not (tmp_path / "run/report.pdf").exists()
    assert (tmp_path / "run/report.html").exists()
    assert [said for said in notes.said if "pip install typst" in said]
    manifest = decode_manifest((tmp_path / "run/manifest.json").read_bytes())
    assert manifest is not None
    assert "report.pdf" not in manifest.files()


def test_without_graphviz_the_drawings_say_why_they_are_none(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: Any, **__: Any) -> bytes:
        raise MissingToolError("A drawing needs Graphviz & <there> is none.")

    monkeypatch.setattr(graphviz, "render", absent)
    monkeypatch.setattr(graphviz, "routes", lambda: ())
    notes = Notes()
    run_explain(small.explaining(policy, tmp_path / "run"), progress=notes)
    svg = (tmp_path / "run/reduced.svg").read_text()
    assert "Graphviz &amp; &lt;there&gt; is none." in svg
    assert "machine.svg: A drawing needs Graphviz & <there> is none." in notes.said
    assert (tmp_path / "run/reduced.dot").read_text().startswith("digraph")
    assert "A drawing needs Graphviz" in (tmp_path / "run/report.html").read_text()
    monkeypatch.undo()
    run_explain(small.explaining(policy, tmp_path / "run"))
    run_explain(small.explaining(policy, tmp_path / "fresh"))
    assert tree(tmp_path / "run") == tree(tmp_path / "fresh")


def test_a_program_that_draws_leaves_no_path_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    route = graphviz.Route(kind="dot", path="/opt/graphviz/bin/dot")
    monkeypatch.setattr(graphviz, "routes", lambda: (route,))
    assert pictures.layout() == "dot"
