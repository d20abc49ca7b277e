"""An unpickler that runs nothing: known names become inert stand-ins, all others are refused."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt

# Whose objects a file of statistics may hold. None of them is imported or called for it.
_KNOWN = ("numpy", "gymnasium", "gym", "stable_baselines3", "sb3_contrib")
_NUMBERS = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"})


class Inert:
    """What stands in for an object: where it came from, what it was made of, and the state it was given."""

    origin = ("", "")

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        """Make one of anything."""
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Keep the arguments and do nothing with them."""
        self.args = args
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        """Keep the state and do nothing with it."""
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Entries of dictionaries of other kinds are not needed."""

    def extend(self, values: Any) -> None:
        """Entries of lists of other kinds are not needed."""

    def append(self, value: Any) -> None:
        """An entry of a list of another kind is not needed."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._made: dict[tuple[str, str], type[Any]] = {("collections", "OrderedDict"): OrderedDict}

    def find_class(self, module: str, name: str) -> Any:
        key = (module, name)
        if key not in self._made:
            if module.split(".")[0] not in _KNOWN:
                raise pickle.UnpicklingError(f"it holds {module}.{name}")
            self._made[key] = type("Inert", (Inert,), {"origin": key, "__init__": Inert.__init__})
        return self._made[key]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside")


def read_inert(data: bytes) -> Any:
    """Return a pickle as plain values and `Inert` objects; raises whatever a damaged or foreign one brings about."""
    return _Unpickler(data).load()


def state_of(value: Any) -> dict[str, Any]:
    """Return the attributes of a pickled object, empty where it had none."""
    found = value.state if isinstance(value, Inert) else None
    if isinstance(found, tuple) and len(found) == 2:  # with slots: (attributes, slots)
        found = {**(found[0] or {}), **(found[1] or {})}
    return found if isinstance(found, dict) else {}


def array_of(value: Any) -> npt.NDArray[np.float64]:
    """Return a pickled NumPy array or number as float64; raises `ValueError` where it is neither."""
    if isinstance(value, (int, float)):
        return np.array(float(value))
    name = value.origin[1] if isinstance(value, Inert) else ""
    if name == "_reconstruct" and isinstance(value.state, tuple) and len(value.state) == 5:
        _, shape, dtype, fortran, data = value.state
        return _array(data, dtype, shape, "F" if fortran else "C")
    if name == "_frombuffer" and len(value.args) == 4:
        data, dtype, shape, order = value.args
        return _array(data, dtype, shape, order)
    if name == "scalar" and len(value.args) == 2:
        dtype, data = value.args
        return _array(data, dtype, (), "C")
    raise ValueError(f"{value!r} is no array of numbers")


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> npt.NDArray[np.float64]:
    code = dtype.args[0] if isinstance(dtype, Inert) and dtype.args else None
    if code not in _NUMBERS or not isinstance(data, (bytes, bytearray)) or order not in ("C", "F"):
        raise ValueError(f"{code!r} is no kind of number")
    endian = dtype.state[1] if isinstance(dtype.state, tuple) and len(dtype.state) > 1 else "<"
    found = np.frombuffer(bytes(data), dtype=(">" if endian == ">" else "<") + code)
    return found.reshape(tuple(int(n) for n in shape), order=order).astype(np.float64)
