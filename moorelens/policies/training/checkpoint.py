"""Training checkpoints: every tensor, counter and random state of a run in one safetensors file."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from moorelens.errors import RunFolderError
from moorelens.policies.training.config import TrainConfig

FORMAT = "moorelens.training/1"
_KEY = "moorelens"


class PPOFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The numbers beside the tensors of PPO: settings, counters, the curve so far, the state of numpy's generator."""

    format: str = FORMAT
    config: str
    steps: int
    updates: int
    seconds: float
    streak: int
    best: tuple[float, ...] | None
    curve: list[dict[str, float]]
    reward_statistics: tuple[float, float, float]
    numpy_state: tuple[str, int, int, float]


class ImitationFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The numbers beside the tensors of an imitation; the recorded segments are collected anew."""

    format: str = FORMAT
    config: str
    steps: int
    updates: int
    seconds: float
    best: tuple[float, ...] | None
    curve: list[dict[str, float]]
    next_seed: int
    generator: dict[str, Any]


F = TypeVar("F", bound=msgspec.Struct)


def encode(tensors: dict[str, torch.Tensor], facts: msgspec.Struct) -> bytes:
    """Return the checkpoint file."""
    data = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(tensors.items())}
    return save(data, {_KEY: msgspec.json.encode(facts).decode()})


def decode(data: bytes, kind: type[F]) -> tuple[dict[str, torch.Tensor], F]:
    """Read a checkpoint file whose facts are a `kind`; raises `RunFolderError` where it is damaged."""
    try:
        tensors = load(data)
        length = int.from_bytes(data[:8], "little")
        metadata: dict[str, Any] = msgspec.json.decode(data[8 : 8 + length])["__metadata__"]
        facts = msgspec.json.decode(metadata[_KEY], type=kind)
    except (SafetensorError, KeyError, msgspec.MsgspecError) as error:
        raise RunFolderError(
            f"A training goes on from its checkpoint and this one cannot be read ({error}): it is damaged, so start "
            "over with --force."
        ) from error
    return tensors, facts


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return the state of an optimiser by position of its parameter."""
    state = optimiser.state_dict()["state"]
    return {
        f"optimiser/{index}/{name}": value if isinstance(value, torch.Tensor) else torch.tensor(float(value))
        for index, entry in state.items()
        for name, value in entry.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Put back what `optimiser_tensors` returned."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimiser/"):
            _, index, name = key.split("/")
            state.setdefault(int(index), {})[name] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def random_state() -> tuple[dict[str, torch.Tensor], tuple[str, int, int, float]]:
    """Return the states of torch's and numpy's generators, which SB3 draws from."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    tensors = {
        "random/torch": torch.get_rng_state(),
        "random/numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
    }
    return tensors, (str(name), int(position), int(has_gauss), float(cached))


def restore_random_state(tensors: dict[str, torch.Tensor], numpy_state: tuple[str, int, int, float]) -> None:
    """Put back what `random_state` returned."""
    torch.set_rng_state(tensors["random/torch"])
    name, position, has_gauss, cached = numpy_state
    keys = tensors["random/numpy"].numpy().astype(np.uint32)
    np.random.set_state((name, keys, position, has_gauss, cached))


def generator_state(rng: np.random.Generator) -> dict[str, Any]:
    """Return the state of a numpy generator with its large integers as text."""
    state = dict(rng.bit_generator.state)
    return state | {"state": {name: str(number) for name, number in state["state"].items()}}


def to_generator_state(state: dict[str, Any]) -> dict[str, Any]:
    """Undo `generator_state`."""
    return state | {"state": {name: int(text) for name, text in state["state"].items()}}


def under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def fingerprint(config: TrainConfig, settings: msgspec.Struct, total: int) -> str:
    """Return what must stay equal for a training to go on: how long a slice is, and who watches, may change."""
    plain = msgspec.structs.replace(config, max_minutes=None, tensorboard=False, device="cpu", steps=total)
    plain = msgspec.structs.replace(plain, ppo=None, imitation=None)
    return (msgspec.json.encode(plain, order="sorted") + msgspec.json.encode(settings, order="sorted")).decode()


def same_training(found: str, wanted: str) -> None:
    """Raise `RunFolderError` where a checkpoint was made with other settings."""
    if found != wanted:
        raise RunFolderError(
            "A training goes on only with the settings that it began with and this checkpoint was made with others: "
            "use "
            "another --out, or start over with --force."
        )
