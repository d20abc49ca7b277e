"""`moorelens image`: its help, what it prints, and every mistake in one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

from moorelens.cli.image import METHODS
from moorelens.reports.schema import load_schema
from tests.cli.support import refused, run

HERE = "tests.saliency.images.factories"
MINE = ("gradcam", "ig", "igos", "igos+", "igos++", "occlusion", "perturbation", "rise", "smoothgrad")


@pytest.fixture
def picture(tmp_path: Path) -> str:
    pixels = np.full((32, 32, 3), 30, np.uint8)
    pixels[8:16, 8:16] = 250
    Image.fromarray(pixels).save(tmp_path / "light.png")
    return str(tmp_path / "light.png")


def test_the_methods_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["image", "--help"], ["image"], ["help", "image"]):
        shell = run(capsys, *arguments)
        assert shell.code == 0
        assert all(f"\n  {method}" in shell.out for method in METHODS)
        assert max(map(len, shell.out.splitlines())) <= 89
    assert set(MINE) <= set(METHODS)


@pytest.mark.parametrize("method", MINE)
def test_each_method_has_a_help_page(
    method: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shell = run(capsys, "image", method, "--help")
    assert shell.code == 0
    for option in (
        "--model",
        "--image",
        "--class ",
        "--baseline",
        "--mean",
        "--std",
        "--steps",
        "--max-batch",
        "--json",
    ):
        assert option in shell.out
    assert ("--size" in shell.out) == (method in ("igos", "igos+", "igos++", "rise"))
    assert max(map(len, shell.out.splitlines()[1:])) <= 80


@pytest.mark.parametrize(
    "arguments", [["image", "--help"], ["image", "igos++", "--help"], ["image", "ig", "--steps", "0"]]
)
def test_help_and_mistakes_load_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "moorelens", *arguments], capture_output=True, text=True, check=False
    )
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "moorelens" in loaded
    assert not loaded & {"torch", "gymnasium", "PIL", "numpy", "sklearn"}


def test_one_picture_is_answered_in_words_and_files(
    picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shell = run(capsys, "image", "occlusion", "--model", f"{HERE}:lights", "--image", picture, "--out", str(out))
    assert shell.code == 0
    assert "lights says left" in shell.out
    assert "Hiding the first" in shell.out
    shown = shell.out.splitlines()[-4:]
    assert all(Path(line).is_file() for line in shown)
    assert shown[0] == str(out / "report.html")


def test_json_is_one_document_alone(picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("image", "ig", "--model", f"{HERE}:lights", "--path-steps", "4", "--steps", "4", "--json")
    shell = run(capsys, *common, "--image", picture, "--out", str(tmp_path / "one"))
    jsonschema.validate(json.loads(shell.out), load_schema("image"))
    assert shell.out.encode() == (tmp_path / "one/explanation.json").read_bytes()
    many = run(capsys, *common, "--image", str(Path(picture).parent), "--out", str(tmp_path / "../many"))
    jsonschema.validate(json.loads(many.out), load_schema("images"))


def test_a_folder_is_answered_in_a_table(picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    arguments = ("--model", f"{HERE}:lights", "--image", str(tmp_path), "--out", str(tmp_path / "../table"), "-q")
    shell = run(capsys, "image", "gradcam", *arguments)
    assert (shell.code, shell.err) == (0, "")
    assert "light.png" in shell.out and "1 file that cannot be read as a picture: notes.txt" in shell.out
    assert shell.out.rstrip().endswith("summary.json")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["surely"], "is followed by a method"),
        (["gradcm"], "did you mean `gradcam`"),
        (["ig", "--model", "no.such:factory", "--image", "PICTURE"], "cannot be imported"),
        (["ig", "--model", f"{HERE}:raises", "--image", "PICTURE"], "weights here"),
        (["ig", "--model", f"{HERE}:leaves", "--image", "PICTURE"], "SystemExit"),
        (["ig", "--model", f"{HERE}:text", "--image", "PICTURE"], "returned a str"),
        (["ig", "--model", f"{HERE}:nan", "--image", "PICTURE"], "NaN"),
        (["ig", "--model", f"{HERE}:maps", "--image", "PICTURE"], "logits (N, K)"),
        (["ig", "--model", f"{HERE}:wrong_names", "--image", "PICTURE"], "3 outputs and 2 names"),
        (["ig", "--model", f"{HERE}:seven", "--image", "PICTURE"], "reads 7"),
        (["ig", "--model", f"{HERE}:grey", "--channels", "3", "--image", "PICTURE"], "failed on one"),
        (["ig", "--model", f"{HERE}:sized", "--image", "PICTURE"], "--model-args"),
        (["ig", "--model", f"{HERE}:sized", "--model-args", "[1]", "--image", "PICTURE"], "JSON object"),
        (["ig", "--model", f"{HERE}:lights"], "add --image"),
        (["ig", "--model", f"{HERE}:lights", "--image", "absent.png"], "No such file"),
        (["ig", "--model", f"{HERE}:lights", "--image", "TEXT"], "is no picture"),
        (["ig", "--model", f"{HERE}:lights", "--image", "EMPTY"], "holds no file"),
        (["ig", "--model", f"{HERE}:lights", "--image", "PICTURE", "--class", "cat"], "it has left, right, nothing"),
        (["ig", "--model", f"{HERE}:lights", "--image", "PICTURE", "--mean", "0.5,0.5"], "for each of the 3 channels"),
        (["ig", "--model", f"{HERE}:lights", "--image", "PICTURE", "--std", "0"], "positive standard deviation"),
        (["ig", "--model", f"{HERE}:lights", "--image", "PICTURE", "--std", "a"], "--std is one number"),
        (["ig", "--model", f"{HERE}:lights", "--image", "PICTURE", "--input-size", "8"], "--input-size"),
        (["ig", "--model", f"{HERE}:lights", "--image", "PICTURE", "--classes", "absent.txt"], "cannot be read"),
        (["ig", "--model", f"{HERE}:lights", "--image", "PICTURE", "--baseline", "blurr"], "did you mean blur"),
        (["ig", "--model", f"{HERE}:lights", "--image", "PICTURE", "--steps", "0"], "--steps must be"),
        (["ig", "--model", f"{HERE}:lights", "--image", "PICTURE", "--max-batch", "0"], "--max-batch must be"),
        (["ig", "--model", f"{HERE}:lights", "--image", "PICTURE", "--path-steps", "0"], "at least 1"),
        (["ig", "--model", f"{HERE}:lights", "--image", "PICTURE", "--size", "7"], "Unrecognized"),
        (["igos", "--model", f"{HERE}:lights", "--image", "PICTURE", "--size", "big"], "--size is such as"),
        (["rise", "--model", f"{HERE}:lights", "--image", "PICTURE", "--p", "2"], "between 0 and 1"),
        (["gradcam", "--model", f"{HERE}:lights", "--image", "PICTURE", "--layer", "conv9"], "patches"),
        (["gradcam", "--model", f"{HERE}:constant", "--image", "PICTURE"], "layer"),
        (["ig", "--model", "bundled:surely", "--image", "PICTURE"], "bundled"),
        (["ig", "--image", ""], "--image was given an empty text"),
        (["ig", "--image", "PICTURE", "--classes", " "], "--classes was given an empty text"),
        (["ig", "--image", "PICTURE", "--class", ""], "--class was given an empty text"),
        (["ig", "--model", "", "--image", "PICTURE"], "--model was given an empty text"),
        (["sag", "--image", ""], "--image was given an empty text"),
        (["count", "--images", ""], "--images was given an empty text"),
        (["ig", "--model", f"{HERE}:lights", "--image", "/proc"], "the system shows its processes"),
        (["ig", "--model", f"{HERE}:lights", "--image", "CUT"], "is cut short: it ends in the middle"),
        (["ig", "--model", f"{HERE}:lights", "--image", "STUMP"], "begins like a JPEG file and is cut short"),
        (["ig", "--model", f"{HERE}:lights", "--image", "PICTURE", "--classes", "EMPTY"], "(it is a folder)"),
        (["ig", "--model", f"{HERE}:lights", "--image", "PICTURE", "--classes", "PICTURE"], "no text in UTF-8"),
        (["ig", "--model", f"{HERE}:lights", "--image", "PICTURE", "--steps", "100001"], "at most 100,000"),
        (["rise", "--size", "1000000"], "--size of 1000000 makes 2,000 x 1000000 x 1000000 cells of masks"),
        (["rise", "--masks", "10000000"], "at most 268,435,456 are kept"),
        (["igos++", "--image", "PICTURE", "--baseline", "blur,black"], "once with each"),
        (["igos++", "--image", "PICTURE", "--baseline=blur,black"], "moorelens image sag, which takes several"),
        (["sag", "--grid", "superpixels:100000"], "at most 1,024 patches"),
        (["sag", "--grid", "superpixels:many"], "at most 1,024 patches"),
        (["sag", "--p-low", "1", "--p-high", ".9"], "--p-low must be a share from 0 to --p-high"),
        (["count", "--models", "bundled:or-bn,bundled:or-bn"], "names bundled:or-bn twice"),
        (["crosstest", "--shares", "1,1"], "has one twice"),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(
    arguments: list[str], words: str, picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.png").write_text("this is no picture")
    (tmp_path / "empty").mkdir()
    Image.effect_noise((64, 64), 50).save(tmp_path / "cut.jpg")
    whole = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "stump.jpg").write_bytes(whole[:20])
    names = {"TEXT": "text.png", "EMPTY": "empty", "CUT": "cut.jpg", "STUMP": "stump.jpg"}
    files = {"PICTURE": picture, **{word: str(tmp_path / name) for word, name in names.items()}}
    given = [files.get(word, word) for word in arguments]
    named = arguments[0] in METHODS
    out = ["--out", str(tmp_path / "run"), "-q"] if named else []
    assert words in refused(run(capsys, "image", *given, *out))
    assert not (tmp_path / "run").exists() or words == "layer"


def test_what_breaks_on_a_picture_is_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (32, 32), "white").save(tmp_path / "white.png")
    arguments = ("--image", str(tmp_path / "white.png"), "--out", str(tmp_path / "run"), "-q")
    for model in ("sometimes_nan", "sometimes_raises"):
        said = refused(run(capsys, "image", "ig", "--model", f"{HERE}:{model}", *arguments, "--force"), code=1)
        assert "white.png" in said


@pytest.mark.parametrize("how", ["no_grad", "detach", "compare", "numpy", "hook", "in_place"])
def test_a_model_without_a_gradient_is_refused_before_anything_is_written(
    how: str, picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--model", f"{HERE}:blunt", "--model-args", json.dumps({"how": how}), "--image", picture, "-q")
    for method in ("ig", "igos++", "smoothgrad"):
        said = refused(run(capsys, "image", method, *given, "--out", str(tmp_path / "run")))
        assert "rise or occlusion" in said and "blunt" in said
    if how in ("no_grad", "detach", "compare"):
        assert "does not depend differentiably on the picture" in said
    assert not (tmp_path / "run").exists()
    assert run(capsys, "image", "occlusion", *given, "--steps", "4", "--out", str(tmp_path / "other")).code == 0


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ("no_grad", 2, "depends differentiably"),
        ("in_place", 1, "inplace operation"),
    ],
)
def test_gradcam_says_whose_failure_it_is(
    how: str, code: int, words: str, picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--model", f"{HERE}:blunt", "--model-args", json.dumps({"how": how}), "--image", picture)
    said = refused(run(capsys, "image", "gradcam", *given, "--out", str(tmp_path / "run"), "-q"), code=code)
    assert words in said and "rise or occlusion" in said


def test_a_gradient_of_nan_is_the_models_failure(
    picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--model", f"{HERE}:blunt", "--model-args", '{"how": "root"}', "--image", picture)
    said = refused(run(capsys, "image", "ig", *given, "--out", str(tmp_path / "run"), "-q"), code=1)
    assert "light.png" in said and "NaN" in said and "rise or occlusion" in said


def test_a_gradient_of_zero_leaves_a_flat_map_whose_cause_is_named(
    picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--model", f"{HERE}:blunt", "--model-args", '{"how": "round"}', "--image", picture, "--steps", "4")
    shell = run(capsys, "image", "ig", *given, "--out", str(tmp_path / "run"), "-q")
    assert shell.code == 0
    assert "the gradient of the score is 0 wherever it was taken" in shell.out and "occlusion or rise" in shell.out


def test_equal_class_names_get_their_numbers(picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "names.txt").write_text("crane\ncrane\nlake\n", encoding="utf-8")
    given = ("--model", f"{HERE}:bare", "--image", picture, "--classes", str(tmp_path / "names.txt"), "-q")
    last = ("--out", str(tmp_path / "run"), "--steps", "4")
    shell = run(capsys, "image", "occlusion", *given, *last)
    assert shell.code == 0 and "bare says crane (0)" in shell.out
    assert "give its number" in refused(run(capsys, "image", "occlusion", *given, "--class", "crane", *last))
    for asked in ("1", "crane (1)"):
        shell = run(capsys, "image", "occlusion", *given, "--class", asked, *last)
        assert shell.code == 0 and "Explained is crane (1)" in shell.out


def test_what_is_assumed_of_a_bare_module_is_said_at_once(
    picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--model", f"{HERE}:bare", "--image", picture, "-q", "--out", str(tmp_path / "run"))
    words = ("that it reads pixels from 0 to 1 as they are (else: --mean, --std)", "pictures of any size")
    for method in ("occlusion", "sag"):
        said = run(capsys, "image", method, *given, "--force").out.splitlines()[1]
        assert said.startswith("Taken for granted of bare") and all(word in said for word in words)
        page = (tmp_path / "run/report.html").read_text("utf-8")
        assert words[0] in page[: page.index("</header>")]
    said = run(capsys, "image", "occlusion", *given, "--mean", "0.5", "--force").out
    assert words[0] not in said and words[1] in said
    shell = run(capsys, "image", "occlusion", *given, "--std", "1", "--input-size", "32", "--force")
    assert shell.code == 0 and "Taken for granted" not in shell.out
    assert "Taken for granted" not in run(capsys, "image", "occlusion", "--pictures", "1", *given[4:], "--force").out


def test_what_a_model_prints_spoils_no_document(
    picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--model", f"{HERE}:chatty", "--image", picture, "--json", "-q")
    for method in ("occlusion", "sag"):
        shell = run(capsys, "image", method, *given, "--out", str(tmp_path / method))
        assert shell.code == 0 and isinstance(json.loads(shell.out), dict)
        assert "building" in shell.err and "asked about" in shell.err
