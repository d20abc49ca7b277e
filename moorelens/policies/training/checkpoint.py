"""Training checkpoints: every tensor, counter and random state of a run in one safetensors file."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from moorelens.errors import RunFolderError

FORMAT = "moorelens.training/1"
_KEY = "moorelens"


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The numbers beside the tensors: settings, counters, the curve so far, and the state of numpy's generator."""

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


def encode(tensors: dict[str, torch.Tensor], facts: Facts) -> bytes:
    """Return the checkpoint file."""
    data = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(tensors.items())}
    return save(data, {_KEY: msgspec.json.encode(facts).decode()})


def decode(data: bytes) -> tuple[dict[str, torch.Tensor], Facts]:
    """Read a checkpoint file; raises `RunFolderError` where it is damaged."""
    try:
        tensors = load(data)
        length = int.from_bytes(data[:8], "little")
        metadata: dict[str, Any] = msgspec.json.decode(data[8 : 8 + length])["__metadata__"]
        facts = msgspec.json.decode(metadata[_KEY], type=Facts)
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
