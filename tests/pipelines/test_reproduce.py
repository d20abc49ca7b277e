"""`reproduce`: the published tables as data, one row end to end, what resumes, and what a broken network gives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from moorelens.errors import OptionError, RunFolderError
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.config import QuantiseConfig
from moorelens.pipelines import presets
from moorelens.pipelines.explain import run_job
from moorelens.pipelines.reproduce import run_reproduce
from moorelens.pipelines.reproduce_config import ReproduceConfig
from moorelens.pipelines.reproduce_memory import MemoryRow, lesson_of, row_job, row_stages, score_stage
from moorelens.pipelines.reproduce_output import table_files
from moorelens.pipelines.reproduce_played import _same_search, up_to_published_size
from moorelens.pipelines.reproduce_replica import replica_lesson
from moorelens.pipelines.reproduce_tables import ROWS, select_rows
from moorelens.pipelines.run_config import VerifyConfig
from moorelens.pipelines.verify import run_verify
from moorelens.policies.native import read_native, write_native
from tests.runs.toy import tree

KEYS = ["name", "setting", "published", "ours", "ours_published", "true_states", "equivalent", "restarts"]


def test_every_published_cell_is_a_row() -> None:
    assert len(ROWS["mce"]) == 12 and len(ROWS["tomita"]) == 14
    assert [row.true_states for row in ROWS["mce"]][::4] == [4, 10, 10]
    assert [row.true_states for row in ROWS["tomita"]][::2] == [2, 3, 5, 4, 4, 3, 5]
    assert len({row.key for rows in ROWS.values() for row in rows}) == sum(map(len, ROWS.values()))


def test_rows_are_chosen_by_words_and_wrong_words_are_refused() -> None:
    assert [row.key for row in select_rows("tomita", "tomita5, tomita6-8")] == ["tomita5-8", "tomita5-16", "tomita6-8"]
    with pytest.raises(OptionError, match="fits none"):
        select_rows("mce", "surely not")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reproduced") / "out"
    run_reproduce(config(folder))
    return folder


def config(folder: Path) -> ReproduceConfig:
    return ReproduceConfig(table="tomita", rows="tomita1-8", out=str(folder), workers=1, preset="quick", held_out=20)


def test_a_row_comes_out_exact_and_leaves_a_run_folder(made: Path) -> None:
    (row,) = json.loads((made / "rows.json").read_text())
    assert list(row) == KEYS
    assert row["ours"]["states"] == row["true_states"] == 2
    assert row["equivalent"] is True and row["ours"]["score"] == 100.0
    names = {path.name for path in (made / "rows" / "tomita1-8").iterdir()}
    assert {"manifest.json", "policy.safetensors", "quantiser.safetensors", "machine.json", "minimised.json"} <= names
    assert decode_machine((made / "rows" / "tomita1-8" / "minimised.json").read_bytes()).n_states == 2


def test_the_same_call_again_makes_nothing_again(made: Path) -> None:
    files = [path for path in made.rglob("*") if path.is_file() and path.name != "run-log.json"]
    before = {path: path.read_bytes() for path in files}
    log = (made / "training" / "tomita1-8-0" / "run-log.json").read_bytes()
    run_reproduce(config(made))
    assert {path: path.read_bytes() for path in files} == before
    assert (made / "training" / "tomita1-8-0" / "run-log.json").read_bytes().count(b"stage ended") == log.count(
        b"stage ended"
    )


def test_a_row_is_made_under_the_published_protocol_too(made: Path) -> None:
    (row,) = json.loads((made / "rows.json").read_text())
    replica = row["ours_published"]
    assert list(replica) == list(row["ours"])
    assert replica["states"] <= replica["unminimised_states"]
    run = made / "published" / "rows" / "tomita1-8"
    machine = decode_machine((run / "machine.json").read_bytes())
    assert len(machine.meta["seeds"]) == 10, "ten episodes, and no more of them until few transitions are new"
    assert replica["unminimised_states"] == machine.n_states
    assert machine.n_symbols * machine.n_states >= len(machine.sources), "nothing was completed"


def test_replicas_learn_the_published_labels() -> None:
    wrong = [row.key for table in ("mce", "tomita") for row in ROWS[table] if replica_lesson(row).label_bug]
    assert wrong == ["tomita6-8", "tomita6-16"]
    assert all(replica_lesson(row).plain for table in ("mce", "tomita") for row in ROWS[table])


def test_the_scores_of_a_row_are_verified(made: Path, tmp_path: Path) -> None:
    for place, stage in (("rows", "score"), ("published/rows", "replica")):
        checks = {
            check.name: check.result for check in run_verify(VerifyConfig(run=str(made / place / "tomita1-8"))).checks
        }
        assert checks[stage] == "holds"
    shutil.copytree(made / "rows" / "tomita1-8", tmp_path / "run")
    changed = (tmp_path / "run" / "row.json").read_text().replace('"states": 2', '"states": 1')
    (tmp_path / "run" / "row.json").write_text(changed)
    found = run_verify(VerifyConfig(run=str(tmp_path / "run")))
    assert ("row.json", "ours.states") in [(moved.file, moved.path) for moved in found.moved]


def test_a_network_with_shuffled_weights_fails(made: Path, tmp_path: Path) -> None:
    """The row's numbers come from the network: with its weights in another order nothing is right any more."""
    trained, broken = made / "training" / "tomita1-8-0", tmp_path / "broken"
    broken.mkdir()
    policy, header = read_native(trained / "policy.safetensors")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            mixed = parameter.flatten()[torch.randperm(parameter.numel(), generator=generator)]
            parameter.copy_(mixed.reshape(parameter.shape))
    (broken / "policy.safetensors").write_bytes(write_native(policy, header.request))
    (broken / "quantiser.safetensors").write_bytes((trained / "quantiser.safetensors").read_bytes())
    (row,) = select_rows("tomita", "tomita1-8")
    task = MemoryRow(row=row, out=str(tmp_path), seed=0, restarts=0, held_out=20)
    job = row_job(task, broken, out=tmp_path / "run")
    run_job(job, "extract", row_stages(job, score_stage(job, row, restarts=0)), progress=None)
    found = json.loads((tmp_path / "run" / "row.json").read_text())
    assert found["equivalent"] is False
    assert found["ours"]["score"] < 100.0


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="holds no table"):
        run_reproduce(config(tmp_path))


def test_a_table_is_written_in_every_form() -> None:
    ours = {"states": 2, "symbols": 2, "unminimised_states": 3, "unminimised_symbols": 2}
    row = {
        "name": "tomita1", "setting": "8", "published": {"states": 2, "unminimised_states": 13, "score": 100},
        "ours": {**ours, "score": 100.0, "low": 100.0, "high": 100.0}, "ours_published": None,
        "true_states": 2, "equivalent": True, "restarts": 0,
    }  # fmt: skip
    files = table_files("tomita", [row, {**row, "ours": None}], {"tomita1-8": (5, 5)})
    assert json.loads(files["rows.json"])[0] == row
    assert b"5 of 5" in files["table.md"] and b"5 of 5" in files["table.csv"] and b"tabular" in files["table.tex"]
    assert files["states.svg"].startswith(b"<svg")


def test_lessons_of_rows_are_the_corrected_ones() -> None:
    assert all(not lesson_of(row).label_bug for table in ("mce", "tomita") for row in ROWS[table])
    assert np.array_equal([len(lesson_of(row).language.outputs) for row in ROWS["mce"]][::4], [4, 10, 10])


def test_rows_of_games_try_small_codes_first_and_the_published_size_last() -> None:
    quick = QuantiseConfig(sizes=((2, 4), (8, 12)))
    assert up_to_published_size(quick, (64, 100)).sizes == ((2, 4), (8, 12), (64, 100))
    assert up_to_published_size(quick, (8, 8)).sizes == ((2, 4), (8, 8))
    assert up_to_published_size(quick, (8, 12)).sizes == ((2, 4), (8, 12))


@pytest.fixture
def short_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick preset that takes seconds, and whose first size keeps half of the return, which is enough here."""
    short = {
        "sizes": ((2, 4), (8, 12)),
        "rounds": 16,
        "learning_rate": 2e-3,
        "patience": 1,
        "tolerance": 0.5,
    }
    monkeypatch.setitem(presets._CONTROL, "quick", short | {"selection_episodes": 4, "restarts": 0})


def test_rows_of_one_policy_that_search_alike_share_one_run(short_search: None, tmp_path: Path) -> None:
    wanted = ReproduceConfig(
        table="control", rows="cartpole", out=str(tmp_path / "t"), workers=1, preset="quick", held_out=4
    )
    first, second = run_reproduce(wanted).rows
    assert [first["setting"], second["setting"]] == ["64,64", "8,8"]
    assert first["ours"] == second["ours"] and first["published"] != second["published"]
    alone, copied = (tmp_path / "t" / "rows" / name for name in ("cartpole-64-64", "cartpole-8-8"))
    assert tree(copied) == tree(alone)
    assert [made_in(session) for session in sessions(copied)] == [made_in(sessions(alone)[0]), []]
    assert run_verify(VerifyConfig(run=str(copied))).holds
    (copied / "summary.json").unlink()  # as a run that was killed leaves it
    assert run_reproduce(wanted).rows == [first, second]
    assert tree(copied) == tree(alone)


def sessions(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "run-log.json").read_text())["sessions"])


def made_in(session: dict[str, Any]) -> list[str]:
    return [event["stage"] for event in session["events"] if event["event"] == "stage ended"]


def test_only_a_search_that_would_try_the_same_is_shared(tmp_path: Path) -> None:
    quick = QuantiseConfig(sizes=((2, 4), (8, 12)))

    def found(size: tuple[int, int], *, kept: bool) -> Path:
        (tmp_path / "quantise.json").write_text(json.dumps({"size": size, "chosen": {"kept": kept}}))
        return tmp_path

    small, large, larger = (up_to_published_size(quick, size) for size in ((8, 8), (64, 100), (128, 100)))
    assert _same_search(found((2, 4), kept=True), large, small)
    assert _same_search(found((8, 12), kept=True), large, larger)
    assert not _same_search(found((2, 4), kept=False), large, larger)
    assert not _same_search(found((8, 12), kept=True), large, small)
    assert not _same_search(found((64, 100), kept=True), large, larger)
    everything = QuantiseConfig(sizes=quick.sizes, search_all=True)
    assert not _same_search(found((2, 4), kept=True), everything, everything)
