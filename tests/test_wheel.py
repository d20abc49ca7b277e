"""What an installation must hold: run from the source like any test, and by `scripts/test` against the built wheel.

`MOORELENS_WHEEL_OF` names the source folder that the wheel was built from; MooreLens itself must come from elsewhere.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import moorelens

BUILT_FROM = os.environ.get("MOORELENS_WHEEL_OF")
INSTALLED = Path(moorelens.__file__).parent
SOURCE = Path(BUILT_FROM or Path(__file__).parents[1]) / "moorelens"


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("moorelens", path=str(Path(sys.executable).parent))
    assert program is not None, "the console script is installed beside this Python"
    return subprocess.run([program, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.skipif(BUILT_FROM is None, reason="only where a wheel was built")
def test_what_is_tested_is_the_wheel_and_not_the_source() -> None:
    assert BUILT_FROM is not None
    assert not INSTALLED.is_relative_to(BUILT_FROM)
    assert INSTALLED.is_relative_to(sys.prefix)


def test_every_file_of_the_package_is_installed() -> None:
    """Templates, schemas, fonts, cards and weights are what wheels forget."""

    def files(folder: Path) -> set[str]:
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

    def wanted(name: str) -> bool:
        return "__pycache__" not in name and not name.endswith((".pyc", ".tmp"))

    assert {name for name in files(SOURCE) if wanted(name)} == {name for name in files(INSTALLED) if wanted(name)}
    assert {"py.typed"} <= files(INSTALLED)
    assert any(name.endswith(".safetensors") for name in files(INSTALLED))


def test_every_module_can_be_imported() -> None:
    for module in pkgutil.walk_packages(moorelens.__path__, "moorelens."):
        if module.name != "moorelens.__main__":
            importlib.import_module(module.name)


def test_the_license_and_the_version_are_those_of_the_project() -> None:
    metadata = importlib.metadata.metadata("moorelens")
    assert metadata["Version"] == moorelens.__version__
    assert metadata["License-Expression"] == "MIT"


def test_the_command_runs_from_an_empty_folder(tmp_path: Path) -> None:
    assert command("--help", cwd=tmp_path).stdout.startswith("usage: moorelens VERB")
    doctor = {finding["name"]: finding for finding in json.loads(command("doctor", "--json", cwd=tmp_path).stdout)}
    assert doctor["graphviz"]["ok"]
    assert doctor["pdf"]["ok"]
    assert {row["name"] for row in json.loads(command("zoo", "list", "--json", cwd=tmp_path).stdout)} >= {"cartpole"}
    assert list(tmp_path.iterdir()) == []


def test_a_bundled_policy_plays() -> None:
    from moorelens.envs.playing import play
    from moorelens.policies.load import open_policy
    from moorelens.policies.players import PolicyPlayer

    loaded = open_policy("zoo:cartpole")
    assert play(loaded.request, [200_000], PolicyPlayer(loaded.policy)).returns.tolist() == [500.0]


def test_schemas_are_shipped_and_are_json() -> None:
    schemas = list(INSTALLED.rglob("schemas/*.json"))
    assert len(schemas) >= 2
    assert all(json.loads(path.read_text(encoding="utf-8")) for path in schemas)
