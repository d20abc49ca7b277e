"""`moorelens explain` and its neighbours as a user starts them: in processes of their own, on real files."""

from __future__ import annotations

import base64
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from moorelens.fsm.automata.exchange.schema import load_schema as machine_schema
from moorelens.reports.schema import load_schema as report_schema
from tests.pipelines import small
from tests.runs.toy import tree

ROOT = Path(__file__).parents[2]
STAGES = ["rollouts", "quantise", "extract", "reduce", "draw", "saliency", "evaluate", "report"]
FILES = {
    *("manifest.json", "rollouts.npz", "quantiser.safetensors", "machine.json", "reduced.json", "folded.json"),
    *("machine.dot", "machine.svg", "reduced.dot", "reduced.svg", "folded.dot", "folded.svg", "trace.csv"),
    *("summary.json", "report-data.json", "report.html", "report.pdf", "run-log.json", "saliency", "tables"),
}
SHORT = ["--env", "CartPole-v1", "--env-kwargs", '{"max_episode_steps": 60}', "--preset", "quick", "--episodes", "4"]


@dataclass(frozen=True)
class Finished:
    """A run that a command has made: its folder, where and how the command was given, and what it printed."""

    folder: Path
    cwd: Path
    home: Path
    hash_seed: str
    threads: str
    out: bytes
    err: str

    def again(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return moorelens(*arguments, cwd=self.cwd, home=self.home, hash_seed=self.hash_seed, threads=self.threads)


def moorelens(
    *arguments: str, cwd: Path, home: Path, hash_seed: str, threads: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a command with next to nothing in its environment."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT)}
    environment |= {"PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": threads}
    return subprocess.run(
        [sys.executable, "-m", "moorelens", *arguments], cwd=cwd, env=environment, capture_output=True, check=False
    )


def explained(place: Path, out: str, *, hash_seed: str, threads: str) -> Finished:
    (place / "home").mkdir(parents=True)
    where: dict[str, Any] = {"cwd": place, "home": place / "home", "hash_seed": hash_seed, "threads": threads}
    done = moorelens("explain", "zoo:cartpole", *SHORT, "--held-out", "3", "--out", out, "--json", **where)
    assert done.returncode == 0, done.stderr.decode()
    return Finished(folder=place / out, out=done.stdout, err=done.stderr.decode(), **where)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return explained(tmp_path_factory.mktemp("here"), "runs/first", hash_seed="1", threads="1")


def session(folder: Path) -> dict[str, Any]:
    """Return what the last process that worked on a folder noted."""
    last: dict[str, Any] = json.loads((folder / "run-log.json").read_bytes())["sessions"][-1]
    return last


def began(folder: Path) -> list[str]:
    return [event["stage"] for event in session(folder)["events"] if event["event"] == "stage began"]


def test_the_folder_holds_what_the_design_promises_and_no_leftovers(run: Finished) -> None:
    names = {path.name for path in run.folder.iterdir()}
    assert names >= FILES
    assert not [name for name in names if name.startswith(".")]
    assert began(run.folder) == STAGES
    assert (run.folder / "report.pdf").read_bytes().startswith(b"%PDF")
    assert (run.folder / "report.html").read_bytes().rstrip().endswith(b"</html>")
    manifest = json.loads((run.folder / "manifest.json").read_bytes())
    recorded = {name for stage in manifest["stages"] for name in stage["outputs"]}
    assert recorded == {name for name, data in tree(run.folder).items() if data is not None} - {"manifest.json"}


def test_every_document_follows_its_schema(run: Finished) -> None:
    schemas = {
        "summary": report_schema("summary"),
        "report-data": report_schema("report-data"),
        "machine": machine_schema("machine"),
        "folded": machine_schema("machine"),
        "reduced": machine_schema("reduced"),
    }
    for name, schema in schemas.items():
        jsonschema.Draft202012Validator(schema).validate(json.loads((run.folder / f"{name}.json").read_bytes()))


def test_json_is_the_summary_alone_and_progress_goes_to_stderr(run: Finished) -> None:
    assert run.out == (run.folder / "summary.json").read_bytes()
    assert "quantising" in run.err
    assert "Warning" not in run.err


def test_the_summary_is_about_this_run(run: Finished) -> None:
    found = json.loads(run.out)
    assert (found["policy"], found["env"]) == ("zoo:cartpole", "CartPole-v1")
    assert len(found["seeds"]["fit"]) == 4
    assert len(found["seeds"]["held_out"]) == found["returns"]["machine"]["n"] == 3
    assert found["fidelity"]["replay"] == 1
    assert found["returns"]["policy"]["mean"] == 60
    assert found["returns"]["machine"]["mean"] + found["loss"]["machine"]["mean"] == pytest.approx(60)
    assert set(found["returns_published"].values()) == {None}
    for score in found["returns"].values():
        assert score is None or score["low"] <= score["mean"] <= score["high"]


def test_the_same_command_again_does_nothing_anew(run: Finished) -> None:
    before = {path: path.stat() for path in run.folder.iterdir() if path.name != "run-log.json"}
    done = run.again("explain", "zoo:cartpole", *SHORT, "--held-out", "3", "--out", "runs/first", "--json")
    assert (done.returncode, done.stdout) == (0, run.out)
    assert began(run.folder) == []
    after = {path: path.stat() for path in before}
    assert [(s.st_ino, s.st_mtime_ns) for s in after.values()] == [(s.st_ino, s.st_mtime_ns) for s in before.values()]


def test_another_folder_hash_seed_and_thread_count_give_the_same_bytes(run: Finished, tmp_path: Path) -> None:
    other = explained(tmp_path / "a second place", "other", hash_seed="2", threads="2")
    expected, found = tree(run.folder), tree(other.folder)
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []
    assert other.out == run.out


def test_places_dates_and_hosts_stand_in_the_run_log_only(run: Finished) -> None:
    needles = forbidden(run)
    for path in sorted(run.folder.rglob("*")):
        if path.name == "run-log.json" or path.is_dir():
            continue
        for part, data in contents(path):
            found = [needle for needle in needles if needle in data]
            assert found == [], f"{path.name}, {part}"


def test_the_search_for_places_looks_inside_files(tmp_path: Path) -> None:
    """What the test above relies on: it would find a path in an array, a PDF stream and an embedded picture."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x", b"y" * 100 + b"/tmp/here")
    (tmp_path / "b.pdf").write_bytes(b"1 stream\n" + zlib.compress(b"y" * 100 + b"/tmp/here") + b"\nendstream")
    (tmp_path / "c.html").write_bytes(b'src="data:image/png;base64,' + base64.b64encode(b"__/tmp/here") + b'"')
    for name in ("a.npz", "b.pdf", "c.html"):
        assert any(b"/tmp/here" in data for _, data in contents(tmp_path / name)), name


def forbidden(run: Finished) -> list[bytes]:
    """Return what only the log may hold: folders of the run, of its user and of the program, the host, today."""
    today = session(run.folder)["started"][:10]
    places = {run.folder, run.cwd, run.home, run.folder.resolve(), ROOT, Path(sys.prefix), Path.home() / "x"}
    dates = [today, datetime.date.fromisoformat(today).strftime("D:%Y%m%d")]
    return [str(place).removesuffix("x").encode() for place in places] + [
        text.encode() for text in [*dates, platform.platform(), platform.release()]
    ]


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the bytes of a file, and what is packed in them: members of archives, streams, embedded files."""
    data = path.read_bytes()
    yield "as it is", data
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist())
    if path.suffix == ".pdf":
        for number, stream in enumerate(re.findall(rb"stream\r?\n(.*?)endstream", data, flags=re.DOTALL)):
            unpacker = zlib.decompressobj()
            try:
                yield f"stream {number}", unpacker.decompress(stream)
            except zlib.error:
                continue
    for number, packed in enumerate(re.findall(rb"base64,([A-Za-z0-9+/=]+)", data)):
        yield f"embedded {number}", base64.b64decode(packed)


def test_extract_makes_the_machines_of_explain_and_stops_at_their_drawings(run: Finished) -> None:
    small.published(run.cwd / "small.p")
    for verb in ("explain", "extract"):
        done = run.again(*small.words(Path("small.p"), Path(verb), verb=verb), "--json")
        assert (done.returncode, done.stderr) == (0, b"")
        assert json.loads(done.stdout) == json.loads((run.cwd / verb / "summary.json").read_bytes())
    extracted, explained = tree(run.cwd / "extract"), tree(run.cwd / "explain")
    assert {"machine.json", "reduced.json", "folded.json", "quantiser.safetensors", "reduced.svg"} <= extracted.keys()
    more = {name for name in explained.keys() - extracted.keys() if not name.startswith(("saliency", "tables"))}
    assert more == {"evaluation.npz", "report-data.json", "report.html", "report.pdf"}
    assert [n for n in extracted if extracted[n] != explained[n]] == ["manifest.json", "summary.json"]
    summary = json.loads(extracted["summary.json"] or b"")
    assert summary["fidelity"]["replay"] == 1
    assert summary["returns"]["machine"] is None


def test_draw_takes_the_machine_of_a_run(run: Finished) -> None:
    done = run.again("draw", "runs/first/reduced.json", "--out", "picture.svg")
    assert (done.returncode, done.stdout) == (0, b"picture.svg\n")
    assert b"<svg" in (run.cwd / "picture.svg").read_bytes()


def test_zoo_and_doctor_answer(run: Finished) -> None:
    done = run.again("zoo", "list", "--json")
    assert done.returncode == 0
    assert "cartpole" in {row["name"] for row in json.loads(done.stdout)}
    done = run.again("doctor", "--json")
    assert done.returncode == 0
    assert {"python", "torch", "graphviz"} <= {finding["name"] for finding in json.loads(done.stdout)}
