"""Wrong input of every kind: one sentence, the right exit code, and nothing lost that was already written."""

from __future__ import annotations

import errno
import json
import os
import pickle
import random
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from moorelens.policies.native import write_native
from moorelens.runs.folder import SCRATCH
from moorelens.runs.lock import hold_lock
from moorelens.runs.stages import run_stages
from tests.cli.support import refused, run
from tests.pipelines import small
from tests.runs.toy import tree

Capture = pytest.CaptureFixture[str]
HERE = small.__name__

PARTS = ["gru_net.input_ff.0.weight", "gru_net.gru.weight_hh", "gru_net.actor_linear.bias", "obx_net.encoder.0.weight"]
WRONG_TENSORS: dict[str, Callable[[Tensor], Any]] = {
    "NaN": lambda tensor: tensor * float("nan"),
    "infinite": lambda tensor: tensor / 0.0,
    "doubled": lambda tensor: torch.cat([tensor, tensor]),
    "without rows": lambda tensor: tensor[:0],
    "a number": lambda tensor: torch.tensor(1.0),
    "with more axes": lambda tensor: tensor[..., None, None],
    "sparse": lambda tensor: tensor.to_sparse(),
    "complex": lambda tensor: tensor.to(torch.complex64),
    "no tensor": lambda tensor: tensor.tolist(),
}


class Bomb:
    """What a hostile pickle does when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("bombed",)


@pytest.fixture
def wrong(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Ask for a job that must be refused, with nothing written."""
    monkeypatch.chdir(tmp_path)

    def ask(policy: str, *options: str, code: int = 2) -> str:
        before = tree(tmp_path)
        words = ["explain", policy, "--out", str(tmp_path / "run"), "--quiet", *options]
        sentence = refused(run(capsys, *words), code=code)
        assert sentence.rstrip().endswith(".")
        assert "mistake in MooreLens" not in sentence
        assert tree(tmp_path) == before
        return sentence

    return ask


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    small.published(tmp_path / "p.p")
    return tmp_path / "p.p"


class TestAPublishedFile:
    def test_cut_off_anywhere(self, checkpoint: Path, wrong: Callable[..., str]) -> None:
        data = checkpoint.read_bytes()
        for length in [0, 1, 2, 4, 100, len(data) - 1, *random.Random(0).sample(range(len(data)), 12)]:
            checkpoint.write_bytes(data[:length])
            assert "cannot be read as one" in wrong(f"mmn:{checkpoint}", "--env", "CartPole-v1")

    @pytest.mark.parametrize(
        "data",
        [
            b"a letter\n" * 40,
            bytes(1000),
            random.Random(1).randbytes(1000),
            b"\x89PNG\r\n\x1a\n" + bytes(90),
            b"PK\x03\x04" + bytes(90),
            b'{"a": 1}',
            pickle.dumps({"weights": [1.0, 2.0]}),
            pickle.dumps({"weights": Bomb()}),
            pickle.dumps({"weights": Bomb()}, protocol=0),
        ],
        ids=["text", "zeros", "noise", "picture", "archive", "JSON", "pickle", "hostile", "hostile and old"],
    )
    def test_that_is_something_else(self, data: bytes, tmp_path: Path, wrong: Callable[..., str]) -> None:
        (tmp_path / "p.p").write_bytes(data)
        wrong(f"mmn:{tmp_path / 'p.p'}", "--env", "CartPole-v1")
        assert not (tmp_path / "bombed").exists()

    @pytest.mark.parametrize(
        "content",
        [[1, 2], {}, {"a": 1}, None, torch.zeros(3), {"a": {"b": torch.zeros(1)}}, {"a": Bomb()}],
        ids=["a list", "nothing in it", "numbers", "none", "one tensor", "nested", "hostile"],
    )
    def test_with_other_content(self, content: Any, tmp_path: Path, wrong: Callable[..., str]) -> None:
        torch.save(content, tmp_path / "p.p")
        wrong(f"mmn:{tmp_path / 'p.p'}", "--env", "CartPole-v1")
        assert not (tmp_path / "bombed").exists()

    @pytest.mark.parametrize("part", PARTS)
    def test_with_a_tensor_missing(self, part: str, checkpoint: Path, wrong: Callable[..., str]) -> None:
        tensors = torch.load(checkpoint, weights_only=True)
        del tensors[part]
        torch.save(tensors, checkpoint)
        wrong(f"mmn:{checkpoint}", "--env", "CartPole-v1")

    @pytest.mark.parametrize("change", WRONG_TENSORS)
    @pytest.mark.parametrize("part", PARTS)
    def test_with_a_wrong_tensor(self, part: str, change: str, checkpoint: Path, wrong: Callable[..., str]) -> None:
        tensors = torch.load(checkpoint, weights_only=True)
        torch.save(tensors | {part: WRONG_TENSORS[change](tensors[part])}, checkpoint)
        sentence = wrong(f"mmn:{checkpoint}", "--env", "CartPole-v1")
        if change in ("NaN", "infinite"):
            assert f"{part} in" in sentence
            assert "NaN or infinity" in sentence

    @pytest.mark.parametrize(
        ("env", "part"),
        [
            ("Acrobot-v1", "reads 4 numbers where Acrobot-v1"),
            ("MountainCar-v0", "reads 4 numbers"),
            ("Pendulum-v1", "discrete choice"),
            ("FrozenLake-v1", "reads 4 numbers where FrozenLake-v1 shows"),
            ("NoSuchTask-v0", "Gymnasium can build"),
            ("ALE/NoSuchGame-v5", "NoSuchGame"),
            (f"python:{HERE}:faulty_factory", "RuntimeError: no licence"),
            (f"python:{HERE}:nothing", "cannot be imported"),
        ],
    )
    def test_in_a_wrong_environment(self, env: str, part: str, checkpoint: Path, wrong: Callable[..., str]) -> None:
        assert part in wrong(f"mmn:{checkpoint}", "--env", env)

    def test_without_an_environment(self, checkpoint: Path, wrong: Callable[..., str]) -> None:
        assert "add --env" in wrong(f"mmn:{checkpoint}")


def with_header(change: Callable[[dict[str, Any]], None], data: bytes) -> bytes:
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])["__metadata__"]["moorelens"]
    document = json.loads(header)
    change(document)
    return save(load(data), {"moorelens": json.dumps(document)})


def put(*keys: Any) -> Callable[[dict[str, Any]], None]:
    """Return what sets the last of `keys` as the value at the place that the others name."""

    def change(document: dict[str, Any]) -> None:
        *path, last, value = keys
        for key in path:
            document = document[key]
        document[last] = value

    return change


class TestANativeFile:
    @pytest.fixture
    def data(self) -> bytes:
        return write_native(small.network(), small.request())

    def test_cut_off_anywhere(self, data: bytes, tmp_path: Path, wrong: Callable[..., str]) -> None:
        file = tmp_path / "p.safetensors"
        for length in [0, 1, 7, 8, 9, len(data) - 1, *random.Random(0).sample(range(len(data)), 12)]:
            file.write_bytes(data[:length])
            wrong(str(file))

    @pytest.mark.parametrize(
        "foreign",
        [
            b"a letter\n" * 40,
            bytes(500),
            struct.pack("<Q", 2**62) + b"{}",
            save({"w": torch.zeros(2)}),
            save({"w": torch.zeros(2)}, {"moorelens": "{}"}),
            save({"w": torch.zeros(2)}, {"moorelens": "[" * 10_000}),
        ],
        ids=["text", "zeros", "endless", "foreign", "empty header", "deep header"],
    )
    def test_that_is_something_else(self, foreign: bytes, tmp_path: Path, wrong: Callable[..., str]) -> None:
        (tmp_path / "p.safetensors").write_bytes(foreign)
        wrong(str(tmp_path / "p.safetensors"))

    @pytest.mark.parametrize(
        "change",
        [
            put("format", "moorelens.policy/9"),
            put("architecture", "sizes", []),
            put("architecture", "units", -1),
            put("architecture", "units", 7),
            put("architecture", "cell", "elman"),
            put("spec", "observation_shape", [-4]),
            put("spec", "observation_shape", [4, 4]),
            put("spec", "action_names", ["a", "b", "c"]),
            put("spec", "feature_size", "four"),
            put("request", "id", "Acrobot-v1"),
            put("request", "sticky", 3),
            put("surprise", 1),
        ],
    )
    def test_with_a_header_that_is_not_its_own(
        self, change: Callable[[dict[str, Any]], None], data: bytes, tmp_path: Path, wrong: Callable[..., str]
    ) -> None:
        (tmp_path / "p.safetensors").write_bytes(with_header(change, data))
        wrong(str(tmp_path / "p.safetensors"))

    @pytest.mark.parametrize("change", ["NaN", "doubled", "without rows", "a number"])
    def test_with_a_wrong_tensor(self, change: str, data: bytes, tmp_path: Path, wrong: Callable[..., str]) -> None:
        file = tmp_path / "p.safetensors"
        file.write_bytes(data)
        header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])["__metadata__"]
        tensors: Mapping[str, Tensor] = load(data)
        for name in ("body.0.weight", "actor.bias"):
            file.write_bytes(save({**tensors, name: WRONG_TENSORS[change](tensors[name]).contiguous()}, header))
            assert name in wrong(str(file))


@pytest.mark.parametrize(
    ("policy", "part"),
    [
        ("zoo:../../secret", "secret"),
        ("zoo:", "none of them"),
        ("mmn:", "none of them"),
        ("", "none of them"),
        ("onnx:model", "none of them"),
        ("python:os:getcwd", "must return a RecurrentPolicy"),
        (f"python:{HERE}:faulty_factory", "RuntimeError: no licence"),
        (f"python:{HERE}:nothing", "nothing"),
        ("mmn:.", "cannot be read as one"),
    ],
)
def test_a_reference_that_names_no_policy(policy: str, part: str, wrong: Callable[..., str]) -> None:
    assert part in wrong(policy, "--env", "CartPole-v1")


@pytest.mark.parametrize(
    ("odd", "part"),
    [
        ("heads", "heads of"),
        ("value", "heads (value) of"),
        ("state", "RuntimeError"),
        ("core", "core of"),
        ("features", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_policy_that_does_not_keep_its_word(odd: str, part: str, wrong: Callable[..., str]) -> None:
    assert part in wrong(f"python:{HERE}:odd_in_{odd}", "--env", "CartPole-v1")


@pytest.mark.parametrize("there", [True, False])
def test_a_gpu_is_refused_where_none_would_be_used(
    there: bool, checkpoint: Path, wrong: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert "--device cpu or auto" in wrong(f"mmn:{checkpoint}", "--env", "CartPole-v1", "--device", "cuda")


class TestAFolderThatCannotBeUsed:
    @pytest.mark.parametrize("place", ["p.p", "p.p/run", "p.p/deep/er"])
    def test_a_file_is_in_the_way(self, place: str, checkpoint: Path, capsys: Capture) -> None:
        data = checkpoint.read_bytes()
        refused(run(capsys, *small.words(checkpoint, checkpoint.parent / place)))
        assert checkpoint.read_bytes() == data

    @pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc, where nobody may write")
    def test_a_folder_where_nobody_may_write(self, checkpoint: Path, capsys: Capture) -> None:
        assert "cannot be written" in refused(run(capsys, *small.words(checkpoint, Path("/proc/none/run"))))

    def test_a_run_of_another_policy_keeps_all_its_files(
        self, checkpoint: Path, tmp_path: Path, capsys: Capture
    ) -> None:
        assert run(capsys, *small.words(checkpoint, tmp_path / "run", verb="extract")).code == 0
        before = tree(tmp_path / "run")
        small.published(checkpoint, seed=9)
        for verb in ("extract", "explain"):
            assert "belongs to another" in refused(run(capsys, *small.words(checkpoint, tmp_path / "run", verb=verb)))
        assert tree(tmp_path / "run") == before

    def test_a_run_that_another_process_works_on(
        self, checkpoint: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        words = small.words(checkpoint, tmp_path / "run", verb="extract")
        inner: list[str] = []

        def meanwhile(*arguments: Any, **options: Any) -> Any:
            monkeypatch.setattr("moorelens.pipelines.explain.run_stages", run_stages)
            with _locked(tmp_path / "run"):
                inner.append(refused(run(capsys, *words)))
            return run_stages(*arguments, **options)

        monkeypatch.setattr("moorelens.pipelines.explain.run_stages", meanwhile)
        assert run(capsys, *words).code == 0
        assert "another one is at work" in inner[0]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    (folder / SCRATCH).mkdir(parents=True)
    with hold_lock(folder / SCRATCH):
        yield


class TestAnEnvironmentThatBreaks:
    """What was finished before stays, and the same command goes on once the environment is mended."""

    @pytest.mark.parametrize(
        ("fault", "says"), [("dies", "raised OSError: the simulator went away"), ("nan", "not finite")]
    )
    @pytest.mark.parametrize(("since", "stage"), [(0, "rollouts"), (3_000_000, "evaluate")])
    def test_in_the_middle_of_an_episode(
        self, fault: str, says: str, since: int, stage: str, checkpoint: Path, tmp_path: Path, capsys: Capture
    ) -> None:
        def ask(out: str) -> list[str]:
            kwargs = json.dumps({"switch": "switch", "since": since})
            task = ["--env", f"python:{HERE}:moody", "--env-kwargs", kwargs, "--episodes", "2", "--held-out", "2"]
            return ["explain", f"mmn:{checkpoint}", "--out", str(tmp_path / out), *task, "--quiet"]

        before = os.getcwd()
        os.chdir(tmp_path)
        try:
            Path("switch").write_text(fault)
            sentence = refused(run(capsys, *ask("run")), code=1)
            assert says in sentence
            assert f"in the episode of seed {since} at step 3" in sentence
            kept = tree(tmp_path / "run")
            assert ("machine.svg" in kept) == (stage == "evaluate")
            log = json.loads((tmp_path / "run/run-log.json").read_bytes())["sessions"][-1]["events"]
            assert (log[-1]["event"], log[-1]["stage"]) == ("stage failed", stage)
            Path("switch").unlink()
            assert run(capsys, *ask("run")).code == 0
            assert run(capsys, *ask("whole")).code == 0
        finally:
            os.chdir(before)
        mended = tree(tmp_path / "run")
        assert mended == tree(tmp_path / "whole")
        assert all(mended[name] == data for name, data in kept.items() if name not in ("manifest.json", ".moorelens"))


class TestADiskThatIsFull:
    @pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
    @pytest.mark.parametrize("room", [0, 6_000, 30_000, 100_000])
    def test_stops_the_run_and_loses_nothing(
        self, room: int, checkpoint: Path, tmp_path: Path, capsys: Capture
    ) -> None:
        words = small.words(checkpoint, tmp_path / "run")
        with files_of_at_most(room):
            sentence = refused(run(capsys, *words), code=1)
        assert "disk or your quota is full" in sentence
        kept = tree(tmp_path / "run")
        if room:
            manifest = json.loads((tmp_path / "run/manifest.json").read_bytes())
            finished = {name for stage in manifest["stages"] for name in stage["outputs"]}
            assert finished <= kept.keys()
            assert len(finished) >= (1 if room >= 30_000 else 0)
        assert not [name for name in kept if name.endswith(".tmp")]
        assert run(capsys, *words).code == 0
        assert run(capsys, *small.words(checkpoint, tmp_path / "whole")).code == 0
        assert tree(tmp_path / "run") == tree(tmp_path / "whole")

    def test_that_becomes_read_only_is_told_in_the_same_way(
        self, checkpoint: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("moorelens.runs.atomic.secrets.token_hex", _read_only)
        sentence = refused(run(capsys, *small.words(checkpoint, tmp_path / "run")), code=1)
        assert "could not be written (Read-only file system)" in sentence


def _read_only(length: int) -> str:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@contextmanager
def files_of_at_most(room: int) -> Iterator[None]:
    """Let no file of this process grow beyond `room` bytes; to a program that looks like a full disk."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
