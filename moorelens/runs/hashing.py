"""One canonical SHA-256 for whatever decides a result: arrays, structs, mappings, text and bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
import numpy as np

from moorelens.errors import InvariantError


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


def digest_bytes(data: bytes) -> str:
    """SHA-256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest(obj: object) -> str:
    """SHA-256 of the canonical form of `obj`, as 64 hexadecimal digits.

    Equal values give equal digests whatever the order of a mapping's keys, the memory layout of an array or the
    byte order of the machine; lists and tuples are the same, `1`, `1.0`, `True` and `"1"` are not.

    Raises: InvariantError for a type that has no canonical form (sets, objects, arrays of objects).
    """
    sha = hashlib.sha256()
    _feed(sha, obj)
    return sha.hexdigest()


def _feed(sha: _Hash, obj: Any) -> None:
    match obj:
        case None | bool():
            _put(sha, "constant", repr(obj).encode())
        case int():
            _put(sha, "int", repr(int(obj)).encode())
        case float():
            _put(sha, "float", float(obj).hex().encode())
        case str():
            _put(sha, "str", obj.encode("utf-8", "surrogatepass"))
        case bytes() | bytearray() | memoryview():
            _put(sha, "bytes", bytes(obj))
        case np.ndarray():
            _feed_array(sha, obj)
        case np.generic():
            _feed(sha, obj.item())
        case msgspec.Struct():
            fields = {name: getattr(obj, name) for name in obj.__struct_fields__}
            _feed_items(sha, type(obj).__name__, fields)
        case Mapping():
            _feed_items(sha, "mapping", obj)
        case list() | tuple():
            _put(sha, "sequence", str(len(obj)).encode())
            for item in obj:
                _feed(sha, item)
        case _:
            raise InvariantError(
                "A digest needs arrays, structs, mappings, sequences, numbers, text or bytes, not "
                f"{type(obj).__name__}: "
                "convert the value first."
            )


def _feed_items(sha: _Hash, tag: str, items: Mapping[Any, Any]) -> None:
    _put(sha, tag, str(len(items)).encode())
    for key_digest, value in sorted(((digest(key), value) for key, value in items.items()), key=lambda pair: pair[0]):
        sha.update(key_digest.encode())
        _feed(sha, value)


def _feed_array(sha: _Hash, array: np.ndarray[Any, Any]) -> None:
    if array.dtype.hasobject:
        raise InvariantError("A digest needs arrays of numbers, not of Python objects: convert the array first.")
    little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    _put(sha, "array", f"{little.dtype.str}{array.shape}".encode())
    sha.update(little.tobytes())


def _put(sha: _Hash, tag: str, data: bytes) -> None:
    # The length stands before the data, so that no two sequences of values share their bytes.
    sha.update(f"{tag}:{len(data)}:".encode())
    sha.update(data)
