"""The page on saliency runs as printed."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from moorelens.saliency.registry import EXPLAINERS

PAGE = (Path(__file__).parents[2] / "docs/saliency.md").read_text(encoding="utf-8")


def test_the_example_runs_and_its_comments_are_true() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(program, names)
    found, curve = names["found"], names["curve"]
    assert found.values.shape == (2, 4) and curve.auc.shape == (2,)  # type: ignore[attr-defined]
    assert torch.allclose(found.values.sum(dim=1), found.gap, rtol=0.02)  # type: ignore[attr-defined]


def test_the_table_names_the_explainers_of_the_core() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert named <= set(EXPLAINERS)
    assert {"integrated_gradients", "smoothgrad", "gradcam", "occlusion", "rise", "perturbation", "captum"} <= named
