"""Verifying a run: an untouched one holds, and each way of touching one is found and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moorelens.cli.main import main
from moorelens.errors import RunFolderError
from moorelens.pipelines.explain import run_explain
from moorelens.pipelines.extract import run_extract
from moorelens.pipelines.run_config import VerifyConfig
from moorelens.pipelines.verify import Verification, run_verify
from moorelens.runs.arrays import decode_arrays, encode_arrays
from moorelens.runs.hashing import digest_bytes
from tests.pipelines import small


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `explain`, and one of `extract`, on a published file."""
    folder = tmp_path_factory.mktemp("verify")
    small.published(folder / "model.p")
    run_explain(small.explaining(folder / "model.p", folder / "explained"))
    run_extract(small.explaining(folder / "model.p", folder / "extracted"))
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "explained", tmp_path / "run")
    return tmp_path / "run"


def verified(folder: Path, **options: Any) -> Verification:
    return run_verify(VerifyConfig(run=str(folder), **options))


def failing(found: Verification) -> set[str]:
    return {check.name for check in found.checks if check.result == "fails"}


def edit(file: Path, change: Callable[[bytes], bytes], *, cover_up: bool = False) -> None:
    """Change a file of a run; with `cover_up` its hash in the manifest, too."""
    before = file.read_bytes()
    after = change(before)
    assert after != before
    file.write_bytes(after)
    if cover_up:
        manifest = file.parent / "manifest.json"
        manifest.write_text(manifest.read_text().replace(digest_bytes(before), digest_bytes(after)))


def better(data: bytes) -> bytes:
    document = json.loads(data)
    document["returns"]["machine"]["mean"] += 1.0
    return json.dumps(document, indent=2).encode()


@pytest.mark.parametrize("name", ["explained", "extracted"])
def test_an_untouched_run_holds_and_stays_untouched(made: Path, name: str) -> None:
    before = {path: path.read_bytes() for path in (made / name).rglob("*") if path.is_file()}
    found = verified(made / name)
    assert found.holds and not found.moved, found
    assert {"files", "inputs", "rollouts", "extract", "reduce", "summary"} <= {check.name for check in found.checks}
    assert {path: path.read_bytes() for path in (made / name).rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("cover_up", [False, True])
def test_an_embellished_return_is_named_with_both_values(run: Path, cover_up: bool) -> None:
    true = json.loads((run / "summary.json").read_bytes())["returns"]["machine"]["mean"]
    edit(run / "summary.json", better, cover_up=cover_up)
    found = verified(run)
    assert failing(found) == {"summary", "report"} | (set() if cover_up else {"files"})
    assert [(moved.file, moved.path, moved.stored, moved.recomputed) for moved in found.moved] == [
        ("summary.json", "returns.machine.mean", true + 1.0, true)
    ]


def test_a_changed_trace_is_named_by_its_step(run: Path) -> None:
    def touched(data: bytes) -> bytes:
        arrays = {name: array.copy() for name, array in decode_arrays(data).items()}
        arrays["rewards"][3] = 7.0
        return encode_arrays(arrays)

    edit(run / "traces.npz", touched, cover_up=True)
    found = verified(run)
    assert failing(found) == {"extract"}
    assert [(moved.path, moved.stored, moved.recomputed) for moved in found.moved] == [("rewards[3]", 7.0, 1.0)]


def test_games_that_were_not_played_like_that_are_found_only_by_playing_them(run: Path) -> None:
    def touched(data: bytes) -> bytes:
        arrays = {name: array.copy() for name, array in decode_arrays(data).items()}
        arrays["held_out/machine/returns"][0] += 1
        return encode_arrays(arrays)

    edit(run / "evaluation.npz", touched, cover_up=True)
    assert "evaluate" in failing(verified(run))
    stored = verified(run, stored=True)
    assert failing(stored) == {"summary"}
    assert {check.name for check in stored.checks if check.result == "not checked"} == {
        "rollouts",
        "extract",
        "evaluate",
        "saliency",
    }


def test_a_missing_file_a_moved_policy_and_another_policy(run: Path, made: Path, tmp_path: Path) -> None:
    (run / "folded.svg").unlink()
    assert "folded.svg is missing" in next(check.detail for check in verified(run).checks if check.name == "files")
    small.published(tmp_path / "model.p", seed=5)
    found = verified(run, policy=f"mmn:{tmp_path / 'model.p'}")
    assert "the policy is not the run's" in [check.detail for check in found.checks]
    log = run / "run-log.json"
    log.write_text(log.read_text().replace(str(made), "/nowhere"))
    assert any("--policy" in check.detail for check in verified(run).checks)
    (made / "moved.p").write_bytes((made / "model.p").read_bytes())
    found = verified(run, policy=f"mmn:{made / 'moved.p'}")
    assert failing(found) == {"files"}


def test_a_page_that_shows_something_else_is_found(run: Path) -> None:
    edit(run / "report.html", lambda data: data.replace(b"<h1", b"<h1 hidden", 1), cover_up=True)
    assert failing(verified(run)) == {"report"}


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="A run is a folder"):
        verified(tmp_path)


def test_the_command_says_so_in_words_json_and_exit_codes(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(run), "--quiet"]) == 0
    assert "Every number holds." in capsys.readouterr().out
    edit(run / "summary.json", better)
    assert main(["verify", str(run), "--quiet"]) == 1
    told = capsys.readouterr().out
    assert "summary.json returns.machine.mean: stored" in told and "FAILED summary" in told
    assert main(["verify", str(run), "--quiet", "--json"]) == 1
    found = msgspec.json.decode(capsys.readouterr().out.encode(), type=Verification)
    assert not found.holds and found.moved[0].path == "returns.machine.mean"
    assert main(["verify", str(tmp_path / "nowhere")]) == 2
    assert "A run is a folder" in capsys.readouterr().err
