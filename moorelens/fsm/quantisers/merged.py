"""Merged codes: another quantiser, some of whose codes stand for one and the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import torch
from torch import Tensor, nn

from moorelens.errors import OptionError
from moorelens.fsm.pretrain import FitReport, fit_report
from moorelens.fsm.quantisers.base import FittableQuantiser
from moorelens.fsm.quantisers.config import DEFAULTS, FitSettings
from moorelens.fsm.quantisers.registry import quantiser_class

_BLOCK = 512


class MergedSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The quantiser inside, by kind and spec, and how many of its codes were renamed."""

    kind: str
    spec: dict[str, Any]
    codes: int


class MergedQuantiser(nn.Module):
    """A quantiser that writes one code for several: row i of `names (M, K)` is written for row i of `codes (M, K)`.

    Codes that are not among `codes` stay as they are, so that what was never seen still is. `decode` is that of the
    quantiser inside; `relaxed` has its gradient.
    """

    kind: ClassVar[str] = "merged"
    spec_type: ClassVar[type[MergedSpec]] = MergedSpec

    def __init__(self, spec: MergedSpec) -> None:
        super().__init__()
        self.spec = spec
        found = quantiser_class(spec.kind)
        self.inner = found(msgspec.convert(spec.spec, found.spec_type))
        digits = len(self.inner.levels)
        self.register_buffer("codes", torch.zeros(spec.codes, digits, dtype=torch.int8))
        self.register_buffer("names", torch.zeros(spec.codes, digits, dtype=torch.int8))
        self.codes: Tensor
        self.names: Tensor

    @classmethod
    def shaped(
        cls, x: Tensor, *, digits: int, hidden: tuple[int, ...], levels: int, generator: torch.Generator | None
    ) -> MergedQuantiser:
        """Refuse: codes are merged after another quantiser was fitted (`moorelens.fsm.merging`)."""
        raise OptionError("Codes are merged after a quantiser was fitted: fit one of another kind, then merge_codes.")

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels of the quantiser inside."""
        found: tuple[int, ...] = self.inner.levels
        return found

    def fit(self, x: Tensor, *, held_out: Tensor | None = None, settings: FitSettings = DEFAULTS) -> FitReport:
        """Report on `held_out (M, D)`, or on `x (N, D)`; what is merged is fitted already."""
        return fit_report(self, x if held_out is None else held_out)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes (B, K) int8 of `x (B, D)`, renamed."""
        with torch.no_grad():
            codes: Tensor = self.inner.encode(x)
            blocks = [self._renamed(codes[first : first + _BLOCK]) for first in range(0, len(codes), _BLOCK)]
            return torch.cat(blocks) if blocks else codes

    def decode(self, codes: Tensor) -> Tensor:
        """Return the vectors (B, D) that stand for `codes (B, K)`."""
        decoded: Tensor = self.inner.decode(codes)
        return decoded

    def relaxed(self, x: Tensor) -> Tensor:
        """Return `decode(encode(x))` with the gradient of the quantiser inside."""
        smooth: Tensor = self.inner.relaxed(x)
        return self.decode(self.encode(x)) + (smooth - smooth.detach())

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the tensors of the quantiser inside, and the codes with their names."""
        return {name: tensor.detach() for name, tensor in self.state_dict().items()}

    def _renamed(self, codes: Tensor) -> Tensor:
        if not len(self.codes):
            return codes
        same = (codes[:, None] == self.codes).all(dim=-1)
        return torch.where(same.any(dim=1, keepdim=True), self.names[same.int().argmax(dim=1)], codes)


def merged(quantiser: FittableQuantiser, *, codes: Tensor, names: Tensor) -> MergedQuantiser:
    """Return `quantiser` with `codes (M, K)` written as `names (M, K)`."""
    found = MergedQuantiser(MergedSpec(kind=quantiser.kind, spec=msgspec.to_builtins(quantiser.spec), codes=len(codes)))
    found.inner.load_state_dict(quantiser.tensors())
    found.codes.copy_(codes)
    found.names.copy_(names)
    found.requires_grad_(False)
    return found
