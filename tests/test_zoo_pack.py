"""scripts/zoo-pack: what it bundles trains on a machine that has torch and no network."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TORCH = (
    "typing_extensions",
    "torch",
    "filelock",
    "fsspec",
    "jinja2",
    "markupsafe",
    "mpmath",
    "networkx",
    "setuptools",
    "sympy",
)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked bundle."""
    if not (ROOT / ".venv/bin/python").exists():
        pytest.skip("scripts/zoo-pack downloads with the Python of .venv, and there is none")
    folder = tmp_path_factory.mktemp("pack")
    done = subprocess.run(
        ["sh", "scripts/zoo-pack", str(folder / "p.tar.gz")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("the wheels cannot be downloaded from here")
    assert done.returncode == 0, done.stderr
    size = (folder / "p.tar.gz").stat().st_size
    assert f"{size} bytes" in done.stdout and size < 64 * 2**20
    subprocess.run(["tar", "-xzf", str(folder / "p.tar.gz"), "-C", str(folder)], check=True)
    listed = (folder / "zoo-pack/README").read_text(encoding="utf-8")
    wheels = [path.name for path in (folder / "zoo-pack/wheels").iterdir()]
    assert wheels and all(name in listed and name in done.stdout for name in wheels)
    return folder / "zoo-pack"


def own_torch(folder: Path) -> dict[str, str]:
    """The environment of a Python that has torch, what torch needs, and nothing else of ours."""
    site = folder / "own"
    site.mkdir()
    for name in TORCH:
        distribution = importlib.metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "VIRTUAL"))}
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    # The base Python of a virtual environment does not see its packages.
    return kept | {"PYTHON": str(base), "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "PYTHONNOUSERSITE": "1"}


def without_network(command: list[str]) -> list[str]:
    """The command in a network namespace of its own, where this system allows one."""
    unshare = shutil.which("unshare")
    allowed = unshare and subprocess.run([unshare, "-rn", "true"], capture_output=True, check=False).returncode == 0
    return [str(unshare), "-rn", *command] if allowed else command


def test_a_training_runs_from_the_pack(pack: Path, tmp_path: Path) -> None:
    small = '{"n_envs": 2, "n_steps": 16, "batch_size": 32, "n_epochs": 1}'
    words = [
        "CartPole-v1",
        "--steps",
        "32",
        "--max-minutes",
        "0.000001",
        "--ppo",
        small,
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(
        without_network([str(pack / "train"), *words, "--quiet"]),
        env=own_torch(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {"checkpoint.safetensors", "policy.safetensors", "card.json"} <= {
        p.name for p in (tmp_path / "out").iterdir()
    }
    assert (pack / "site/stable_baselines3").is_dir()  # unpacked, because that Python has none


def test_a_python_without_torch_is_told_so(pack: Path, tmp_path: Path) -> None:
    surroundings = own_torch(tmp_path) | {"PYTHONPATH": ""}
    done = subprocess.run(
        [str(pack / "train"), "CartPole-v1"], env=surroundings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3 and "has none" in done.stderr
