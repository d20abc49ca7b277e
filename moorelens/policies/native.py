"""Policies as `.safetensors` files: weights, and one JSON header in the metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from moorelens.envs.config import EnvironmentRequest
from moorelens.errors import PolicyError
from moorelens.policies.config import FORMAT, NativeHeader
from moorelens.policies.networks import GRUPolicy, LSTMPolicy, network_of

_KEY = "moorelens"


def write_native(
    policy: GRUPolicy | LSTMPolicy,
    request: EnvironmentRequest,
    *,
    card: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> bytes:
    """Return the file as bytes, equal for equal policies; `dtype` float16 halves it (read back as float32)."""
    header = NativeHeader(
        format=FORMAT, spec=policy.spec, architecture=policy.architecture, request=request, card=dict(card or {})
    )
    # One metadata key only: safetensors does not keep the order of several, and the bytes must not depend on it.
    metadata = {_KEY: msgspec.json.encode(header, order="sorted").decode()}
    tensors = {name: tensor.detach().cpu().to(dtype).contiguous() for name, tensor in sorted(policy.tensors().items())}
    return save(tensors, metadata)


def read_native(path: Path) -> tuple[GRUPolicy | LSTMPolicy, NativeHeader]:
    """Read a native policy file; raises `PolicyError` where it is absent, damaged, foreign, or holds NaN."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).to(torch.float32) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise PolicyError(
            f"A native policy is a .safetensors file and {str(path)!r} cannot be read as one ({error}): check the "
            f"path, or "
            "write the file again."
        ) from error
    header = _header(metadata, path)
    try:
        policy = network_of(header.spec, header.architecture)
    except (RuntimeError, TypeError, OverflowError) as error:
        raise PolicyError(
            f"A native policy's header describes a network that can be built, and that of {str(path)!r} does not "
            f"({str(error).splitlines()[0][:120]}): the file is damaged, so write it again."
        ) from error
    load_tensors(policy, tensors, str(path))
    return policy, header


def load_tensors(policy: GRUPolicy | LSTMPolicy, tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """Put weights into a network; raises `PolicyError` for missing, extra, misshapen or non-finite tensors."""
    wanted = policy.tensors()
    odd = sorted(set(wanted) ^ set(tensors))
    odd += [name for name in wanted if name in tensors and wanted[name].shape != tensors[name].shape]
    if odd:
        raise PolicyError(
            f"The tensors of a policy must be those of its network and in {where!r} these are missing, unknown or of "
            f"another "
            f"shape: {', '.join(odd[:5])}; the file is damaged or of another kind."
        )
    check_finite(tensors, where)
    policy.load_state_dict(dict(tensors))


def check_finite(tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """Raise `PolicyError` where a weight is NaN or infinite."""
    bad = [name for name, tensor in sorted(tensors.items()) if not torch.isfinite(tensor).all()]
    if bad:
        raise PolicyError(
            f"Weights must be finite and {bad[0]} in {where!r} holds NaN or infinity: the training diverged or the "
            f"file is "
            "damaged, so use an earlier checkpoint."
        )


def _header(metadata: Mapping[str, str], path: Path) -> NativeHeader:
    try:
        header = msgspec.json.decode(metadata[_KEY], type=NativeHeader)
    except (KeyError, msgspec.MsgspecError) as error:
        raise PolicyError(
            f"A native policy carries a MooreLens header and {str(path)!r} has none that can be read ({error}): it was "
            "written by another program."
        ) from error
    if header.format != FORMAT:
        raise PolicyError(
            f"This version reads {FORMAT} and {str(path)!r} is {header.format}: install the version of MooreLens "
            f"that wrote it."
        )
    return header
