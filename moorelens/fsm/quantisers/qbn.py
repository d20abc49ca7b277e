"""The quantised bottleneck network: an autoencoder whose narrow layer is rounded to digits (koul2019mmn)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec
import torch
from torch import Tensor, nn

from moorelens.errors import OptionError, PolicyError
from moorelens.fsm.pretrain import FitReport, fit_report, pretrain
from moorelens.fsm.quantisers.config import DEFAULTS, FitSettings
from moorelens.fsm.quantisers.layers import OutputActivation as OutputActivation
from moorelens.fsm.quantisers.layers import apply_layers, draw_layers, make_layers, output_for, squash
from moorelens.fsm.quantisers.unit import Levels, digits_of, quantise


class QBNSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of a QBN: D inputs, hidden widths, K digits; the decoder mirrors the encoder.

    `output`: activation of the decoder, ReLU6 for features in [0, 6], tanh for a GRU's state in [-1, 1].
    """

    size: int
    hidden: tuple[int, ...]
    digits: int
    output: OutputActivation
    levels: Levels = 3


class TernaryQBN(nn.Module):
    """Encoder D -> hidden -> K with tanh between, the quantising unit, decoder K -> hidden reversed -> D.

    `generator`: draws the initial weights, uniform in +-1/sqrt(fan in) as the framework's default.
    """

    kind: ClassVar[str] = "qbn"
    spec_type: ClassVar[type[QBNSpec]] = QBNSpec

    def __init__(self, spec: QBNSpec, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.spec = spec
        widths = (spec.size, *spec.hidden, spec.digits)
        self.encoder = make_layers(widths)
        self.decoder = make_layers(widths[::-1])
        draw_layers(self, generator or torch.Generator().manual_seed(0))

    @classmethod
    def shaped(
        cls, x: Tensor, *, digits: int, hidden: tuple[int, ...], levels: int, generator: torch.Generator | None
    ) -> TernaryQBN:
        """Return one for vectors such as `x (N, D)` with `digits` digits; raises `OptionError` for other levels."""
        if levels not in (2, 3):
            raise OptionError(f"A digit of a QBN has 2 or 3 levels and {levels} were asked for: pass levels=3.")
        widths = tuple(factor * digits for factor in hidden)
        spec = QBNSpec(
            size=x.shape[1], hidden=widths, digits=digits, output=output_for(x), levels=2 if levels == 2 else 3
        )
        return cls(spec, generator=generator)

    @property
    def levels(self) -> tuple[int, ...]:
        """The number of values of each of the K digits."""
        return (self.spec.levels,) * self.spec.digits

    def fit(self, x: Tensor, *, held_out: Tensor | None = None, settings: FitSettings = DEFAULTS) -> FitReport:
        """Learn to reproduce the rows of `x (N, D)`, repeated rows counting once; be judged on `held_out (M, D)`."""
        pretrain(self, x, **msgspec.structs.asdict(settings))
        return fit_report(self, x if held_out is None else held_out)

    def preactivation(self, x: Tensor) -> Tensor:
        """Return what the quantising unit reads (B, K), of `x (B, D)`."""
        return apply_layers(self.encoder, x)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes (B, K) int8 of `x (B, D)`, without gradient."""
        with torch.no_grad():
            return digits_of(self.preactivation(x), levels=self.spec.levels)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the vectors (B, D) that stand for `codes (B, K)`, digits or their straight-through version."""
        out = apply_layers(self.decoder, codes.to(torch.float32))
        return squash(out, self.spec.output)

    def relaxed(self, x: Tensor) -> Tensor:
        """Return `decode(encode(x))` with a straight-through gradient."""
        return self.decode(quantise(self.preactivation(x), levels=self.spec.levels))

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the weights by name."""
        return {name: tensor.detach() for name, tensor in self.state_dict().items()}


def from_published(tensors: Mapping[str, Tensor], *, output: OutputActivation) -> TernaryQBN:
    """Return the QBN of a published checkpoint, sizes inferred from its tensors (`encoder.0.weight`, ...).

    Raises `PolicyError` where encoder and decoder are not mirror images of linear layers.
    """
    parts = {part: _published_layers(tensors, part) for part in ("encoder", "decoder")}
    widths = _widths(parts["encoder"])
    if not widths or _widths(parts["decoder"]) != widths[::-1]:
        shapes = {name: tuple(tensor.shape) for name, tensor in sorted(tensors.items())}
        raise PolicyError(
            f"A published quantiser is an encoder and a decoder of mirrored linear layers, and this one holds "
            f"{shapes}: the file is cut off or of another kind."
        )
    qbn = TernaryQBN(QBNSpec(size=widths[0], hidden=tuple(widths[1:-1]), digits=widths[-1], output=output))
    qbn.load_state_dict(
        {
            f"{part}.{i}.{kind}": tensor
            for part, layers in parts.items()
            for i, layer in enumerate(layers)
            for kind, tensor in zip(("weight", "bias"), layer, strict=True)
        }
    )
    return qbn


def _published_layers(tensors: Mapping[str, Tensor], part: str) -> list[tuple[Tensor, Tensor]]:
    """Return weight and bias of each layer in order, leaving out what is no layer; they are numbered 0, 2, 4, ..."""
    names = [f"{part}.{number}" for number in range(len(tensors))]
    return [
        (tensors[f"{name}.weight"], tensors[f"{name}.bias"])
        for name in names
        if f"{name}.weight" in tensors and f"{name}.bias" in tensors
    ]


def _widths(layers: Sequence[tuple[Tensor, Tensor]]) -> list[int]:
    """Return the widths from input to output, or nothing where the layers do not fit one behind the other."""
    if not layers or any(weight.ndim != 2 or bias.shape != weight.shape[:1] for weight, bias in layers):
        return []
    fit = all(after[0].shape[1] == before[0].shape[0] for before, after in itertools.pairwise(layers))
    return [layers[0][0].shape[1], *(weight.shape[0] for weight, _ in layers)] if fit else []
