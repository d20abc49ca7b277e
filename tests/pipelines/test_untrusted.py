"""Files from somebody else name no code that is run: environments and policies of policy files and run folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moorelens.envs.config import EnvironmentRequest
from moorelens.errors import EnvironmentRequestError
from moorelens.pipelines.explain import run_explain
from moorelens.policies.load import open_policy
from moorelens.policies.native import write_native
from tests.cli.support import refused, run
from tests.pipelines import small

SHELL = "python:os:system"
MODULE = "evil_module:Env-v0"


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that appears where any of the hostile references is followed."""
    target = tmp_path / "was-run"
    (tmp_path / "evil_module.py").write_text(f"open({str(target)!r}, 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    return target


def hostile(mark: Path, name: str) -> EnvironmentRequest:
    return EnvironmentRequest(id=name, kwargs={"command": f"touch '{mark}'"} if name == SHELL else {})


@pytest.mark.parametrize("name", [SHELL, MODULE])
def test_a_policy_file(name: str, tmp_path: Path, mark: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "p.safetensors"
    file.write_bytes(write_native(small.network(), hostile(mark, name)))
    with pytest.raises(EnvironmentRequestError, match="--trust"):
        open_policy(str(file))
    refused(run(capsys, "explain", str(file), "--out", str(tmp_path / "out"), "--quiet"))
    refused(
        run(capsys, "train", "CartPole-v1", "--start", str(file), "--out", str(tmp_path / "t"), "--steps", "1", "-q")
    )
    assert not mark.exists()
    assert open_policy(str(file), env="CartPole-v1").request.id == "CartPole-v1", "an environment that was typed serves"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("run")
    small.published(base / "p.p")
    run_explain(small.explaining(base / "p.p", base / "run"))
    return base / "run"


@pytest.mark.parametrize("name", [SHELL, MODULE])
@pytest.mark.parametrize("verb", ["evaluate", "prune", "saliency", "verify", "check"])
def test_a_run_folder(
    verb: str, name: str, finished: Path, tmp_path: Path, mark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(finished, tmp_path / "evil")
    request = hostile(mark, name)

    def change(manifest: dict[str, Any]) -> None:
        named = {
            **json.loads(manifest["header"]["identity"]["environment"]),
            "id": request.id,
            "kwargs": request.kwargs,
        }
        manifest["header"]["identity"]["environment"] = json.dumps(named)
        manifest["header"]["config"] |= {"env": request.id, "env_kwargs": request.kwargs}

    edited(folder / "manifest.json", change)
    words = ["S1"] if verb == "check" else []
    shell = run(capsys, verb, str(folder), *words, "--quiet")
    assert shell.code in ((0, 1) if verb == "check" else (1, 2)), shell
    assert not mark.exists()


def test_a_policy_that_a_run_folder_names(
    finished: Path, tmp_path: Path, mark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(finished, tmp_path / "evil")
    name = "python:evil_module:policy"

    def in_log(log: dict[str, Any]) -> None:
        for session in log["sessions"]:
            for event in session["events"]:
                if "policy" in event:
                    event["policy"] = name

    edited(folder / "run-log.json", in_log)
    edited(folder / "manifest.json", lambda manifest: manifest["header"]["config"].update(policy=name))
    assert "--trust" in refused(run(capsys, "saliency", str(folder), "--quiet"))
    assert not mark.exists()


def copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def edited(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(file.read_bytes())
    change(document)
    file.write_text(json.dumps(document))
