"""The quantised bottleneck network: an autoencoder whose narrow layer is rounded to digits (koul2019mmn)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import torch
from torch import Tensor, nn

from moorelens.errors import PolicyError
from moorelens.fsm.quantisers.unit import Levels, digits_of, quantise

OutputActivation = Literal["relu6", "tanh", "none"]


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

    def __init__(self, spec: QBNSpec, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.spec = spec
        widths = (spec.size, *spec.hidden, spec.digits)
        self.encoder = _layers(widths)
        self.decoder = _layers(widths[::-1])
        _draw(self, generator or torch.Generator().manual_seed(0))

    @property
    def levels(self) -> tuple[int, ...]:
        """The number of values of each of the K digits."""
        return (self.spec.levels,) * self.spec.digits

    def preactivation(self, x: Tensor) -> Tensor:
        """Return what the quantising unit reads (B, K), of `x (B, D)`."""
        return _apply(self.encoder, x)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes (B, K) int8 of `x (B, D)`, without gradient."""
        with torch.no_grad():
            return digits_of(self.preactivation(x), levels=self.spec.levels)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the vectors (B, D) that stand for `codes (B, K)`, digits or their straight-through version."""
        out = _apply(self.decoder, codes.to(torch.float32))
        if self.spec.output == "relu6":
            return torch.clamp(out, 0.0, 6.0)
        return torch.tanh(out) if self.spec.output == "tanh" else out

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


def _layers(widths: Sequence[int]) -> nn.ModuleList:
    # Built on the meta device and then filled, so that construction draws nothing from the global generator.
    layers = nn.ModuleList(nn.Linear(a, b, device="meta") for a, b in itertools.pairwise(widths))
    return layers.to_empty(device="cpu")


def _draw(module: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                bound = layer.in_features**-0.5
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)


def _apply(layers: nn.ModuleList, x: Tensor) -> Tensor:
    for position, layer in enumerate(layers):
        x = layer(torch.tanh(x) if position else x)
    return x
