"""What a study keeps of each picture, and the Parquet files that hold it."""

from __future__ import annotations

import importlib
import io
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from moorelens.errors import MissingToolError
from moorelens.runs.manifest import installed_versions

PARQUET = "pyarrow"


class CountRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One picture under one model: its minimal sufficient sets of patches (MSEs), and what they lead to.

    `probability`, `blank`: of the label, with all patches shown and with none; `vacuous`: none already suffices;
    `mse_patches`, `mse_relative`: patches of each MSE, and its share of the probability; `sub_explanations` and their
    `histogram`, `disjoint`, `apart`, `union`, `drop`: see `Counts`; `search_cut`, `count_cut`: the budget ended the one
    or the other; `capped`: the search ended at its largest number of MSEs; `on_truth`: share of the MSEs' patches that
    show part of what decides the class; `meet_any`, `meet_all`: MSEs that show part of one of the causes, of each of
    them (None where the causes are not known).
    """

    image: str
    label: str
    model: str
    probability: float
    blank: float
    vacuous: bool
    mses: int
    mse_patches: tuple[tuple[int, ...], ...]
    mse_relative: tuple[float, ...]
    mean_size: float | None
    disjoint: int
    apart: int
    union: int
    sub_explanations: int
    histogram: tuple[int, ...]
    drop: float | None
    search_cut: bool
    count_cut: bool
    capped: bool
    n_evaluated: int
    on_truth: float | None
    meet_any: int | None
    meet_all: int | None


class CrossRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One picture, the map of one model (or of nobody), and what another model says of its regions.

    `scores`: the probability of the label with each of `shares` of the picture inserted into the baseline, or deleted
    from the picture; `area` under them; `explainable`: whether the map's own model loses by the baseline (None where
    the map is no model's).
    """

    image: str
    label: str
    map: str
    judge: str
    mode: str
    area: float
    shares: tuple[float, ...]
    scores: tuple[float, ...]
    explainable: bool | None


R = TypeVar("R", CountRecord, CrossRecord)


def require_parquet() -> dict[str, str]:
    """Return the version of what writes Parquet; raises `MissingToolError` where it is not installed."""
    _load("pyarrow")
    _load("pyarrow.parquet")
    return installed_versions((PARQUET,))


def to_parquet(records: Sequence[R], kind: type[R]) -> bytes:
    """Return records as a Parquet file, a column for each field; the same bytes for the same records."""
    arrow, parquet = _load("pyarrow"), _load("pyarrow.parquet")
    hints = typing.get_type_hints(kind)
    schema = arrow.schema([arrow.field(name, *_type(arrow, hints[name])) for name in kind.__struct_fields__])
    rows = [msgspec.to_builtins(record) for record in records]
    table = arrow.Table.from_pylist(rows, schema=schema)
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def from_parquet(data: bytes, kind: type[R]) -> list[R]:
    """Return the records in a Parquet file that `to_parquet` wrote."""
    table = _load("pyarrow.parquet").read_table(io.BytesIO(data))
    return msgspec.convert(table.to_pylist(), list[kind])  # type: ignore[valid-type]


def _type(arrow: Any, hint: Any) -> tuple[Any, bool]:
    """Return the Arrow type of a field, and whether it may be empty."""
    parts = typing.get_args(hint)
    if type(None) in parts:
        return _plain(arrow, next(part for part in parts if part is not type(None))), True
    return _plain(arrow, hint), False


def _plain(arrow: Any, hint: Any) -> Any:
    if typing.get_origin(hint) is tuple:
        return arrow.list_(_plain(arrow, typing.get_args(hint)[0]))
    return {str: arrow.string(), float: arrow.float64(), int: arrow.int32(), bool: arrow.bool_()}[hint]


def _load(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingToolError(
            "The records of a study are Parquet, which needs pyarrow, and it is not installed: run "
            "pip install 'moorelens[data]'."
        ) from error
