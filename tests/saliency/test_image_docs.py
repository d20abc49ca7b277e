"""The page on explainers of pictures says what was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from moorelens.saliency.registry import EXPLAINERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/images.md").read_text(encoding="utf-8")
FOUND = json.loads((ROOT / "benchmarks/results/image_explainers.json").read_text(encoding="utf-8"))


def test_the_table_is_that_of_the_measurements() -> None:
    rows = re.findall(r"^\| `([\w+]+)` \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| (\d+) \|", PAGE, re.MULTILINE)
    measured = {row["explainer"]: row for row in FOUND["acceptance"]["rows"]}
    assert {row[0] for row in rows} == set(measured) <= set(EXPLAINERS)
    for name, *means, calls in rows:
        expected = [measured[name][key][0] for key in ("deletion", "insertion", "pointing", "mass")]
        assert [float(mean) for mean in means] == pytest.approx(expected, abs=6e-4)
        assert int(calls) == measured[name]["calls"]


def test_what_was_asked_for_was_measured_and_holds() -> None:
    """The acceptance of issue 10, on pictures that no setting was chosen on."""
    rows = {row["explainer"]: row for row in FOUND["acceptance"]["rows"]}
    assert all(row["images"] == 200 for row in rows.values())
    insertion, deletion, pointing = (
        {name: row[key][0] for name, row in rows.items()} for key in ("insertion", "deletion", "pointing")
    )
    assert insertion["igos++"] > insertion["igos"] > insertion["integrated_gradients"]
    assert max(deletion["igos"], deletion["igos++"]) < deletion["gradcam"]
    assert min(pointing[name] for name in ("igos", "igos++", "rise")) >= 0.9
    assert FOUND["watermark"]["watermark-biased"]["igos++"][0] > 0.7
    assert FOUND["watermark"]["watermark-clean"]["igos++"][0] < 0.1
