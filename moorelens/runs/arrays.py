"""Named arrays as the bytes of an `.npz` file: equal arrays give equal bytes, and nothing in it is a pickle."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moorelens.errors import InvariantError, RunFolderError

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip archive can hold


def encode_arrays(arrays: Mapping[str, NDArray[Any]], *, compress: bool = True) -> bytes:
    """Write `arrays` as `.npz` bytes that depend on names, shapes, types and values only.

    Raises: InvariantError for arrays of Python objects, which only a pickle could hold.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            entry.external_attr = 0o644 << 16
            entry.create_system = 3  # otherwise Windows would write another byte than the rest
            archive.writestr(entry, _encode(name, arrays[name]))
    return buffer.getvalue()


def decode_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """Read `.npz` bytes back into named arrays, in the order of their names.

    Raises: RunFolderError where the bytes are damaged, foreign or hold a pickle.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = sorted(archive.namelist())
            return {name.removesuffix(".npy"): _decode(archive.read(name)) for name in names}
    except Exception as error:  # foreign bytes fail in every way there is: zip, zlib, header, shape, memory
        raise RunFolderError(
            "Arrays are read from an .npz file without pickles, and these bytes are not one; the file is probably "
            "damaged or foreign: run the command that wrote it again."
        ) from error


def _encode(name: str, array: NDArray[Any]) -> bytes:
    array = np.asarray(array)
    if array.dtype.hasobject:
        raise InvariantError(
            f"Array {name!r} holds Python objects, which only a pickle could store: give it a number type."
        )
    plain = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False)).reshape(array.shape)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, plain, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _decode(data: bytes) -> NDArray[Any]:
    array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    return array
