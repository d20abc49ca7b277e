"""The contract of a quantiser: vectors in, codes of K small digits out, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Quantiser(Protocol):
    """Turns vectors (B, D) into codes (B, K) int8 and codes into vectors; row-wise, deterministic, pure.

    `levels (K,)`: how many values each digit can take; an odd number centres the digits on 0, two are -1 and 1.
    """

    @property
    def levels(self) -> tuple[int, ...]:
        """The number of values of each digit."""
        ...

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes (B, K) int8 of `x (B, D)`."""
        ...

    def decode(self, codes: Tensor) -> Tensor:
        """Return the vectors (B, D) that stand for `codes (B, K)`."""
        ...

    def relaxed(self, x: Tensor) -> Tensor:
        """Return `decode(encode(x))` with a gradient to `x` and to the parameters (straight through the rounding)."""
        ...

    def tensors(self) -> Mapping[str, Tensor]:
        """Return every tensor that the codes depend on, by name."""
        ...
