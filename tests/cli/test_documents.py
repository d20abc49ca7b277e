"""With `--json` one document stands on stdout, whatever the code of an environment or a policy prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from moorelens.cli.printing import print_json
from moorelens.cli.verbs import Verb
from tests.cli.support import run
from tests.pipelines import small

ROOT = Path(__file__).parents[2]
NOISY = """
import os, subprocess
import gymnasium

print("imported", flush=True)
subprocess.run(["echo", "a child"], check=True)

class Noisy(gymnasium.Wrapper):
    def step(self, action):
        print("a step")
        return super().step(action)

def make():
    print("made", flush=True)
    os.write(1, b"written by C\\n")
    return Noisy(gymnasium.make("CartPole-v1", max_episode_steps=20))
"""


@pytest.mark.skipif(os.name != "posix", reason="a child writes to the same descriptor")
def test_an_environment_that_prints_spoils_no_document(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    small.published(tmp_path / "p.pt")
    arguments = ["extract", "mmn:p.pt", "--env", "python:noisy:make", "--episodes", "3", "--held-out", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "moorelens", *arguments, "--preset", "quick", "--json", "--quiet"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["format"] == "moorelens.summary/1"
    assert {"imported", "made", "a step", "written by C", "a child"} <= set(done.stderr.splitlines())


def chatty(arguments: list[str]) -> int:
    print("before")
    print_json(b'{"a": 1}')
    print("after")
    return 0


def test_a_program_that_calls_the_command_line_gets_the_document_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Verb, "load", lambda self: chatty)
    stdout = sys.stdout
    shell = run(capsys, "demo", "--json")
    assert (shell.out, shell.err) == ('{"a": 1}\n', "before\nafter\n")
    assert sys.stdout is stdout


def test_without_json_what_is_printed_stays_where_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Verb, "load", lambda self: chatty)
    assert run(capsys, "demo").out == 'before\n{"a": 1}\nafter\n'
