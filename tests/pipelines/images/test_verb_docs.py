"""The page on the verb runs as printed, and names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moorelens.pipelines.images.config import METHODS
from moorelens.pipelines.images.explain import FILES

PAGE = (Path(__file__).parents[3] / "docs/image-verb.md").read_text(encoding="utf-8")


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factory, program = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "mine.py").write_text(factory)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)).save(tmp_path / "cat.jpg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(program, names)
    assert names["found"].saliency().shape == (1, 64, 64)  # type: ignore[attr-defined]


def test_every_method_option_and_file_is_named() -> None:
    assert all(f"`{method}`" in PAGE for method in METHODS)
    for config, _ in METHODS.values():
        for option in config.settings:
            assert f"--{option.replace('_', '-')}" in PAGE, option
    assert all(f"`{file}`" in PAGE for file in FILES)
