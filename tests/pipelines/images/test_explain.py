"""The job on pictures: the files it writes, that they say the same thing, and that nothing written is lost."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from moorelens.errors import ImageError, ModelFailure, OptionError, RunFolderError
from moorelens.pipelines.images import explain
from moorelens.pipelines.images.config import METHODS, ImageConfig, image_out, settings_of, size_of
from moorelens.pipelines.images.drawing import outline_of
from moorelens.pipelines.images.explain import FILES, run_image
from moorelens.pipelines.images.samples import folder_names
from moorelens.reports.schema import load_schema
from moorelens.saliency.attribution import Attribution
from moorelens.saliency.images.loading import shown_name
from tests.saliency.images import factories

HERE = "tests.saliency.images.factories"
QUICK: dict[str, dict[str, Any]] = {
    "igos": {"iterations": 4, "path_steps": 4, "size": "8"},
    "igos+": {"iterations": 4, "path_steps": 4, "size": "8"},
    "igos++": {"iterations": 4, "path_steps": 4, "size": "8"},
    "rise": {"masks": 200},
    "smoothgrad": {"samples": 4},
    "occlusion": {"window": 8},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A light on the left, one on the right, darkness, and a text."""
    folder = tmp_path_factory.mktemp("pictures")
    draw(folder / "left.png", light=(8, 8))
    draw(folder / "right.png", light=(16, 24))
    draw(folder / "dark.png", light=None)
    (folder / "notes.txt").write_text("not a picture")
    return folder


def draw(path: Path, *, light: tuple[int, int] | None) -> None:
    pixels = np.full((32, 32, 3), 30, np.uint8)
    if light is not None:
        pixels[light[0] : light[0] + 8, light[1] : light[1] + 8] = 250
    Image.fromarray(pixels).save(path)


def asked(method: str, **options: Any) -> ImageConfig:
    defaults: dict[str, Any] = {"model": f"{HERE}:lights", "steps": 16}
    return METHODS[method][0](**{**defaults, **QUICK.get(method, {}), **options})


def files_of(folder: Path) -> dict[str, bytes]:
    """Everything but the log, which holds times."""
    names = (path for path in folder.rglob("*") if path.is_file() and path.name != "run-log.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in names}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_explains_a_picture_into_one_folder(method: str, folder: Path, tmp_path: Path) -> None:
    result = run_image(asked(method, image=str(folder / "left.png"), out=str(tmp_path / "run")), method=method)
    found = result.explanation
    assert found is not None and result.summary is None
    assert set(files_of(tmp_path / "run")) == {*FILES, "manifest.json"}
    document = json.loads((tmp_path / "run/explanation.json").read_bytes())
    jsonschema.validate(document, load_schema("image"))
    assert (found.predicted.name, found.target.name, found.asked) == ("left", "left", False)
    assert found.explainable and found.gap == pytest.approx(found.f_x - found.f_b)
    # The light is a sixteenth of the picture; hiding it ends the answer, showing it is enough.
    assert found.deletion.auc < found.random.deletion_mean < found.insertion.auc
    stored = Attribution.from_bytes((tmp_path / "run/attribution.npz").read_bytes())
    assert stored.method == found.explainer == METHODS[method][1]
    y, x = divmod(int(stored.saliency()[0].argmax()), 32)
    assert 3 <= y < 21 and 3 <= x < 21  # a cell of the coarsest map more on each side


def test_the_numbers_are_those_of_the_stored_map(folder: Path, tmp_path: Path) -> None:
    """The curves again, pixel by pixel, from the map and the definition."""
    config = asked("occlusion", image=str(folder / "left.png"), out=str(tmp_path / "run"), baseline="black", steps=8)
    found = run_image(config, method="occlusion").explanation
    assert found is not None
    saliency = Attribution.from_bytes((tmp_path / "run/attribution.npz").read_bytes()).saliency()[0].flatten()
    shuffle = torch.randperm(1024, generator=torch.Generator().manual_seed(0))
    order = sorted(shuffle.tolist(), key=lambda pixel: -float(saliency[pixel]))
    x = torch.from_numpy(np.array(Image.open(tmp_path / "run/picture.png"))).permute(2, 0, 1).float() / 255
    model = factories.lights().module
    deletion, insertion = [], []
    for step in range(9):
        moved = torch.zeros(1024, dtype=torch.bool)
        moved[order[: round(1024 * step / 8)]] = True
        moved = moved.reshape(32, 32)
        for scores, shown in ((deletion, ~moved), (insertion, moved)):
            with torch.no_grad():
                scores.append(float(model((x * shown)[None]).softmax(dim=1)[0, 0]))
    assert found.deletion.score == pytest.approx(deletion, abs=1e-5)
    assert found.insertion.score == pytest.approx(insertion, abs=1e-5)
    assert found.deletion.area == pytest.approx([step / 8 for step in range(9)])
    assert found.deletion.auc == pytest.approx(np.trapezoid(deletion, dx=1 / 8), abs=1e-5)
    enough = next(step for step, score in enumerate(insertion) if score >= found.f_b + 0.9 * found.gap)
    assert found.keep_area == pytest.approx(enough / 8)
    assert (found.flip_area, found.flips_to) == (pytest.approx(1 / 8), "nothing")


def test_a_folder_gives_a_page_each_an_index_and_a_table(folder: Path, tmp_path: Path) -> None:
    config = asked("gradcam", image=str(folder), out=str(tmp_path / "run"))
    result = run_image(config, method="gradcam")
    summary = result.summary
    assert summary is not None and result.explanation is None
    jsonschema.validate(json.loads((tmp_path / "run/summary.json").read_bytes()), load_schema("images"))
    assert [row.folder for row in summary.rows] == ["dark", "left", "right"]
    assert [row.target for row in summary.rows] == ["nothing", "left", "right"]
    assert [(one.file, one.reason) for one in summary.left_out] == [("notes.txt", "is no picture")]
    assert [row.explainable for row in summary.rows] == [False, True, True]
    bright = [row for row in summary.rows if row.explainable]
    assert summary.explainable == 2
    assert summary.means.deletion == pytest.approx(sum(row.deletion for row in bright) / 2)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "run/summary.csv").read_text())))
    assert [row["explainable"] for row in rows] == ["false", "true", "true"]
    assert rows[0]["flip_area"] == ""
    for key in ("dark", "left", "right"):
        assert {path.name for path in (tmp_path / "run" / key).iterdir()} == set(FILES)
    page = (tmp_path / "run/index.html").read_text()
    assert all(f'href="{key}/report.html"' in page for key in ("dark", "left", "right"))
    assert "notes.txt" in page


@pytest.mark.parametrize(
    ("method", "model"),
    [(method, "lights") for method in ("igos++", "gradcam", "ig", "rise")]
    + [(method, "constant") for method in ("rise", "occlusion")],
)
def test_a_picture_that_cannot_be_explained_is_a_result(method: str, model: str, folder: Path, tmp_path: Path) -> None:
    config = asked(method, model=f"{HERE}:{model}", image=str(folder / "dark.png"), out=str(tmp_path / "run"))
    found = run_image(config, method=method).explanation
    assert found is not None and not found.explainable
    assert set(files_of(tmp_path / "run")) == {*FILES, "manifest.json"}
    assert "cannot be explained" in (tmp_path / "run/report.html").read_text()


def test_the_same_request_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run_image(asked("rise", image=str(folder), out=str(tmp_path / name)), method="rise")
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    other = run_image(asked("rise", image=str(folder), out=str(tmp_path / "three"), seed=1), method="rise").summary
    assert other is not None
    assert files_of(tmp_path / "three")["left/attribution.npz"] != files_of(tmp_path / "one")["left/attribution.npz"]


def test_what_was_explained_stays_when_the_run_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = asked("occlusion", image=str(folder), out=str(tmp_path / "run"))
    measured: list[str] = []
    measure = explain.measure

    def once(job: Any, sample: Any) -> Any:
        if sample.picture.name == "right.png" and "right.png" not in measured:
            measured.append("right.png")
            raise KeyboardInterrupt
        measured.append(sample.picture.name)
        return measure(job, sample)

    monkeypatch.setattr(explain, "measure", once)
    with pytest.raises(KeyboardInterrupt):
        run_image(config, method="occlusion")
    assert (tmp_path / "run/left/report.html").is_file()
    run_image(config, method="occlusion")
    assert measured == ["dark.png", "left.png", "right.png", "right.png"]
    run_image(config, method="occlusion")
    assert len(measured) == 4
    run_image(asked("occlusion", image=str(folder), out=str(tmp_path / "whole")), method="occlusion")
    assert files_of(tmp_path / "run") == files_of(tmp_path / "whole")


def test_a_picture_that_is_added_or_changed_is_explained_and_no_other(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("a", "b"):
        draw(pictures / f"{name}.png", light=(8, 8))
    config = asked("occlusion", image=str(pictures), out=str(tmp_path / "run"))
    run_image(config, method="occlusion")
    draw(pictures / "b.png", light=(8, 24))
    draw(pictures / "c.png", light=(0, 0))
    (pictures / "d.png").write_text("no picture")
    measured: list[str] = []
    measure = explain.measure
    monkeypatch.setattr(
        explain, "measure", lambda job, sample: measured.append(sample.picture.name) or measure(job, sample)
    )
    summary = run_image(config, method="occlusion").summary
    assert measured == ["b.png", "c.png"]
    assert summary is not None and [row.target for row in summary.rows] == ["left", "right", "left"]
    (pictures / "a.png").unlink()
    run_image(config, method="occlusion")
    assert not (tmp_path / "run/a").exists()


def test_results_below_the_pictures_are_not_taken_for_pictures(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", light=(8, 8))
    (tmp_path / "b").mkdir()
    draw(tmp_path / "b/c.png", light=(8, 24))
    (tmp_path / "b/manifest.json").write_text("{}")
    for out in ("runs/one", "two", "runs/one"):
        config = asked("gradcam", image=str(tmp_path), out=str(tmp_path / out))
        summary = run_image(config, method="gradcam").summary
        assert summary is not None
        assert [row.file for row in summary.rows] == ["a.png", "b/c.png"]


def test_another_models_folder_is_refused_and_kept(folder: Path, tmp_path: Path) -> None:
    config = asked("occlusion", image=str(folder / "left.png"), out=str(tmp_path / "run"))
    run_image(config, method="occlusion")
    before = files_of(tmp_path / "run")
    other = asked("occlusion", model=f"{HERE}:bare", image=str(folder / "left.png"), out=str(tmp_path / "run"))
    with pytest.raises(RunFolderError, match="belongs to another one"):
        run_image(other, method="occlusion")
    with pytest.raises(RunFolderError, match="belongs to another one"):
        run_image(asked("rise", image=str(folder / "left.png"), out=str(tmp_path / "run")), method="rise")
    assert files_of(tmp_path / "run") == before
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(RunFolderError, match="not a run's"):
        run_image(asked("occlusion", image=str(folder / "left.png"), out=str(mine), force=True), method="occlusion")
    assert (mine / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(("model", "words"), [("sometimes_nan", "NaN"), ("sometimes_raises", "too bright")])
def test_a_model_that_fails_on_a_picture_is_named_and_the_others_are_kept(
    model: str, words: str, folder: Path, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    draw(pictures / "a.png", light=(8, 8))
    Image.new("RGB", (32, 32), "white").save(pictures / "white.png")
    config = asked("occlusion", model=f"{HERE}:{model}", image=str(pictures), out=str(tmp_path / "run"))
    with pytest.raises(ModelFailure, match=words) as caught:
        run_image(config, method="occlusion")
    assert "white.png" in str(caught.value) and "\n" not in str(caught.value)
    assert (tmp_path / "run/a/report.html").is_file()


def test_a_class_is_asked_for_by_name_or_number(folder: Path, tmp_path: Path) -> None:
    def target(text: str, model: str = "lights") -> int:
        config = asked("ig", model=f"{HERE}:{model}", image=str(folder / "left.png"), class_=text, path_steps=2,
                       out=str(tmp_path / re.sub(r"\W", "", text)))  # fmt: skip
        found = run_image(config, method="ig").explanation
        assert found is not None and found.asked
        assert found.flip_area is None or found.target.index == found.predicted.index
        return found.target.index

    assert [target("right"), target(" NOTHING "), target("0")] == [1, 2, 0]
    for wrong in ("middle", "3", "-1", "1.0"):
        with pytest.raises(OptionError, match="from 0 to 2"):
            target(wrong)
    with pytest.raises(OptionError, match="one of 0, 1"):
        target("crane", model="twins")
    assert target("left", model="twins") == 2


@pytest.mark.parametrize("baseline", ["blur", "mean", "black", "grey", "white", "noise"])
def test_a_baseline_is_given_in_raw_space_and_passes_the_normaliser(
    baseline: str, folder: Path, tmp_path: Path
) -> None:
    """Black is 0 and white 1 before the normaliser, whatever that does; the score of the baseline shows it."""
    options: dict[str, Any] = {"mean": "0.5", "std": "0.25,0.25,0.25", "image": str(folder / "left.png")}
    config = asked("occlusion", baseline=baseline, out=str(tmp_path / "run"), **options)
    found = run_image(config, method="occlusion").explanation
    assert found is not None
    levels = {"black": 0.0, "grey": 0.5, "white": 1.0}
    if baseline in levels:
        raw = torch.full((1, 3, 32, 32), levels[baseline])
        with torch.no_grad():
            logits = factories.lights().module((raw - 0.5) / 0.25)
        assert found.f_b == pytest.approx(float(logits.softmax(dim=1)[0, 0]), abs=1e-5)


def test_the_overlay_and_the_steps_are_those_of_the_map(folder: Path, tmp_path: Path) -> None:
    run_image(asked("occlusion", image=str(folder / "left.png"), out=str(tmp_path / "run")), method="occlusion")
    overlay = np.asarray(Image.open(tmp_path / "run/overlay.png").convert("RGB")).astype(int)
    assert overlay.shape == (448, 448, 3)
    warmth = functional.avg_pool2d(torch.from_numpy(overlay[..., 0] - overlay[..., 2]).float()[None, None], 14)[0, 0]
    saliency = Attribution.from_bytes((tmp_path / "run/attribution.npz").read_bytes()).saliency()[0]
    assert bool((warmth[saliency > 0.5 * saliency.max()] > 60).all())
    assert float(warmth[saliency <= 0].abs().max()) < 1


def test_an_outline_is_the_edge_of_the_truth() -> None:
    truth = torch.zeros(6, 7, dtype=torch.bool)
    truth[1:5, 0:4] = True
    alpha = np.asarray(Image.open(io.BytesIO(outline_of(truth))))[..., 3]
    expected = np.zeros((6, 7), bool)
    expected[1:5, 0:4] = True
    expected[2:4, 1:3] = False
    assert ((alpha > 0) == expected).all()


def test_a_folder_name_is_fit_for_any_file_system() -> None:
    names = ["a b.png", "a-b.jpg", "A B.png", "sub/x.png", "../../etc.png", "é.png", "index.png", "x" * 300 + ".png"]
    found = folder_names(names)
    assert len({key.casefold() for key in found.values()}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", key) and len(key) < 80 for key in found.values())
    assert found["sub/x.png"] == "sub-x" and found["index.png"] != "index"
    beside = folder_names(["manifest.json.png", "index.html.png", "Summary.csv.png"])
    assert not {"manifest.json", "index.html", "summary.csv"} & {key.casefold() for key in beside.values()}


def test_a_name_that_no_text_can_hold_is_shown_as_far_as_it_can_be(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xff\x1b\xe2\x80\xae.png")
    assert shown_name(odd) == "caf\N{REPLACEMENT CHARACTER}" + 2 * "\N{REPLACEMENT CHARACTER}" + ".png"
    assert shown_name("d\u00e9j\u00e0 vu.png") == "d\u00e9j\u00e0 vu.png"


@pytest.mark.parametrize("text", ["", "0", "-3", "7x", "7x0", "a", "1e3", "224x224x3", "999999"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(OptionError):
        size_of(text, "size")


def test_options_become_settings_of_the_explainer() -> None:
    expected = {"variant": "ours", "iterations": 4, "steps": 4, "l1": 2.0, "size": 7}
    assert settings_of(asked("igos++", size="7", l1=2.0)) == expected
    assert settings_of(asked("igos", size="7x14"))["size"] == (7, 14)
    assert settings_of(asked("gradcam", tokens="14"))["tokens"] == (14, 14)
    assert settings_of(asked("ig", path_steps=9)) == {"steps": 9, "rule": "midpoint"}


def test_results_go_to_a_folder_named_after_method_and_picture() -> None:
    assert image_out("igos++", asked("igos++", image="a/my cat.jpg")) == "runs/image-igospp-my-cat"
    assert image_out("igos+", asked("igos+", image="photos/")) == "runs/image-igosp-photos"
    assert image_out("ig", ImageConfig()) == "runs/image-ig-shapes-bn"
    assert image_out("ig", ImageConfig(image="..")) == "runs/image-ig-picture"
    other = ImageConfig(image="cat.jpg", class_="a dog", baseline="black", score="logit")
    assert image_out("ig", other) == "runs/image-ig-cat-a-dog-black-logit"


def test_a_picture_that_is_missing_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ImageError):
        run_image(asked("ig", image=str(tmp_path / "absent.png"), out=str(tmp_path / "run")), method="ig")
    assert not (tmp_path / "run").exists()


def test_a_model_of_ones_own_needs_pictures_of_ones_own(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--image"):
        run_image(asked("ig", out=str(tmp_path / "run")), method="ig")
