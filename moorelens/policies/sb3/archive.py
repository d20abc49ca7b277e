"""The zip that Stable-Baselines3 writes: its plain JSON and its weights; the pickles in it are never opened."""

from __future__ import annotations

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from moorelens.errors import PolicyError
from moorelens.policies.native import check_finite

_LARGEST_DATA = 1 << 28  # bytes of JSON: a zip may claim any size, and a stock one needs some thousand
# Bytes of weights once unpacked: policies have a few million, and zeros pack a thousandfold.
_LARGEST_WEIGHTS = 1 << 31
PICKLED = ":serialized:"


@dataclass(frozen=True, kw_only=True)
class Archive:
    """What an SB3 file says in plain form: `data` by field, and the policy's weights by name.

    Fields that were pickled hold only the echo that SB3 writes beside the pickle: texts, numbers, lists.
    """

    path: Path
    data: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @property
    def where(self) -> str:
        """How the file is named in messages."""
        return f"sb3:{self.path}"


def read_archive(path: Path) -> Archive:
    """Read a zip; raises `PolicyError` where it is absent, damaged, not one of SB3's, or holds NaN weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("data").file_size > _LARGEST_DATA:
                raise ValueError("its data is larger than any policy's")
            data = json.loads(archive.read("data"))
            if archive.getinfo("policy.pth").file_size > _LARGEST_WEIGHTS:
                raise ValueError("its policy.pth unpacks to more than 2 GiB")
            tensors = _weights(archive.read("policy.pth"))
        if not isinstance(data, dict):
            raise ValueError("its data is no JSON object")
    except Exception as error:  # a damaged zip may stumble in zlib, in JSON or in torch
        reason = " ".join((str(error) or type(error).__name__).split())[:160]
        raise PolicyError(
            f"A Stable-Baselines3 policy is a zip with data and policy.pth, and {str(path)!r} cannot be read as one "
            f"({reason}): it is absent, cut off, or was written by another program."
        ) from error
    check_finite(tensors, str(path))
    return Archive(path=path, data={name: _plain(value) for name, value in data.items()}, tensors=tensors)


def _weights(data: bytes) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice to programmers about how the file was written
        try:
            loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:  # whose own words advise to read the file without this guard
            raise ValueError("its policy.pth is a pickle of more than tensors, which could run code") from error
    tensors = {str(name): tensor for name, tensor in loaded.items() if isinstance(tensor, Tensor)}
    if not tensors:
        raise ValueError("its policy.pth holds no tensors")
    return {name: tensor.detach().to(torch.float32) for name, tensor in tensors.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict) and PICKLED in value:
        return {name: entry for name, entry in value.items() if name != PICKLED}
    return value
