"""Help, verbs, exit codes: what every command shares."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from moorelens import __version__, errors
from moorelens.cli.verbs import VERBS, Verb
from tests.cli.support import refused, run

ROOT = Path(__file__).parents[2]


def test_help_lists_every_verb_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in [("--help",), ("-h",), ("help",), ()]:
        shell = run(capsys, *arguments)
        assert shell.code == 0
        assert all(f"\n  {name}" in shell.out for name in VERBS)
        assert max(map(len, shell.out.splitlines())) <= 89


@pytest.mark.parametrize(
    "arguments", [["--help"], ["explain", "--help"], ["train", "--help"], ["draw", "--help"], ["--version"]]
)
def test_help_is_quick_and_loads_nothing_heavy(arguments: list[str]) -> None:
    began = spent_by_children()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "moorelens", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    seconds = spent_by_children() - began
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert not loaded & {"torch", "gymnasium", "stable_baselines3", "sklearn", "pygraphviz", "typst", "ale_py"}
    # 0.5 s is promised; counted is processor time, and a machine that runs other things beside gets three times that.
    assert seconds < 1.5


def spent_by_children() -> float:
    """Return the processor seconds of all ended children of this process."""
    times = os.times()
    return times.children_user + times.children_system


@pytest.mark.parametrize("verb", [*VERBS, "zoo list", "zoo show"])
def test_every_verb_has_a_help_page_of_80_columns(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shell = run(capsys, *verb.split(), "--help")
    assert shell.code == 0
    assert shell.out.startswith(f"usage: moorelens {verb}")
    assert max(map(len, shell.out.splitlines()[1:])) <= 80


def test_help_of_a_verb_may_be_asked_for_in_two_ways(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "help", "train").out == run(capsys, "train", "--help").out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version").out == f"moorelens {__version__}\n"


def test_an_unknown_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean `explain`?" in refused(run(capsys, "expalin", "zoo:cartpole"))
    assert "it is one of demo, explain" in refused(run(capsys, "xyzzy"))
    refused(run(capsys, "--frobnicate"))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["explain"], "POLICY is missing"),
        (["explain", "zoo:x", "extra"], "extra"),
        (["explain", "zoo:x", "--sed", "3"], "did you mean --seed?"),
        (["explain", "zoo:x", "--seed", "three"], "--seed"),
        (["explain", "zoo:x", "--seed"], "--seed"),
        (["explain", "zoo:x", "--preset", "fast"], "'quick', 'standard', 'thorough'"),
        (["explain", "zoo:x", "--episodes", "0"], "--episodes must be a whole number from 1 on"),
        (["explain", "zoo:x", "--episodes", "-4"], "--episodes"),
        (["explain", "zoo:x", "--episodes", "2.5"], "--episodes"),
        (["explain", "zoo:x", "--sticky", "2"], "--sticky must be a probability"),
        (["explain", "zoo:x", "--max-minutes", "0"], "--max-minutes must be a positive number"),
        (["explain", "zoo:x", "--env-kwargs", "{"], "is not JSON"),
        (["explain", "zoo:x", "--env-kwargs", "[1]"], "is not a JSON object"),
        (["explain", "zoo:x", "--device", "tpu"], "'cpu', 'cuda', 'auto'"),
        (["extract", "zoo:x", "--repeats", "0"], "--repeats"),
        (["demo", "zoo:x"], "zoo:x"),
        (["train"], "ENV is missing"),
        (["train", "CartPole-v1", "--cell", "rnn"], "'gru', 'lstm'"),
        (["train", "CartPole-v1", "--ppo", '{"gama": 1}'], "gama"),
        (["train", "CartPole-v1", "--steps", "0"], "--steps"),
        (["zoo"], "zoo --help"),
        (["zoo", "feed"], "'feed'"),
        (["zoo", "show"], "NAME is missing"),
        (["zoo", "show", "nessie"], "nessie"),
        (["zoo", "list", "more"], "more"),
        (["doctor", "who"], "who"),
        (["draw"], "MACHINE is missing"),
        (["draw", "none.json"], "none.json cannot be read"),
        (["draw", "m.json", "--format", "gif"], "'svg', 'pdf', 'png', 'dot'"),
        (["draw", "m.json", "--seconds", "0"], "--seconds"),
        (["diff", "m.json"], "SECOND is missing"),
        (["fold", "m.json", "--min-evidence", "-1"], "--min-evidence"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_exit_2(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert part in refused(run(capsys, *arguments))
    assert list(tmp_path.iterdir()) == []


def failing(error: BaseException) -> Callable[[list[str]], int]:
    def verb(arguments: list[str]) -> int:
        raise error

    return verb


def with_verb(monkeypatch: pytest.MonkeyPatch, function: Callable[[list[str]], int]) -> None:
    monkeypatch.setattr(Verb, "load", lambda self: function)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.OptionError("No."), 2),
        (errors.RunFolderError("No."), 2),
        (errors.StorageError("No."), 1),
        (errors.EnvironmentFailure("No."), 1),
        (errors.MissingToolError("No."), 3),
    ],
)
def test_errors_become_their_exit_codes(
    error: errors.MooreLensError, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_verb(monkeypatch, failing(error))
    assert refused(run(capsys, "demo"), code=code) == "moorelens: No.\n"


def test_a_message_of_several_lines_becomes_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_verb(monkeypatch, failing(errors.StageError("one\n  two")))
    assert refused(run(capsys, "demo"), code=1) == "moorelens: one two\n"


def test_an_interruption_is_130_and_says_that_nothing_is_lost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_verb(monkeypatch, failing(KeyboardInterrupt()))
    assert "goes on from there" in refused(run(capsys, "demo"), code=130)


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_an_interruption(number: signal.Signals) -> None:
    program = (
        "import signal, sys, time; from moorelens.cli import main, verbs\n"
        # A shell starts what runs in its background with the interrupt ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def wait(arguments): print('on', flush=True); time.sleep(30)\n"
        "verbs.Verb.load = lambda self: wait\n"
        "sys.argv = ['moorelens', 'demo']; sys.exit(main.main())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "on\n"
        process.send_signal(number)
        assert "goes on from there" in process.stderr.read()
    assert process.returncode == 130


def test_the_page_about_the_command_line_names_every_verb() -> None:
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    assert all(f"| `{name}" in page for name in VERBS)


class TestACrash:
    def test_is_one_sentence_and_a_log(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        with_verb(monkeypatch, failing(ZeroDivisionError("division by zero")))
        sentence = refused(run(capsys, "demo"), code=1)
        (log,) = tmp_path.glob("moorelens-crash-*.log")
        assert "ZeroDivisionError: division by zero" in sentence
        assert str(log) in sentence
        assert "Traceback" in log.read_text()

    def test_is_told_even_where_no_log_can_be_written(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
        with_verb(monkeypatch, failing(ZeroDivisionError("x")))
        assert "MOORELENS_DEBUG=1" in refused(run(capsys, "demo"), code=1)

    def test_is_raised_for_a_programmer(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("MOORELENS_DEBUG", "1")
        with_verb(monkeypatch, failing(ZeroDivisionError("x")))
        with pytest.raises(ZeroDivisionError):
            run(capsys, "demo")


@pytest.mark.skipif(os.name != "posix", reason="closes a pipe")
def test_a_reader_that_leaves_early_is_no_error_message() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "moorelens", "zoo", "list", "--json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_output_survives_a_terminal_without_unicode() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "moorelens", "zoo", "show", "cartpole"],
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        check=True,
    )
    assert b"cartpole" in done.stdout.decode("ascii").encode()


def test_a_misspelt_name_or_value_is_met_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean zoo:cartpole?" in refused(run(capsys, "explain", "zoo:cartpol"))
    assert "did you mean quick?" in refused(run(capsys, "explain", "zoo:cartpole", "--preset", "quik"))


def test_json_is_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(run(capsys, "zoo", "list", "--json").out)
    assert {"name", "env", "algorithm", "cell", "steps", "score"} == set(rows[0])
    assert {"mean", "low", "high", "n"} == set(rows[0]["score"])
    assert json.loads(run(capsys, "zoo", "show", "cartpole", "--json").out)["name"] == "cartpole"


def test_the_zoo_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    listed = run(capsys, "zoo", "list").out
    assert "cartpole" in listed
    assert max(map(len, listed.splitlines())) <= 85
    assert "moorelens explain zoo:cartpole" in run(capsys, "zoo", "show", "cartpole").out
