"""Quantisers as one safetensors file: the weights of both, and how to build them in the metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import safetensors
import safetensors.torch
from torch import Tensor

from moorelens.errors import OptionError, RunFolderError
from moorelens.fsm.quantisers.base import FittableQuantiser
from moorelens.fsm.quantisers.registry import quantiser_class

FORMAT = "moorelens.quantiser/1"
_DAMAGE = (KeyError, TypeError, ValueError, RuntimeError, AttributeError)
DEFAULT_KIND = "qbn"  # what a file without `kinds` holds


def write_quantisers(quantisers: Mapping[str, FittableQuantiser]) -> bytes:
    """Return the bytes of `quantiser.safetensors`; names are `observation` and `state`."""
    tensors: dict[str, Tensor] = {}
    for name, qbn in sorted(quantisers.items()):
        tensors |= {f"{name}.{key}": tensor.contiguous().clone() for key, tensor in qbn.tensors().items()}
    facts: dict[str, Any] = {
        "format": FORMAT,
        "specs": {name: msgspec.to_builtins(one.spec) for name, one in sorted(quantisers.items())},
    }
    kinds = {name: one.kind for name, one in sorted(quantisers.items()) if one.kind != DEFAULT_KIND}
    # safetensors writes its metadata in no fixed order, so everything stands under one key.
    header = msgspec.json.encode(facts | ({"kinds": kinds} if kinds else {})).decode()
    return safetensors.torch.save(tensors, metadata={"moorelens": header})


def read_quantisers(data: bytes) -> dict[str, Any]:
    """Return the quantisers in `data` by name; raises `RunFolderError` where it holds none."""
    try:
        length = int.from_bytes(data[:8], "little")
        header = msgspec.json.decode(msgspec.json.decode(data[8 : 8 + length])["__metadata__"]["moorelens"])
        if header["format"] != FORMAT:
            raise ValueError(f"its format is {header['format']!r}")
        kinds, specs = header.get("kinds", {}), header["specs"]
        tensors = safetensors.torch.load(data)
        quantisers = {name: _built(kinds.get(name, DEFAULT_KIND), spec) for name, spec in specs.items()}
        for name, qbn in quantisers.items():
            prefix = f"{name}."
            qbn.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    except (*_DAMAGE, OptionError, msgspec.MsgspecError, safetensors.SafetensorError) as error:
        raise RunFolderError(
            f"A quantiser file follows {FORMAT} and this one does not ({' '.join(str(error).split())[:120]}): it was "
            "changed or cut off, so run the job again with --force."
        ) from error
    return quantisers


def _built(kind: str, spec: Mapping[str, Any]) -> FittableQuantiser:
    found = quantiser_class(kind)
    built: FittableQuantiser = found(msgspec.convert(spec, found.spec_type))
    return built
