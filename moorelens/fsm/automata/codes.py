"""Codes: rows of small integers that name states and symbols; how they are identified, compared and written."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from moorelens.errors import RequestError
from moorelens.fsm.automata.machine import Codes, Counts, Ids

_INTEGER = re.compile("-?[0-9]{1,3}")


def as_codes(values: npt.ArrayLike, *, name: str = "codes") -> Codes:
    """Return `values` (N, K) as int8 codes; -0.0 becomes 0, so that equal codes have equal bytes (spec-fsm 0)."""
    array = np.asarray(values)
    if array.ndim != 2:
        raise RequestError(f"{name} must have shape (rows, digits), but its shape is {array.shape}.")
    if array.dtype == np.int8:
        return np.ascontiguousarray(array)
    with np.errstate(invalid="ignore"):
        codes = array.astype(np.int8)
    if not np.array_equal(codes, array):
        raise RequestError(f"{name} must hold whole numbers from -128 to 127; quantise before extracting a machine.")
    return np.ascontiguousarray(codes)


def code_keys(codes: Codes) -> list[bytes]:
    """Return the bytes of each row of `codes` (N, K): the identity of a code."""
    width = codes.shape[1]
    data = np.ascontiguousarray(codes).tobytes()
    return [data[i * width : (i + 1) * width] for i in range(len(codes))]


def number_by_first_visit(keys: Sequence[bytes], *, known: Sequence[bytes] = ()) -> tuple[Ids, Ids]:
    """Number equal keys alike in the order they first appear, after those already `known`.

    Returns `(ids, firsts)`: the id (N,) of every key, and for each *new* id the position of its first key.
    """
    table = {key: i for i, key in enumerate(known)}
    offset = len(table)
    ids = np.fromiter((table.setdefault(key, len(table)) for key in keys), dtype=np.int32, count=len(keys))
    values, firsts = np.unique(ids, return_index=True)
    return ids, firsts[values >= offset].astype(np.int32)


def nearest(codes: Codes, *, among: Codes, weights: Counts) -> Ids:
    """Return for each code (N, L) the position of the nearest row of `among` (M, L), M >= 1, by Hamming distance.

    Ties go to the larger weight (M,), then to the smaller position (design, "Who plays").
    """
    if not len(among):
        raise RequestError("There is no known code to be near to: the machine was extracted from no steps.")
    order = np.lexsort((np.arange(len(among)), -weights))
    ranked = among[order]
    result = np.empty(len(codes), dtype=np.int32)
    for i, code in enumerate(codes):
        result[i] = order[int(np.argmin(np.count_nonzero(ranked != code, axis=1)))]
    return result


def is_ternary(codes: Codes) -> bool:
    """Say whether all digits are -1, 0 or 1, so that a code can be written as a base-3 string."""
    return not codes.size or bool(codes.min() >= -1 and codes.max() <= 1)


def write_codes(codes: Codes, *, ternary: bool) -> list[str]:
    """Write each code as text: base-3 digits (value + 1) where `ternary`, else integers joined by commas."""
    if ternary:
        return [bytes(row).decode("ascii") for row in (codes + np.int8(ord("1"))).astype(np.uint8)]
    return [",".join(map(str, row)) for row in codes.tolist()]


def read_codes(texts: Sequence[str], *, width: int, ternary: bool) -> Codes:
    """Read what `write_codes` wrote; ValueError names the first text that is not a code of `width` digits."""
    rows = np.zeros((len(texts), width), dtype=np.int8)
    for i, text in enumerate(texts):
        digits = _digits(text, ternary=ternary)
        if digits is None or len(digits) != width:
            kind = "digits 0, 1 or 2" if ternary else "numbers from -128 to 127, joined by commas"
            raise ValueError(f"A code has {width} {kind}, but code {i} is {text[:40]!r}.")
        rows[i] = digits
    return rows


def _digits(text: str, *, ternary: bool) -> list[int] | None:
    if ternary:
        return [ord(c) - ord("1") for c in text] if set(text) <= set("012") else None
    parts = text.split(",") if text else []
    if not all(_INTEGER.fullmatch(part) for part in parts):
        return None
    digits = [int(part) for part in parts]
    return digits if all(-128 <= d <= 127 for d in digits) else None
