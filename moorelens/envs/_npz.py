"""Deterministic `.npz` bytes, until the ground floor provides them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def encode_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return the arrays as `.npz` bytes with fixed dates and sorted names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            entry = io.BytesIO()
            np.lib.format.write_array(entry, np.ascontiguousarray(arrays[name]), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, entry.getvalue(), compresslevel=6)
    return buffer.getvalue()


def decode_arrays(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Read what `encode_arrays` wrote, refusing pickles."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
