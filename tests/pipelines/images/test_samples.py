"""What a newcomer gets without an argument, and pictures of the oddest sizes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from moorelens.errors import ModelError
from moorelens.pipelines.images.config import METHODS, ImageConfig
from moorelens.pipelines.images.explain import run_image
from moorelens.pipelines.images.samples import bundled_samples
from moorelens.saliency.images import BUNDLED, bundled_model

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_model_is_shown_pictures_of_its_own_task(name: str) -> None:
    model = bundled_model(name)
    samples = bundled_samples(name, count=24, seed=0)
    x = torch.cat([sample.picture.input(model) for sample in samples])
    with torch.no_grad():
        said = model.module(x).argmax(dim=1).tolist()
    assert sum(one == sample.label for one, sample in zip(said, samples, strict=True)) >= 20
    for sample in samples:
        assert sample.truth is None or (sample.truth.shape == sample.picture.raw.shape[1:] and bool(sample.truth.any()))


def test_more_pictures_are_the_same_ones_and_others() -> None:
    few, many = bundled_samples("shapes-bn", count=2, seed=3), bundled_samples("shapes-bn", count=5, seed=3)
    assert all(torch.equal(one.picture.raw, other.picture.raw) for one, other in zip(few, many, strict=False))
    assert len({one.picture.raw.numpy().tobytes() for one in many}) == 5
    other = bundled_samples("shapes-bn", count=1, seed=4)[0]
    assert not torch.equal(other.picture.raw, few[0].picture.raw)
    with pytest.raises(ModelError, match="bundled"):
        bundled_samples("surely", count=1, seed=0)


def test_without_an_argument_there_is_a_result_that_finds_the_planted_cause(tmp_path: Path) -> None:
    """In a process of its own, as a shell runs it."""
    command = [sys.executable, "-m", "moorelens", "image", "gradcam", "--json", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["pictures"] == found["explainable"] == 6
    means = found["means"]
    assert means["deletion"] < means["random_deletion"] and means["insertion"] > means["random_insertion"]
    assert means["truth_mass"] > 2 * means["truth_area"]
    page = (tmp_path / "run/shapes-1/report.html").read_text(encoding="utf-8")
    assert "This picture was made" in page and 'href="../index.html"' in page


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (97, 5)])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_explains_the_oddest_sizes(method: str, size: tuple[int, int], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "odd.png")
    options = {"iterations": 2, "path_steps": 3} if method.startswith("igos") else {}
    options |= {"masks": 40} if method == "rise" else {}
    config: ImageConfig = METHODS[method][0](
        model="tests.saliency.images.factories:anysize", image=str(tmp_path / "odd.png"), out=str(tmp_path / "run"),
        steps=5, score="margin", **options,
    )  # fmt: skip
    found = run_image(config, method=method).explanation
    assert found is not None
    assert (found.picture.shown_width, found.picture.shown_height) == size
    assert (tmp_path / "run/report.html").is_file()
