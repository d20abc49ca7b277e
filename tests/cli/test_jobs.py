"""`demo`, `explain` and `extract` parse, call one pipeline and print; the pipelines stand in here."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from moorelens.pipelines.config import DemoConfig, ExplainConfig
from moorelens.pipelines.outcome import RunResult
from moorelens.reports.summary import Fidelity, RunSummary
from moorelens.runs.progress import NullProgress, PlainProgress
from tests.cli.support import refused, run

SUMMARY = RunSummary(policy="p", env="E", fidelity=Fidelity(replay=1.0))


class Pipeline:
    """Stands for a pipeline: remembers what it was called with and returns what it is told."""

    def __init__(self, **result: Any) -> None:
        self.calls: list[tuple[Any, Any]] = []
        self.result = result

    def __call__(self, config: ExplainConfig | DemoConfig, *, progress: Any) -> RunResult:
        self.calls.append((config, progress))
        assert config.out is not None
        with progress.task("play") as task:
            task.note("a message")
        return RunResult(**{"folder": Path(config.out), "summary": SUMMARY, **self.result})


@pytest.fixture(params=["explain", "extract", "demo"])
def verb(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)

    def put(verb: str, **result: Any) -> Pipeline:
        pipeline = Pipeline(**result)
        module = types.ModuleType(f"moorelens.pipelines.{verb}")
        setattr(module, f"run_{verb}", pipeline)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return pipeline

    return put


def words(verb: str, *options: str) -> list[str]:
    return [verb, *(["--policy", "zoo:cartpole"] if verb == "demo" else ["zoo:cartpole"]), *options]


def test_options_reach_the_pipeline_as_one_config(
    verb: str, place: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pipeline = place(verb)
    options = [
        "--env-kwargs",
        '{"a": [1]}',
        "--seed",
        "7",
        "--episodes",
        "3",
        "--held-out",
        "4",
        "--preset",
        "thorough",
    ]
    shell = run(capsys, *words(verb, *options, "--force", "--max-minutes", "1.5", "--out", "o", "--names", "n.json"))
    assert shell.code == 0
    ((config, progress),) = pipeline.calls
    kind = DemoConfig if verb == "demo" else ExplainConfig
    expected: dict[str, Any] = {
        "seed": 7,
        "episodes": 3,
        "held_out": 4,
        "preset": "thorough",
        "force": True,
        "max_minutes": 1.5,
    }
    assert config == kind(policy="zoo:cartpole", env_kwargs={"a": [1]}, out="o", names="n.json", **expected)
    assert isinstance(progress, PlainProgress)


@pytest.mark.parametrize(
    ("options", "policy"),
    [
        ((), "zoo:pong-conv"),
        (("--env", "CartPole-v1"), "zoo:cartpole"),
        (("--env", "Acrobot-v1"), "zoo:acrobot"),
        (("--env", "ALE/Freeway-v5"), "zoo:freeway"),
        (("--env", "moorelens/Tomita3-v0"), "zoo:tomita3"),
        (("--policy", "zoo:acrobot"), "zoo:acrobot"),
    ],
)
def test_the_demo_shows_the_bundled_policy_of_an_environment(
    options: tuple[str, ...], policy: str, place: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = place("demo")
    run(capsys, "demo", *options)
    ((config, _),) = pipeline.calls
    assert (config.policy, config.out) == (policy, f"runs/demo-{policy.removeprefix('zoo:')}")


def test_an_environment_that_nobody_bundled_plays_has_no_demo(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(run(capsys, "demo", "--env", "MountainCar-v0")).startswith(
        "moorelens: The demo explains a bundled policy and --env MountainCar-v0 has none: choose one of ALE/Bowling-v5,"
    )


def test_results_go_to_stdout_and_messages_to_stderr(verb: str, place: Any, capsys: pytest.CaptureFixture[str]) -> None:
    place(verb)
    shell = run(capsys, *words(verb))
    assert shell.out.splitlines()[0] == "p in E: return not measured"
    assert "a message" not in shell.out
    assert "play: a message" in shell.err


def test_quiet_says_only_the_result(verb: str, place: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = place(verb)
    shell = run(capsys, *words(verb, "--quiet"))
    assert isinstance(pipeline.calls[0][1], NullProgress)
    assert shell.err == ""


def test_json_prints_the_summary_alone(verb: str, place: Any, capsys: pytest.CaptureFixture[str]) -> None:
    place(verb)
    shell = run(capsys, *words(verb, "--json"))
    assert json.loads(shell.out)["format"] == "moorelens.summary/1"


def test_the_folder_is_named_after_verb_and_policy(verb: str, place: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = place(verb)
    run(capsys, *words(verb))
    assert pipeline.calls[0][0].out == f"runs/{verb}-cartpole"


def test_the_files_to_open_are_named(verb: str, place: Any, capsys: pytest.CaptureFixture[str]) -> None:
    place(verb)
    folder = Path("runs/x")
    folder.mkdir(parents=True)
    for name in ("report.html", "report.pdf", "machine.svg"):
        (folder / name).write_text("")
    shell = run(capsys, *words(verb, "--out", "runs/x"))
    assert shell.out.splitlines()[-3:] == ["runs/x/report.html", "runs/x/report.pdf", "runs/x/machine.svg"]


def test_a_time_limit_says_what_it_left_out(verb: str, place: Any, capsys: pytest.CaptureFixture[str]) -> None:
    place(verb, summary=None, left_out=("saliency", "report"))
    shell = run(capsys, *words(verb))
    assert shell.code == 0
    assert "left out for want of time: saliency" in shell.err
    assert "the same command goes on" in shell.out
    assert run(capsys, *words(verb, "--json")).out == "null\n"


def test_a_machine_that_does_not_repeat_its_own_traces_is_a_failure(
    verb: str, place: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    place(verb, summary=RunSummary(policy="p", env="E", fidelity=Fidelity(replay=0.9999)))
    shell = run(capsys, *words(verb))
    assert shell.code == 1
    assert "99.9900%" in shell.err


@pytest.mark.parametrize(
    "policy", ["zoo:nessie", "mmn:none.p", "nonsense", "python:no.such:factory", "none.safetensors"]
)
def test_a_policy_that_cannot_be_read_is_a_wrong_request(
    policy: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(run(capsys, "explain", policy, "--env", "CartPole-v1", "--quiet"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "env", ["NoSuchEnv-v0", "Acrobot-v1", "python:no.such:factory", "MountainCarContinuous-v0", ""]
)
def test_an_environment_that_does_not_fit_is_a_wrong_request(
    env: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(run(capsys, "explain", "zoo:cartpole", "--env", env, "--quiet"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_a_wrong_request(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("text")
    for force in ([], ["--force"]):
        sentence = refused(run(capsys, "explain", "zoo:cartpole", "--out", str(tmp_path), "--quiet", *force))
        assert "files that are not a run's" in sentence
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    assert "is a file" in refused(run(capsys, "explain", "zoo:cartpole", "--out", str(tmp_path / "thesis.tex")))


def test_the_folder_of_another_policy_is_a_wrong_request(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    limit = ["--max-minutes", "1e-9", "--quiet", "--out", str(tmp_path / "run")]
    assert run(capsys, "extract", "zoo:cartpole", *limit).code == 0
    assert "policy" in refused(run(capsys, "extract", "zoo:acrobot", *limit))
    assert "made by `extract`" in refused(run(capsys, "explain", "zoo:cartpole", *limit))
    assert run(capsys, "extract", "zoo:acrobot", "--force", *limit).code == 0


def test_names_that_are_no_names_are_a_wrong_request(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for text in (None, "", "[]", '{"actions": ["one"]}', '{"actions": [1, 2]}', '{"surprise": []}'):
        path = tmp_path / "names.json"
        if text is not None:
            path.write_text(text)
        out = tmp_path / "run"
        refused(run(capsys, "explain", "zoo:cartpole", "--names", str(path), "--out", str(out), "--quiet"))
        assert not out.exists()
