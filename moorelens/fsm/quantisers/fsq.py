"""Finite scalar quantisation: a narrow layer, each entry of which is squashed and rounded (mentzer2024fsq).

The rounding is that of vector-quantize-pytorch (extra `fsq`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import torch
from torch import Tensor, nn

from moorelens.errors import MissingToolError, OptionError
from moorelens.fsm.pretrain import FitReport, fit_report, pretrain
from moorelens.fsm.quantisers.config import DEFAULTS, FitSettings
from moorelens.fsm.quantisers.layers import OutputActivation, apply_layers, draw_layers, make_layers, output_for, squash


class FSQSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of an FSQ quantiser: D inputs, hidden widths, the levels of K digits; the decoder mirrors the encoder.

    `output`: activation of the decoder, as of a QBN.
    """

    size: int
    hidden: tuple[int, ...]
    levels: tuple[int, ...]
    output: OutputActivation

    def __post_init__(self) -> None:
        """Refuse digits that the library cannot round; raises `OptionError`."""
        if not self.levels or not all(3 <= level <= 255 for level in self.levels):
            raise OptionError(f"FSQ digits have 3 to 255 levels, and {self.levels} do not: pass such as (5, 5, 5).")


class FSQQuantiser(nn.Module):
    """Encoder D -> hidden -> K with tanh between, rounding to the levels, decoder K -> hidden reversed -> D.

    `generator`: draws the initial weights, uniform in +-1/sqrt(fan in). Raises `MissingToolError` where the library is
    not installed.
    """

    kind: ClassVar[str] = "fsq"
    spec_type: ClassVar[type[FSQSpec]] = FSQSpec

    def __init__(self, spec: FSQSpec, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.spec = spec
        widths = (spec.size, *spec.hidden, len(spec.levels))
        self.encoder = make_layers(widths)
        self.decoder = make_layers(widths[::-1])
        # Without indices: the library would tabulate every code there is, 27.9 GB for twenty digits of three levels.
        self.rounding = _library().FSQ(levels=list(spec.levels), return_indices=False)
        half = torch.tensor([level // 2 for level in spec.levels], dtype=torch.float32)
        self.register_buffer("_half", half, persistent=False)
        self._half: Tensor
        draw_layers(self, generator or torch.Generator().manual_seed(0))

    @classmethod
    def shaped(
        cls, x: Tensor, *, digits: int, hidden: tuple[int, ...], levels: int, generator: torch.Generator | None
    ) -> FSQQuantiser:
        """Return one for vectors such as `x (N, D)` with `digits` digits of `levels` levels."""
        widths = tuple(factor * digits for factor in hidden)
        spec = FSQSpec(size=x.shape[1], hidden=widths, levels=(levels,) * digits, output=output_for(x))
        return cls(spec, generator=generator)

    @property
    def levels(self) -> tuple[int, ...]:
        """The number of values of each digit."""
        return self.spec.levels

    def fit(self, x: Tensor, *, held_out: Tensor | None = None, settings: FitSettings = DEFAULTS) -> FitReport:
        """Learn to reproduce the rows of `x (N, D)`, repeated rows counting once; be judged on `held_out (M, D)`."""
        pretrain(self, x, **msgspec.structs.asdict(settings))
        return fit_report(self, x if held_out is None else held_out)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes (B, K) int8 of `x (B, D)`, without gradient."""
        with torch.no_grad():
            return (self._rounded(x) * self._half).round().to(torch.int8)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the vectors (B, D) that stand for `codes (B, K)`."""
        return self._decoded(codes.to(torch.float32) / self._half)

    def relaxed(self, x: Tensor) -> Tensor:
        """Return `decode(encode(x))` with a straight-through gradient."""
        rounded = self._rounded(x)
        # The library's digits may differ from whole ones in the last bit, and its zeros in their sign.
        exact = (rounded.detach() * self._half).round() + 0.0
        return self._decoded(exact / self._half + (rounded - rounded.detach()))

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the weights by name."""
        return {name: tensor.detach() for name, tensor in self.state_dict().items()}

    def _rounded(self, x: Tensor) -> Tensor:
        """Return the digits divided by half their levels (B, K), as the library gives them."""
        rounded: Tensor = self.rounding(apply_layers(self.encoder, x)[None])[0][0]
        return rounded

    def _decoded(self, digits: Tensor) -> Tensor:
        return squash(apply_layers(self.decoder, digits), self.spec.output)


def _library() -> Any:
    try:
        import vector_quantize_pytorch
    except ImportError as error:
        raise MissingToolError(
            "Finite scalar quantisation needs vector-quantize-pytorch, which is not installed: "
            "pip install 'moorelens[fsq]'."
        ) from error
    return vector_quantize_pytorch
