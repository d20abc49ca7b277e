"""The sign threshold: each entry of a vector is above or below its mean, and that is all that is kept of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec
import torch
from torch import Tensor, nn

from moorelens.fsm.pretrain import FitReport, fit_report
from moorelens.fsm.quantisers.config import DEFAULTS, FitSettings


class SignSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of a sign threshold: D = `size` entries, and as many digits."""

    size: int


class SignQuantiser(nn.Module):
    """A threshold for each of D entries, and the two values that stand for its sides.

    Unfitted, the threshold is 0 and the values are -1 and 1. The threshold is the mean, not 0, because features are
    hardly ever negative. The gradient of `relaxed` goes straight to the vector, and to the value that stands for it.
    """

    kind: ClassVar[str] = "sign"
    spec_type: ClassVar[type[SignSpec]] = SignSpec

    def __init__(self, spec: SignSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("threshold", torch.zeros(spec.size))
        self.low = nn.Parameter(torch.full((spec.size,), -1.0))
        self.high = nn.Parameter(torch.ones(spec.size))
        self.threshold: Tensor

    @classmethod
    def shaped(
        cls, x: Tensor, *, digits: int, hidden: tuple[int, ...], levels: int, generator: torch.Generator | None
    ) -> SignQuantiser:
        """Return one for vectors such as `x (N, D)`; the other numbers have no meaning here."""
        return cls(SignSpec(size=x.shape[1]))

    @property
    def levels(self) -> tuple[int, ...]:
        """Two for each entry."""
        return (2,) * self.spec.size

    def fit(self, x: Tensor, *, held_out: Tensor | None = None, settings: FitSettings = DEFAULTS) -> FitReport:
        """Put the thresholds at the means of `x (N, D)`, and the values at the means of both sides of them."""
        rows = torch.unique(x.detach(), dim=0)
        if len(rows):
            with torch.no_grad():
                self.threshold.copy_(rows.mean(dim=0))
                above = rows >= self.threshold
                for value, side in ((self.low, ~above), (self.high, above)):
                    count = side.sum(dim=0)
                    mean = torch.where(side, rows, torch.zeros_like(rows)).sum(dim=0) / count.clamp_min(1)
                    value.copy_(torch.where(count > 0, mean, self.threshold))
        return fit_report(self, x if held_out is None else held_out)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes (B, D) int8 of `x (B, D)`: 1 from the threshold on, else -1."""
        with torch.no_grad():
            return torch.where(x >= self.threshold, 1, -1).to(torch.int8)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the vectors (B, D) that stand for `codes (B, D)`."""
        return torch.where(codes > 0, self.high, self.low)

    def relaxed(self, x: Tensor) -> Tensor:
        """Return `decode(encode(x))` with a straight-through gradient."""
        return self.decode(self.encode(x)) + (x - x.detach())

    def tensors(self) -> Mapping[str, Tensor]:
        """Return thresholds and values by name."""
        return {name: tensor.detach() for name, tensor in self.state_dict().items()}
