"""The contract of a quantiser: vectors in, codes of K small digits out, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from moorelens.fsm.quantisers.config import FitSettings

if TYPE_CHECKING:
    from moorelens.fsm.pretrain import FitReport


@runtime_checkable
class Quantiser(Protocol):
    """Turns vectors (B, D) into codes (B, K) int8 and codes into vectors; row-wise, deterministic, pure.

    `levels (K,)`: how many values each digit can take; an odd number centres the digits on 0, two are -1 and 1, another
    even number has one more value below 0 than above (`digits.digit_values`).
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


class TrainableQuantiser(Quantiser, Protocol):
    """A quantiser that learns by the gradient of `relaxed`: an `nn.Module`."""

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Return what is learned."""
        ...


@runtime_checkable
class FittableQuantiser(TrainableQuantiser, Protocol):
    """A quantiser of the registry: it is built from a `spec`, fitted to vectors, and saved and loaded by `files`."""

    kind: ClassVar[str]
    spec_type: ClassVar[type[Any]]
    spec: Any

    def fit(self, x: Tensor, *, held_out: Tensor | None = None, settings: FitSettings = ...) -> FitReport:
        """Fit to the rows of `x (N, D)` and report on `held_out (M, D)`, on `x` where there is none."""
        ...

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Say whether the parameters are learned further."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Take the tensors that `tensors` returned."""
        ...
