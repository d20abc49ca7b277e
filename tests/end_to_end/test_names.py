"""A whole job on a policy, actions and features with hostile names: nothing that a person opens or reads is harmed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.support import run
from tests.pipelines import small
from tests.test_text import EVIL, harmless

PAGES = {"report.html", "machine.svg", "machine.dot", "reduced.svg", "reduced.dot", "folded.svg", "trace.csv"}


def test_hostile_names_act_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"actions": [EVIL, "right"], "features": [EVIL, "b", "c", "d"]}
    (tmp_path / "names.json").write_text(json.dumps(names), encoding="utf-8")
    policy = tmp_path / f"p{EVIL[1:4]}\u202ex.p"
    small.published(policy)
    options = [
        "--env",
        "CartPole-v1",
        "--env-kwargs",
        '{"max_episode_steps": 15}',
        "--episodes",
        "3",
        "--held-out",
        "2",
    ]
    options += ["--names", str(tmp_path / "names.json"), "--preset", "quick", "--out", str(tmp_path / "run")]
    shell = run(capsys, "explain", f"mmn:{policy}", *options)
    assert shell.code == 0
    assert harmless(shell.out) and harmless(shell.err)
    looked_at = set()
    for file in (tmp_path / "run").rglob("*"):
        if file.suffix in (".html", ".svg", ".dot", ".csv", ".tex"):
            assert harmless(file.read_bytes()), file.name
            looked_at.add(file.name)
    assert looked_at >= PAGES
    kept = json.loads((tmp_path / "run/machine.json").read_bytes())
    assert EVIL in kept["action_names"], "data keep the names"
