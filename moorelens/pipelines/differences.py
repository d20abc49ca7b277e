"""Which numbers differ between two versions of a file: by dotted path in JSON, by array in NPZ, else by line."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from moorelens.runs.arrays import decode_arrays

_SHOWN = 12  # differences that are told of one file
_WRITTEN = 1e-5  # tables are written with six digits


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """One value that is not what it was: where it stands in `file`, what was `stored` and what was `recomputed`."""

    file: str
    path: str
    stored: Any
    recomputed: Any


def differences(name: str, stored: bytes, recomputed: bytes, *, tolerance: float) -> tuple[Moved, ...]:
    """Return what differs in the file `name`; numbers within the relative `tolerance` are equal, order is not looked at
    in objects. A file that cannot be read differs as a whole."""
    if stored == recomputed:
        return ()
    reader = _READERS.get(name.rpartition(".")[2], _lines)
    try:
        found = list(reader(stored, recomputed, tolerance))
    except Exception as error:
        found = [("", f"unreadable ({type(error).__name__})", "readable")]
    return tuple(Moved(file=name, path=path, stored=a, recomputed=b) for path, a, b in found[:_SHOWN])


Found = Iterator[tuple[str, Any, Any]]


def _json(stored: bytes, recomputed: bytes, tolerance: float) -> Found:
    yield from _walk("", msgspec.json.decode(stored), msgspec.json.decode(recomputed), tolerance)


def _walk(path: str, a: Any, b: Any, tolerance: float) -> Found:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            yield from _walk(f"{path}.{key}" if path else str(key), a.get(key), b.get(key), tolerance)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for place, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from _walk(f"{path}[{place}]", x, y, tolerance)
    elif not _equal(a, b, tolerance):
        yield path, _short(a), _short(b)


def _equal(a: Any, b: Any, tolerance: float) -> bool:
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (a, b))
    return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance) if numbers else bool(a == b)


def _short(value: Any) -> Any:
    """Return a value as it can be told: long lists by their length."""
    return f"{len(value)} entries" if isinstance(value, list | dict) and len(value) > 4 else value


def _arrays(stored: bytes, recomputed: bytes, tolerance: float) -> Found:
    a, b = decode_arrays(stored), decode_arrays(recomputed)
    for name in sorted({*a, *b}):
        if name not in a or name not in b:
            yield name, "missing" if name not in a else "there", "missing" if name not in b else "there"
        elif a[name].shape != b[name].shape:
            yield name, f"shape {a[name].shape}", f"shape {b[name].shape}"
        else:
            yield from _entries(name, a[name], b[name], tolerance)


def _entries(name: str, a: Any, b: Any, tolerance: float) -> Found:
    floats = a.dtype.kind == b.dtype.kind == "f"
    same = np.isclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True) if floats else a == b
    places = np.argwhere(~np.atleast_1d(same))
    if len(places):
        first = tuple(places[0].tolist())
        where = ", ".join(map(str, first))
        x, y = (np.atleast_1d(array)[first].item() for array in (a, b))
        more = f" and {len(places) - 1} more" if len(places) > 1 else ""
        yield f"{name}[{where}]{more}", x, y


def _lines(stored: bytes, recomputed: bytes, tolerance: float) -> Found:
    del tolerance
    a, b = (data.decode("utf-8", "replace").splitlines() for data in (stored, recomputed))
    for place in range(max(len(a), len(b))):
        x, y = (rows[place] if place < len(rows) else "no such line" for rows in (a, b))
        if x != y:
            yield f"line {place + 1}", x[:120], y[:120]
            return
    yield "bytes", f"{len(stored)} bytes", f"{len(recomputed)} bytes"


def _table(stored: bytes, recomputed: bytes, tolerance: float) -> Found:
    a, b = (list(csv.reader(data.decode().splitlines())) for data in (stored, recomputed))
    if [len(row) for row in a] != [len(row) for row in b]:
        yield from _lines(stored, recomputed, tolerance)
        return
    for row, (x, y) in enumerate(zip(a, b, strict=True)):
        for column, (one, other) in enumerate(zip(x, y, strict=True)):
            if one != other and not _equal(_number(one), _number(other), max(tolerance, _WRITTEN)):
                yield f"row {row + 1}, {a[0][column]}", one, other


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


_READERS = {"json": _json, "npz": _arrays, "csv": _table}
