"""`image count` and `image crosstest` on models whose answers are known: what is counted, compared and refused."""

from __future__ import annotations

import io
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet
import pytest

from moorelens.cli.main import main
from moorelens.errors import ModelError, RunFolderError
from moorelens.pipelines.images import study as module
from moorelens.pipelines.images.study import RECORDS, run_count, run_crosstest
from moorelens.pipelines.images.study_config import CountConfig, CrosstestConfig
from moorelens.pipelines.images.study_records import CountRecord, CrossRecord, from_parquet
from moorelens.pipelines.images.study_subject import open_models, open_study
from moorelens.pipelines.images.study_work import Done, Shard, baseline_of, work
from moorelens.reports.study import CountSummary, CrosstestSummary
from moorelens.runs.progress import NullProgress
from moorelens.saliency.patches import PatchGrid
from moorelens.saliency.sets.values import class_value

sys.path.insert(0, str(Path(__file__).parent))
from study_world import make_world

THREE = "spots:either,spots:both,spots:mean"
COUNT = {"grid": 3, "baseline": "grey", "p_low": 0.6, "models": THREE, "images": "pictures"}
CROSS = {
    "explainer": "occlusion",
    "settings": {"size": 4, "stride": 4},
    "cells": 6,
    "baseline": "grey",
    "images": "pictures",
    "models": THREE,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    yield folder
    sys.modules.pop("spots", None)


@pytest.fixture(autouse=True)
def _there(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)


def count(out: Path, **changes: object) -> CountSummary:
    config = msgspec.convert({**COUNT, "out": str(out), **changes}, CountConfig)
    found = run_count(config).summary
    assert isinstance(found, CountSummary)
    return found


def cross(out: Path, **changes: object) -> CrosstestSummary:
    config = msgspec.convert({**CROSS, "out": str(out), **changes}, CrosstestConfig)
    found = run_crosstest(config).summary
    assert isinstance(found, CrosstestSummary)
    return found


def files(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if name != "run-log.json"}


@pytest.fixture(scope="module")
def counted(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A count that was never interrupted."""
    folder = tmp_path_factory.mktemp("counted") / "run"
    before = Path.cwd()
    os.chdir(world)
    count(folder)
    os.chdir(before)
    return folder


def measure(summary: CountSummary, key: str) -> dict[str, float]:
    (found,) = (one for one in summary.measures if one.key == key)
    return {model.name: one.median for model, one in zip(summary.head.models, found.models, strict=True)}


def test_a_conjunction_has_larger_sets_and_a_disjunction_more_that_share_nothing(tmp_path: Path) -> None:
    """Spec test 21, on models that are a conjunction and a disjunction by construction."""
    found = count(tmp_path / "run")
    assert measure(found, "mean_size") == {"either": 1, "both": 2, "mean": 1}
    assert measure(found, "disjoint") == {"either": 2, "both": 1, "mean": 2}
    assert measure(found, "mses") == {"either": 2, "both": 1, "mean": 2}
    assert measure(found, "sub_explanations") == {"either": 0, "both": 2, "mean": 0}
    (tests,) = (one.tests for one in found.measures if one.key == "sub_explanations")
    assert (tests[0].first, tests[0].second, tests[0].difference.mean) == ("either", "both", -2)
    assert tests[0].p_holm < 0.05


def test_records_are_what_brute_force_finds(counted: Path) -> None:
    """Every picture under every model, from all 512 sets of its 3 x 3 patches, by the definitions alone."""
    records = from_parquet((counted / RECORDS).read_bytes(), CountRecord)
    study = open_study(msgspec.convert(COUNT, CountConfig))
    assert len(records) == 3 * len(study.subjects) == 30
    grid = PatchGrid.regular(3, 3, (12, 12))
    for record, (subject, place) in zip(records, itertools.product(study.subjects, range(3)), strict=True):
        model = study.models.opened[place]
        assert (record.image, record.model) == (subject.name, study.models.names[place])
        x = model.normaliser(subject.raw[None])
        v = class_value(model.module, x, subject.label, baseline_of("grey", model.normaliser), grid)
        values = v(list(range(512))).numpy()
        enough = values >= 0.9 * values[511]
        single = [
            s for s in range(1, 512)
            if enough[s] and not any(enough[s ^ 1 << p] for p in range(9) if s >> p & 1)
        ]  # fmt: skip
        found = [sum(1 << patch for patch in mse) for mse in record.mse_patches]
        assert sorted(found) == single
        reached: set[int] = set()
        stack = list(found)
        while stack:
            parent = stack.pop()
            for child in (parent ^ 1 << p for p in range(9) if parent >> p & 1):
                if values[child] >= 0.6 * values[511] and child not in reached:
                    reached.add(child)
                    stack.append(child)
        assert record.sub_explanations == len(reached - set(found)) == sum(record.histogram)
        assert record.n_evaluated <= 512
        assert record.probability == values[511]


def test_parquet_has_a_column_for_each_field(counted: Path) -> None:
    table = pyarrow.parquet.read_table(io.BytesIO((counted / RECORDS).read_bytes()))
    assert tuple(table.column_names) == CountRecord.__struct_fields__
    assert table.num_rows == 30
    assert str(table.schema.field("mse_patches").type) == "list<element: list<element: int32>>"
    assert set(table["model"].to_pylist()) == {"either", "both", "mean"}


def test_own_maps_beat_chance_and_permuting_the_models_permutes_the_matrix(tmp_path: Path) -> None:
    """Spec test 22."""
    first = cross(tmp_path / "one")
    second = cross(tmp_path / "two", models="spots:mean,spots:either,spots:both")
    names = [model.name for model in first.head.models]
    order = [names.index(model.name) for model in second.head.models]
    for before, after in zip(first.matrices, second.matrices, strict=True):
        area, permuted = ([[cell.mean for cell in row] for row in matrix.area] for matrix in (before, after))
        assert np.array_equal(np.array(area)[:3][np.ix_(order, order)], np.array(permuted)[:3])
        assert np.array_equal(np.array(area)[3][order], np.array(permuted)[3])
    insertion, deletion = first.matrices
    random = first.rows.index("random")
    for place in range(3):
        assert insertion.area[place][place].mean >= insertion.area[random][place].mean
        assert deletion.area[place][place].mean <= deletion.area[random][place].mean
        assert insertion.relative[place][place] == 1


def test_identical_models_have_equal_rows_and_one_place_on_the_map(tmp_path: Path) -> None:
    found = cross(tmp_path / "run", models="spots:both,spots:twin,spots:either")
    assert [model.name for model in found.head.models] == ["both", "both (2)", "either"]
    for matrix in found.matrices:
        assert matrix.area[0] == matrix.area[1]
        assert all(row[0] == row[1] for row in matrix.area)
    assert found.landscape is not None
    assert np.allclose(found.landscape.points[0], found.landscape.points[1])


def test_cross_records_say_which_map_and_who_judges(tmp_path: Path) -> None:
    found = cross(tmp_path / "run", shares="5,25")
    records = from_parquet((tmp_path / "run" / RECORDS).read_bytes(), CrossRecord)
    assert len(records) == 10 * 2 * 4 * 3
    assert records[0].shares == (0, 2 / 36, 9 / 36, 1) == found.shares
    own = [one for one in records if (one.map, one.judge, one.mode) == ("both", "both", "insertion")]
    assert found.matrices[0].area[1][1].mean == pytest.approx(np.mean([one.area for one in own]))
    assert {one.explainable for one in records if one.map == "random"} == {None}


def test_shards_in_processes_give_the_bytes_of_those_in_this_one(counted: Path, tmp_path: Path) -> None:
    count(tmp_path / "run", workers=2, shard=3)
    assert files(tmp_path / "run") == files(counted)


@pytest.mark.parametrize("when", [0, 1, 2])
def test_what_was_killed_goes_on_and_ends_in_the_same_bytes(
    when: int, counted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []

    def stopping(shard: Shard) -> Done:
        if len(done) == when:
            raise KeyboardInterrupt
        done.append(shard.first)
        return work(shard)

    monkeypatch.setattr(module, "work", stopping)
    with pytest.raises(KeyboardInterrupt):
        count(tmp_path / "run")
    assert not (tmp_path / "run" / RECORDS).exists()
    begun = len(done)
    monkeypatch.setattr(module, "work", lambda shard: (done.append(shard.first), work(shard))[1])
    count(tmp_path / "run")
    assert begun == when
    assert done == [0, 4, 8]  # what was finished is not done again
    assert files(tmp_path / "run") == files(counted)


def test_a_time_limit_stops_in_order_and_the_same_command_goes_on(counted: Path, tmp_path: Path) -> None:
    config = msgspec.convert({**COUNT, "out": str(tmp_path / "run")}, CountConfig)
    found = run_count(msgspec.structs.replace(config, max_minutes=1e-6), progress=NullProgress())
    assert found.summary is None
    assert found.left_out == ("measure", "summary", "page")
    assert isinstance(run_count(config).summary, CountSummary)
    assert files(tmp_path / "run") == files(counted)


def test_other_settings_are_another_study(counted: Path, tmp_path: Path) -> None:
    before = files(counted)
    with pytest.raises(RunFolderError, match="settings"):
        count(counted, beam=2)
    with pytest.raises(RunFolderError, match="models"):
        count(counted, models="spots:either,spots:both")
    assert files(counted) == before
    count(tmp_path / "run", beam=2)
    count(tmp_path / "run", force=True)
    assert files(tmp_path / "run") == before


def test_labels_may_stand_in_a_file(counted: Path, tmp_path: Path) -> None:
    lines = [
        f"{colour}/{n}.png,{colour if n % 2 else place}"
        for place, colour in enumerate(("red", "blue"))
        for n in range(5)
    ]
    (tmp_path / "labels.csv").write_text("file,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    count(tmp_path / "run", labels=str(tmp_path / "labels.csv"))
    assert (tmp_path / "run" / RECORDS).read_bytes() == (counted / RECORDS).read_bytes()


def test_only_pictures_that_all_get_right_are_compared(tmp_path: Path) -> None:
    lines = [f"{colour}/{n}.png,{'red' if n < 2 else colour}" for colour in ("red", "blue") for n in range(5)]
    (tmp_path / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    found = count(tmp_path / "run", labels=str(tmp_path / "labels.csv"))
    assert (found.head.pictures, found.head.correct) == (10, 8)
    assert {model.right for model in found.head.models} == {8}


def test_what_a_budget_cuts_is_said(tmp_path: Path) -> None:
    found = count(tmp_path / "run", budget=24)
    assert all(one.evaluated <= 26 for one in found.searches)
    assert sum(one.search_cut + one.count_cut for one in found.searches) > 0


def test_nothing_to_explain_is_said_and_not_compared(tmp_path: Path) -> None:
    found = count(tmp_path / "run", p_low=0.5)  # of two classes each has half of the probability on a grey picture
    assert found.compared == 0
    assert [one.blind for one in found.searches] == [10, 10, 10]
    assert found.measures == ()


def test_maps_that_mean_nothing_are_said_and_not_compared(tmp_path: Path) -> None:
    found = cross(tmp_path / "run", settings={"size": 4, "stride": 4, "min_gap": 0.6})
    assert found.compared == 0
    assert found.unexplainable == (10, 10, 10)
    assert (found.matrices, found.transfers, found.landscape) == ((), (), None)
    assert b"means nothing" in (tmp_path / "run" / "report.html").read_bytes()


def test_one_model_alone_is_studied_too(tmp_path: Path) -> None:
    found = cross(tmp_path / "run", models="spots:either")
    assert found.landscape is None and not (tmp_path / "run" / "map.svg").exists()
    assert count(tmp_path / "count", models="spots:either").compared == 10


def test_a_model_that_is_another_each_time_is_refused_by_the_work(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="whenever it is opened"):
        count(tmp_path / "run", models="spots:either,spots:drifting")


def test_names_are_made_distinct() -> None:
    assert open_models(["spots:both", "spots:twin", "spots:both"]).names == ("both", "both (2)", "both (3)")


def said(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--models", "spots:either,spots:nobody"], "spots:nobody"),
        (["--models", "bundled:nobody"], "nobody"),
        (["--models", "spots:either,,spots:both"], "empty one"),
        (["--models", "spots:either,spots:larger"], "12 x 12 and spots:larger 24 x 24"),
        (["--models", "spots:either,spots:cats"], "the same classes"),
        (["--models", "spots:either,spots:grey"], "1"),
        (["--models", "spots:either,spots:wrong"], "there is none"),
        (["--models", "spots:either", "--count", "0"], "count"),
        (["--models", "spots:either", "--images", "nowhere"], "not there"),
        (["--models", "spots:either", "--images", "spots.py"], "a file"),
        (["--models", "spots:either", "--images", "pictures/red"], "--labels"),
        (["--models", "spots:either", "--images", "."], "'pictures'"),
        (["--models", "spots:either", "--labels", "nowhere.csv"], "cannot be read (No such file or directory)"),
        (["--models", "spots:either", "--labels", "pictures"], "cannot be read (it is a folder)"),
        (["--models", "spots:either", "--labels", "short.csv"], "blue/0.png"),
        (["--models", "spots:either", "--labels", "gone.csv"], "gone.png"),
        (["--models", "spots:either", "--labels", "wide.csv"], "3 columns"),
        (["--models", "spots:either", "--p-low", "0.95"], "p-low"),
        (["--models", "spots:either", "--grid", "1"], "grid"),
        (["--models", "spots:either", "--budget", "1"], "budget"),
        (["--models", "spots:either", "--out", "pictures"], "not a run's"),
    ],
)
def test_every_mistake_is_one_sentence(
    arguments: list[str], words: str, world: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (world / "short.csv").write_text("red/0.png,red\n", encoding="utf-8")
    (world / "gone.csv").write_text("red/gone.png,red\n", encoding="utf-8")
    (world / "wide.csv").write_text("red/0.png,red,round\n", encoding="utf-8")
    given = ["--images", "pictures", "--baseline", "grey", "--out", str(tmp_path / "run"), "--quiet"]
    assert main(["image", "count", *given, *arguments]) == 2
    assert words in said(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--explainer", "guess"], "guess"),
        (["--settings", '{"speed": 3}'], "speed"),
        (["--shares", "0,5"], "shares"),
        (["--shares", "many"], "shares"),
        (["--task", "xor"], "xor"),
        (["--models", "spots:either", "--task", "single"], "spots:either"),
        (["--labels", "short.csv"], "--images"),
    ],
)
def test_every_mistake_of_a_cross_test_is_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["image", "crosstest", "--quiet", "--out", str(tmp_path / "run"), *arguments]) == 2
    assert words in said(capsys)
    assert not (tmp_path / "run").exists()


def test_without_pyarrow_nothing_is_begun(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    given = ["--models", "spots:either", "--images", "pictures", "--quiet", "--out", str(tmp_path / "run")]
    assert main(["image", "count", *given]) == 3
    assert "pip install 'moorelens[data]'" in said(capsys)
    assert not (tmp_path / "run").exists()


def test_damaged_pictures_are_left_out_and_said(
    world: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bad = world / "pictures" / "red" / "bad.png"
    bad.write_bytes((world / "pictures" / "red" / "0.png").read_bytes()[:60])
    try:
        given = ["--models", "spots:either,spots:both", "--images", "pictures", "--grid", "3", "--baseline", "grey"]
        assert main(["image", "count", *given, "--quiet", "--json", "--out", str(tmp_path / "run")]) == 0
    finally:
        bad.unlink()
    captured = capsys.readouterr()
    summary = msgspec.json.decode(captured.out, type=CountSummary)
    assert [name for name, _ in summary.head.skipped] == ["red/bad.png"]
    assert summary.head.pictures == 10
    assert "red/bad.png" in captured.err
