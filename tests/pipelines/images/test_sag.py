"""`moorelens image sag`: the files it writes, that they show what the model saw, and what they say of nothing."""

from __future__ import annotations

import base64
import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from moorelens.errors import ImageError, OptionError
from moorelens.pipelines.images.config import ImageConfig
from moorelens.pipelines.images.sag import FILES, SAGResult, run_image_sag
from moorelens.pipelines.images.sag_config import SAGConfig, sag_out
from moorelens.reports.schema import load_schema
from moorelens.runs.checkpoints import Checkpoint
from moorelens.saliency.sets.sag import decode_sag
from tests.cli.support import refused, run
from tests.saliency.sets.factories import LIT, TwoOfThree

MODEL = "tests.saliency.sets.factories:two_of_three"
PAIRS = {(LIT[0], LIT[1]), (LIT[1], LIT[2]), (LIT[0], LIT[2])}
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three bright cells on grey noise that is dark in the same cells of the other picture."""
    pixels = np.random.default_rng(0).integers(0, 90, (56, 56, 3)).astype(np.uint8)
    for cell in LIT:
        row, column = divmod(cell, 7)
        pixels[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = 255
    path = tmp_path_factory.mktemp("sag") / "three <lights>.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def found(picture: Path, tmp_path_factory: pytest.TempPathFactory) -> SAGResult:
    return asked(picture, tmp_path_factory.mktemp("runs") / "run")


def asked(picture: Path, out: Path, **options: Any) -> SAGResult:
    settings = {"model": MODEL, "image": str(picture), "baseline": "black", "out": str(out), **options}
    return run_image_sag(SAGConfig(**settings))


def files_of(folder: Path) -> dict[str, bytes]:
    """Everything but the log, which holds times."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "run-log.json"}


def test_the_graph_is_the_one_that_is_known(found: SAGResult) -> None:
    sag = found.sag
    assert {node.patches for node in sag.nodes if node.root} == PAIRS
    assert (len(sag.nodes), len(sag.edges)) == (6, 6)
    assert {one.minimal for one in sag.found} == {"subset"}
    assert (sag.subject["class"], sag.subject["predicted"]) == ("lit", "lit")


def test_every_file_lies_directly_in_the_folder(found: SAGResult) -> None:
    files = files_of(found.folder)
    assert set(files) == {*FILES, "manifest.json"}
    jsonschema.validate(json.loads(files["sag.json"]), load_schema("sag"))
    assert decode_sag(files["sag.json"]) == found.sag
    assert set(files["sag.txt"].decode().strip().split(" | ")) == {"P8 & P24", "P24 & P40", "P8 & P40"}
    assert files["sag.dot"].decode().startswith("digraph")
    assert b"<lights>" not in files["report.html"] and b"three &lt;lights&gt;.png" in files["report.html"]
    assert b"<lights>" not in files["sag.svg"]


def test_the_drawing_holds_what_the_model_saw(found: SAGResult, picture: Path) -> None:
    """Decoded from the drawing, pixel by pixel: the picture in the cells of the set, black elsewhere."""
    root = ET.fromstring((found.folder / "sag.svg").read_text())
    original = np.array(Image.open(picture))
    for index, node in enumerate(found.sag.nodes):
        group = next(part for part in root.iter(f"{SVG}g") if part.get("id") == f"n{index}")
        link = group.find(f".//{SVG}image")
        assert link is not None
        data = base64.b64decode(link.attrib["href"].removeprefix("data:image/png;base64,"))
        expected = np.zeros_like(original)
        for patch in node.patches:
            row, column = divmod(patch, 7)
            part = np.s_[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8]
            expected[part] = original[part]
        np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(data))), expected)


def test_what_was_removed_is_outlined_at_its_box(found: SAGResult) -> None:
    """The box on the drawing is the box that was hidden, in pixels of the picture."""
    root = ET.fromstring((found.folder / "sag.svg").read_text())
    for index in range(len(found.sag.nodes)):
        group = next(part for part in root.iter(f"{SVG}g") if part.get("id") == f"n{index}")
        drawn = {path.attrib["d"] for path in group.iter(f"{SVG}path") if path.get("class") == "lost"}
        removed = {edge.patch for edge in found.sag.edges if edge.child == index}
        corners = {(patch // 7 * 8, patch % 7 * 8) for patch in removed}
        assert drawn == {f"M{left} {top}H{left + 8}V{top + 8}H{left}Z" for top, left in corners}
    assert len(list(root.iter(f"{SVG}image"))) == len(found.sag.nodes) + 2


def test_the_same_request_writes_the_same_bytes(found: SAGResult, picture: Path, tmp_path: Path) -> None:
    again = asked(picture, tmp_path / "again")
    assert files_of(again.folder) == files_of(found.folder)
    stored = found.sag.subject
    options = {name: stored[name] for name in ("grid", "score", "guide", "beam", "q", "max_roots", "seed", "max_batch")}
    assert asked(picture, tmp_path / "from-file", **options).sag == found.sag


def test_another_request_leaves_nothing_of_the_one_before(picture: Path, tmp_path: Path) -> None:
    asked(picture, tmp_path / "run")
    before = files_of(tmp_path / "run")
    changed = asked(picture, tmp_path / "run", budget=2)
    assert changed.sag.nodes == () and changed.sag.exhausted
    after = files_of(tmp_path / "run")
    assert set(after) == set(before) and all(after[name] != before[name] for name in FILES)


@pytest.mark.parametrize(("calls", "baseline"), [(1, "black"), (6, "black"), (9, "black,noise")])
def test_a_killed_search_goes_on_and_ends_alike(
    picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int, baseline: str
) -> None:
    """Nothing is searched twice, and every file is the same as without the kill."""
    whole = asked(picture, tmp_path / "whole", baseline=baseline, keep_class=True)
    monkeypatch.setattr(Checkpoint, "due", lambda self, every_s=20.0: True)
    seen: list[int] = []
    original = TwoOfThree.forward

    def dying(self: TwoOfThree, x: Tensor) -> Tensor:
        # The first two calls are the trial with a grey picture and the answer to the picture itself.
        seen.append(len(x))
        if len(seen) > 2 + calls:
            raise KeyboardInterrupt
        return original(self, x)

    monkeypatch.setattr(TwoOfThree, "forward", dying)
    with pytest.raises(KeyboardInterrupt):
        asked(picture, tmp_path / "run", baseline=baseline, keep_class=True)
    before = sum(seen[2 : 2 + calls])
    seen.clear()
    calls = 10_000
    again = asked(picture, tmp_path / "run", baseline=baseline, keep_class=True)
    assert files_of(again.folder) == files_of(whole.folder)
    # What comes again: the one call that was not whole yet, and which baseline was worst for a picture.
    twice = before + sum(seen[2:]) - again.sag.subject["forwards"]
    assert 0 <= twice <= max(seen) + 2 * (len(again.sag.nodes) + 2)


@pytest.mark.parametrize(
    ("options", "formula", "words"),
    [
        ({"model": "tests.saliency.images.factories:constant"}, "true", "Nothing needs to be shown"),
        ({"baseline": "white"}, "true", "Nothing needs to be shown"),
        ({"budget": 60}, "false", "No set of patches was found"),
    ],
)
def test_without_a_sufficient_set_the_same_files_say_so(
    picture: Path, tmp_path: Path, options: dict[str, Any], formula: str, words: str
) -> None:
    result = asked(picture, tmp_path / "run", **options)
    files = files_of(result.folder)
    assert set(files) == {*FILES, "manifest.json"}
    assert files["sag.txt"].decode() == f"{formula}\n" and result.sag.nodes == ()
    jsonschema.validate(json.loads(files["sag.json"]), load_schema("sag"))
    assert words in files["report.html"].decode() and words in files["sag.svg"].decode()
    ET.fromstring(files["sag.svg"])


def test_superpixels_and_several_baselines(picture: Path, tmp_path: Path) -> None:
    result = asked(picture, tmp_path / "run", grid="superpixels:30", baseline="black,grey", beam=2, q=8)
    sag = result.sag
    assert sag.grid is not None and sag.grid.shape is None and sum(sag.grid.labels[1::2]) == 56 * 56
    assert sag.nodes and all(node.relative >= 0.9 for node in sag.nodes if node.root)
    root = ET.fromstring((result.folder / "sag.svg").read_text())
    assert all(
        re.fullmatch(r"(M\d+ \d+[hv]\d+)+", path.attrib["d"]) for path in root.iter() if path.get("class") == "lost"
    )


@pytest.mark.parametrize("guide", ["occlusion", "igos"])
def test_a_map_may_lead_the_search(picture: Path, tmp_path: Path, guide: str) -> None:
    """Hiding one cell alone changes nothing here, so a map of that finds less; what is found is right all the same."""
    sag = asked(picture, tmp_path / "run", guide=guide).sag
    assert sag.roots and {sag.nodes[index].patches for index in sag.roots} <= PAIRS


def test_another_class_and_the_margin(picture: Path, tmp_path: Path) -> None:
    other = asked(picture, tmp_path / "other", class_="dark", baseline="white")
    assert other.sag.vacuous and other.sag.subject["class"] == "dark"
    kept = asked(picture, tmp_path / "margin", score="margin", keep_class=True)
    assert {node.patches for node in kept.sag.nodes if node.root} == {node.patches for node in kept.sag.nodes[:3]}
    with pytest.raises(OptionError, match="positive score"):
        asked(picture, tmp_path / "negative", class_="dark", score="margin")


def test_the_options_that_all_methods_share_are_there() -> None:
    assert set(ImageConfig.__struct_fields__) - {"pictures", "steps"} <= set(SAGConfig.__struct_fields__)


def test_a_bundled_model_brings_its_picture(tmp_path: Path) -> None:
    """The class glyph stands twice in it: both are found, each enough without the other."""
    sag = run_image_sag(SAGConfig(model="bundled:or-bn", out=str(tmp_path / "run"))).sag
    chosen = [set(sag.nodes[index].patches) for index in sag.roots]
    assert any(not first & second for first in chosen for second in chosen)


def test_results_go_to_a_folder_named_after_the_picture() -> None:
    assert sag_out(SAGConfig(image="a/cat.jpg")) == "runs/image-sag-cat"
    assert sag_out(SAGConfig()) == "runs/image-sag-shapes-bn"
    assert sag_out(SAGConfig(image="cat.jpg", baseline="blur,black")) == "runs/image-sag-cat-blur-black"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": "7"}, "--grid"),
        ({"grid": "0x7"}, "--grid"),
        ({"grid": "100x100"}, "coarser"),
        ({"grid": "superpixels:0"}, "--grid"),
        ({"grid": "superpixels:9999"}, "coarser"),
        ({"baseline": "red"}, "--baseline"),
        ({"baseline": "blur,blur"}, "--baseline"),
        ({"baseline": ""}, "--baseline"),
        ({"beam": 0}, "--beam"),
        ({"q": 0}, "--q"),
        ({"p_high": 0.0}, "--p-high"),
        ({"p_low": 2.0}, "--p-low"),
        ({"overlap": -1}, "--overlap"),
        ({"budget": 1}, "--budget"),
        ({"max_batch": 0}, "--max-batch"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        SAGConfig(**options)


def test_a_folder_and_a_grid_finer_than_the_picture_are_refused(picture: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="one picture"):
        asked(picture.parent, tmp_path / "run")
    with pytest.raises(OptionError, match="superpixel"):
        asked(picture, tmp_path / "run", grid="superpixels:900")
    with pytest.raises(ImageError):
        asked(picture.parent / "none.png", tmp_path / "run")
    assert not (tmp_path / "run").exists() or not (tmp_path / "run/sag.json").exists()


def test_the_command_says_what_is_enough(capsys: pytest.CaptureFixture[str], picture: Path, tmp_path: Path) -> None:
    asked_for = ("image", "sag", "--model", MODEL, "--image", str(picture), "--baseline", "black", "--quiet")
    shell = run(capsys, *asked_for, "--out", str(tmp_path / "run"))
    assert shell.code == 0 and shell.err == ""
    assert "How little is enough? 2 patches" in shell.out and "report.html" in shell.out
    document = run(capsys, *asked_for, "--out", str(tmp_path / "json"), "--json")
    assert document.code == 0
    jsonschema.validate(json.loads(document.out), load_schema("sag"))


@pytest.mark.parametrize(
    "wrong",
    [
        ("--grid", "big"),
        ("--baseline", "blue"),
        ("--p-high", "1.5"),
        ("--beam", "few"),
        ("--class", "cat"),
        ("--model", "nowhere:net"),
        ("--image", "/nowhere/at.png"),
        ("--guide", "magic"),
        ("--roots", "0"),
        ("--unknown", "1"),
    ],
)
def test_what_is_wrong_in_the_request_is_one_sentence(
    capsys: pytest.CaptureFixture[str], picture: Path, tmp_path: Path, wrong: tuple[str, str]
) -> None:
    given = {"--model": MODEL, "--image": str(picture), "--out": str(tmp_path / "run"), wrong[0]: wrong[1]}
    refused(run(capsys, "image", "sag", *(word for pair in given.items() for word in pair)))
    assert not (tmp_path / "run").exists()
