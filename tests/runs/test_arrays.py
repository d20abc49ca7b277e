"""Arrays come back as they were, equal arrays give equal bytes, and nothing in them is ever unpickled."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from moorelens.errors import InvariantError, RunFolderError
from moorelens.runs.arrays import decode_arrays, encode_arrays

ARRAYS = npst.arrays(
    st.sampled_from(["uint8", "int8", "int32", "int64", "float32", "float64", "bool"]),
    npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@given(st.dictionaries(st.text("abcxyz_/", min_size=1, max_size=5), ARRAYS, max_size=4), st.booleans())
def test_what_is_written_is_read(arrays: dict[str, NDArray[Any]], compress: bool) -> None:
    read = decode_arrays(encode_arrays(arrays, compress=compress))
    assert list(read) == sorted(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        assert read[name].shape == array.shape
        np.testing.assert_array_equal(read[name], array)


def test_bytes_depend_on_the_values_only() -> None:
    x = np.arange(12.0).reshape(3, 4)
    plain = encode_arrays({"x": x, "y": x})
    assert plain == encode_arrays({"y": np.asfortranarray(x), "x": x.astype(">f8")})
    assert plain != encode_arrays({"x": x, "y": x + 1})


def test_numpy_reads_it() -> None:
    with np.load(io.BytesIO(encode_arrays({"x": np.arange(3)}))) as archive:
        assert archive["x"].tolist() == [0, 1, 2]


def test_objects_are_not_written() -> None:
    with pytest.raises(InvariantError, match="pickle"):
        encode_arrays({"x": np.array([{}])})


def _pickled() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([{}], dtype=object))
    return buffer.getvalue()


def _text_in_a_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", "text")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [b"", b"text", _pickled(), _text_in_a_zip(), encode_arrays({"x": np.arange(99)})[:-30], b"\x80\x04N."],
    ids=["empty", "text", "pickle in npz", "text in zip", "truncated", "pickle"],
)
def test_damaged_and_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(RunFolderError, match="run the command that wrote it again"):
        decode_arrays(data)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_changed_byte_never_crashes_the_reader(position: int, value: int) -> None:
    data = bytearray(encode_arrays({"x": np.arange(50)}))
    data[position % len(data)] = value
    try:
        decode_arrays(bytes(data))
    except RunFolderError as error:
        assert "npz" in str(error)
