"""Commands on machine files: what they write, what they say, and what they refuse to read or to replace."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from moorelens import graphviz
from moorelens.fsm.automata.build import from_edges
from moorelens.fsm.automata.exchange.machine_json import decode_machine, encode_machine
from moorelens.fsm.automata.exchange.reduced_json import decode_reduced
from moorelens.fsm.automata.machine import BOT
from tests.cli.support import refused, run


def ring(*, length: int = 4, last: int = 1) -> bytes:
    """A start and a ring of states that do `left`, the last one `right`, walked by one symbol."""
    actions = [BOT, *[0] * (length - 1), last]
    edges = [(s, 0, s + 1) for s in range(length)] + [(length, 0, 1)]
    return encode_machine(from_edges(edges, actions=actions, start=0, action_names=("left", "right")))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("machine.json").write_bytes(ring())
    return Path("machine.json")


@pytest.mark.parametrize("image_format", ["svg", "pdf", "png", "dot"])
def test_draw_writes_every_format_beside_the_machine(
    machine: Path, image_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = run(capsys, "draw", "machine.json", "--format", image_format)
    assert shell.code == 0
    assert shell.out == f"machine.{image_format}\n"
    assert Path(f"machine.{image_format}").stat().st_size > 100


def test_draw_goes_by_the_ending_of_out(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "draw", "machine.json", "--out", "pictures/m.PNG")
    assert Path("pictures/m.PNG").read_bytes().startswith(b"\x89PNG")


def test_draw_refuses_an_ending_it_cannot_write(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "m.jpg" in refused(run(capsys, "draw", "machine.json", "--out", "m.jpg"))
    assert not Path("m.jpg").exists()


def test_results_on_a_file_of_a_run_folder_go_to_the_current_folder(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path("runs/explain-cartpole")
    folder.mkdir(parents=True)
    shutil.copy(machine, folder / "machine.json")
    (folder / "manifest.json").write_text("{}")
    run(capsys, "draw", str(folder / "machine.json"), "--format", "dot")
    assert Path("explain-cartpole-machine.dot").exists()
    assert sorted(path.name for path in folder.iterdir()) == ["machine.json", "manifest.json"]


def test_draw_says_what_it_shows(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(run(capsys, "draw", "machine.json", "--json").out)
    assert document["file"] == "machine.svg"
    assert document["detail"] == "labels"
    assert ET.parse("machine.svg").getroot().tag.endswith("svg")


def test_draw_without_graphviz_keeps_the_dot_and_is_exit_3(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphviz, "routes", lambda: ())
    sentence = refused(run(capsys, "draw", "machine.json"), code=3)
    assert "pip install pygraphviz" in sentence
    assert "machine.dot" in sentence
    assert Path("machine.dot").read_text().startswith("digraph")


def test_reduce_writes_a_reduced_machine_that_can_be_drawn(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell = run(capsys, "reduce", "machine.json")
    assert shell.out.splitlines()[-1] == "machine-reduced.json"
    assert decode_reduced(Path("machine-reduced.json").read_bytes())
    assert run(capsys, "draw", "machine-reduced.json").code == 0
    history = json.loads(run(capsys, "reduce", "machine.json", "--json").out)["history"]
    assert history[0] == {"step": "machine", "states": 4, "symbols": 1, "edges": 5}
    assert history[-1]["states"] < 4


@pytest.mark.parametrize(
    ("verb", "ending"), [("fold", "-folded"), ("minimize", "-minimal"), ("minimize --method exact", "-minimal")]
)
def test_smaller_machines_keep_the_words(
    machine: Path, verb: str, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("constant.json").write_bytes(ring(last=0))
    document = json.loads(run(capsys, *verb.split(), "constant.json", "--json").out)
    assert document["before"]["states"] == 4
    assert document["after"]["states"] == 1
    assert document["proven"]
    assert decode_machine(Path(f"constant{ending}.json").read_bytes()).n_states == 1
    assert "4 states became 1; which is minimal" in run(capsys, *verb.split(), "constant.json").out
    files = ("constant.json", f"constant{ending}.json")
    document = json.loads(run(capsys, "diff", *files, "--match", "word", "--json").out)
    assert document["states"]["second"] == 1
    assert document["words"] == {"first": None, "second": None}


def test_diff_says_and_draws_what_changed(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("longer.json").write_bytes(ring(length=5))
    shell = run(capsys, "diff", "machine.json", "longer.json", "--out", "both.svg")
    assert shell.code == 0
    assert shell.out.startswith("4 states became 5")
    assert ET.parse("both.svg").getroot().tag.endswith("svg")
    assert (
        "only in machine.json" in Path("both.svg").read_text() and "only in longer.json" in Path("both.svg").read_text()
    )
    document: dict[str, Any] = json.loads(run(capsys, "diff", "machine.json", "longer.json", "--json").out)
    assert not document["empty"]
    assert json.loads(run(capsys, "diff", "machine.json", "machine.json", "--json").out)["empty"]
    assert run(capsys, "diff", "machine.json", "machine.json").out.startswith("No difference")


def test_diff_takes_a_reduced_machine_as_the_one_it_stands_for(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "reduce", "machine.json").code == 0
    assert run(capsys, "diff", "machine.json", "machine-reduced.json").out.startswith("No difference")
    Path("longer.json").write_bytes(ring(length=5))
    shell = run(capsys, "diff", "machine-reduced.json", "longer.json")
    assert shell.code == 0
    assert shell.out.startswith("4 states became 5")
    assert "S4" in shell.out and "o0" in shell.out and "s4" not in shell.out


@pytest.mark.parametrize(
    ("image_format", "file", "part"),
    [
        ("dot", "machine.dot", "digraph"),
        ("mermaid", "machine.mmd", "stateDiagram-v2"),
        ("graphml", "machine.graphml", "<graphml"),
        ("kiss2", "machine.kiss2", ".i "),
        ("prism", "machine.prism", "dtmc"),
        ("aalpy", "machine-aalpy.json", '"left"'),
    ],
)
def test_export_writes_the_formats_of_other_tools(
    machine: Path, image_format: str, file: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "export", "machine.json", "--format", image_format).out == f"{file}\n"
    assert part in Path(file).read_text()
    assert json.loads(run(capsys, "export", "machine.json", "--format", image_format, "--json").out)["file"] == file


def test_a_file_that_is_there_is_replaced_by_force_only(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("machine-folded.json").write_text("my notes")
    assert "--force" in refused(run(capsys, "fold", "machine.json"))
    assert Path("machine-folded.json").read_text() == "my notes"
    assert run(capsys, "fold", "machine.json", "--force").code == 0
    assert run(capsys, "fold", "machine.json").code == 0, "the same bytes may be written again"


@pytest.mark.parametrize("verb", ["draw", "reduce", "fold", "minimize"])
def test_an_output_that_cannot_be_is_refused(machine: Path, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder.svg").mkdir()
    assert "is a folder" in refused(run(capsys, verb, "machine.json", "--out", "folder.svg"))
    assert "cannot be made" in refused(run(capsys, verb, "machine.json", "--out", "machine.json/x.svg"))


@pytest.mark.parametrize("verb", ["draw", "reduce", "fold", "minimize", "export", "diff"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"{}",
        b"[]",
        b'{"format": "moorelens.machine/9"}',
        ring()[:-20],
        b"\x80\x04N.",
        b'{"format": 3}',
        b"\xff",
    ],
    ids=["empty", "text", "object", "list", "version", "truncated", "pickle", "number", "bytes"],
)
def test_what_is_no_machine_file_is_refused(
    machine: Path, verb: str, data: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.json").write_bytes(data)
    refused(run(capsys, verb, "bad.json", *(["machine.json"] if verb == "diff" else [])))
    assert not list(Path().glob("bad[-.][!j]*"))


def test_a_run_folder_and_a_reduced_machine_say_which_file_to_give(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "machine.json" in refused(run(capsys, "fold", "."))
    run(capsys, "reduce", "machine.json")
    assert "reduced one" in refused(run(capsys, "fold", "machine-reduced.json"))
