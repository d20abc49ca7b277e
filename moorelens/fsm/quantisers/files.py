"""Quantisers as one safetensors file: the weights of both, and how to build them in the metadata."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import safetensors
import safetensors.torch
from torch import Tensor

from moorelens.errors import RunFolderError
from moorelens.fsm.quantisers.qbn import QBNSpec, TernaryQBN

FORMAT = "moorelens.quantiser/1"


def write_quantisers(quantisers: Mapping[str, TernaryQBN]) -> bytes:
    """Return the bytes of `quantiser.safetensors`; names are `observation` and `state`."""
    tensors: dict[str, Tensor] = {}
    for name, qbn in sorted(quantisers.items()):
        tensors |= {f"{name}.{key}": tensor.contiguous() for key, tensor in qbn.tensors().items()}
    specs = msgspec.json.encode({name: qbn.spec for name, qbn in sorted(quantisers.items())}).decode()
    # safetensors writes its metadata in no fixed order, so everything stands under one key.
    header = msgspec.json.encode({"format": FORMAT, "specs": msgspec.json.decode(specs)}).decode()
    return safetensors.torch.save(tensors, metadata={"moorelens": header})


def read_quantisers(data: bytes) -> dict[str, TernaryQBN]:
    """Return the quantisers in `data` by name; raises `RunFolderError` where it holds none."""
    try:
        length = int.from_bytes(data[:8], "little")
        header = msgspec.json.decode(msgspec.json.decode(data[8 : 8 + length])["__metadata__"]["moorelens"])
        if header["format"] != FORMAT:
            raise ValueError(f"its format is {header['format']!r}")
        specs = msgspec.convert(header["specs"], dict[str, QBNSpec])
        tensors = safetensors.torch.load(data)
        quantisers = {name: TernaryQBN(spec) for name, spec in specs.items()}
        for name, qbn in quantisers.items():
            prefix = f"{name}."
            qbn.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    except (KeyError, TypeError, ValueError, RuntimeError, msgspec.MsgspecError, safetensors.SafetensorError) as error:
        raise RunFolderError(
            f"A quantiser file follows {FORMAT} and this one does not ({' '.join(str(error).split())[:120]}): it was "
            "changed or cut off, so run the job again with --force."
        ) from error
    return quantisers
