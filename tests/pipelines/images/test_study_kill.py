"""A count, killed by SIGKILL at many changes to the disk, ends in the folder of an undisturbed one, byte for byte."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moorelens.pipelines.images.study import run_count
from moorelens.pipelines.images.study_config import CountConfig
from tests.runs import toy

sys.path.insert(0, str(Path(__file__).parent))
from study_world import make_world

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
KILLS = 7


def count(world: Path, out: Path, change: int | None = None) -> None:
    """Count four pictures in shards of one, and die at the `change`-th change to the disk."""
    os.chdir(world)
    sys.path.insert(0, str(world))
    if change is not None:
        toy.die_at(change)
    options = {"models": "spots:either,spots:both", "images": "pictures", "baseline": "grey", "out": str(out)}
    run_count(msgspec.convert({**options, "grid": 3, "p_low": 0.6, "shard": 1}, CountConfig))


def changes(world: Path, out: Path, noted: Path) -> None:
    """Count, and write down how many changes to the disk that took."""
    seen = 0

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            nonlocal seen
            seen += 2  # one moment before it, one after
            return function(*arguments, **options)

        return wrapper

    for name in ("open", "replace", "unlink", "mkdir", "rmdir", "fsync"):
        setattr(os, name, watched(getattr(os, name)))
    count(world, out)
    noted.write_text(str(seen))


def in_another_process(function: Callable[..., None], *arguments: Any) -> int | None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["moorelens.pipelines.images.study", "pyarrow.parquet", "PIL.Image"])
    process = context.Process(target=function, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def test_kills_change_nothing(tmp_path: Path) -> None:
    make_world(tmp_path, count=2)
    whole, killed, noted = tmp_path / "whole", tmp_path / "killed", tmp_path / "changes.txt"
    assert in_another_process(changes, tmp_path, whole, noted) == 0
    total, deaths = int(noted.read_text()), 0
    # Later and later in what is left, which is less each time: a run that ends before its moment has nothing to lose.
    for number in range(1, KILLS + 1):
        died = in_another_process(count, tmp_path, killed, max(1, number * total // (3 * KILLS)))
        assert died in (0, -signal.SIGKILL)
        deaths += died == -signal.SIGKILL
    assert deaths >= KILLS // 2
    assert in_another_process(count, tmp_path, killed) == 0
    expected, found = toy.tree(whole), toy.tree(killed)
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []
