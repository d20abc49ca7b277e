"""Stacked recurrent cells written out, with the weights of torch's own GRU, LSTM and RNN layers or cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from moorelens.errors import PolicyError
from moorelens.policies.networks import GRUCell, LSTMCell

CellKind = Literal["gru", "lstm", "rnn"]
_GATES: dict[CellKind, int] = {"gru": 3, "lstm": 4, "rnn": 1}
_LAYERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class RNNCell(nn.Module):
    """The plain recurrent unit of torch.nn.RNNCell, written out."""

    def __init__(self, inputs: int, units: int, *, relu: bool = False) -> None:
        """Allocate the weights; `relu` instead of tanh."""
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(units, inputs))
        self.weight_hh = nn.Parameter(torch.empty(units, units))
        self.bias_ih = nn.Parameter(torch.empty(units))
        self.bias_hh = nn.Parameter(torch.empty(units))
        self.activation = torch.relu if relu else torch.tanh

    def forward(self, features: Tensor, state: Tensor) -> Tensor:
        """Return the next state (B, H) from features (B, F) and state (B, H)."""
        seen = functional.linear(features, self.weight_ih, self.bias_ih)
        return self.activation(seen + functional.linear(state, self.weight_hh, self.bias_hh))


class StackedCells(nn.Module):
    """L layers of one kind of cell of U units as one memory.

    Its state (B, H) is h of all layers, first layer first, and then, of an LSTM, c of all layers: H = L U or 2 L U.
    """

    def __init__(self, kind: CellKind, layers: Sequence[Mapping[str, Tensor]], *, relu: bool = False) -> None:
        """Copy the weights of each layer: weight_ih (G U, F), weight_hh (G U, U), bias_ih and bias_hh (G U,)."""
        super().__init__()
        self.kind = kind
        self.cells = nn.ModuleList(_cell(kind, layer, relu=relu) for layer in layers)
        self.inputs = layers[0]["weight_ih"].shape[1]
        self.units = layers[0]["weight_hh"].shape[1]

    @property
    def state_size(self) -> int:
        """Numbers in one state, H."""
        return len(self.cells) * self.units * (2 if self.kind == "lstm" else 1)

    def forward(self, features: Tensor, state: Tensor) -> Tensor:
        """Return the next state (B, H) from features (B, F) and state (B, H)."""
        parts = torch.split(state, self.units, dim=-1)
        hidden, carried = parts[: len(self.cells)], parts[len(self.cells) :]
        shown, kept = [], []
        for place, cell in enumerate(self.cells):
            if self.kind == "lstm":
                features, carry = cell(features, torch.cat([hidden[place], carried[place]], dim=-1)).chunk(2, dim=-1)
                kept.append(carry)
            else:
                features = cell(features, hidden[place])
            shown.append(features)
        return torch.cat([*shown, *kept], dim=-1)

    def output(self, state: Tensor) -> Tensor:
        """Return what the memory shows of a state (B, H): h of its last layer, (B, U)."""
        return state[:, (len(self.cells) - 1) * self.units : len(self.cells) * self.units]


def _cell(kind: CellKind, layer: Mapping[str, Tensor], *, relu: bool) -> nn.Module:
    inputs, units = layer["weight_ih"].shape[1], layer["weight_hh"].shape[1]
    cell = RNNCell(inputs, units, relu=relu) if kind == "rnn" else _WRITTEN_OUT[kind](inputs, units)
    with torch.no_grad():
        for name in _LAYERS:
            getattr(cell, name).copy_(layer[name])
    return cell


_WRITTEN_OUT: dict[str, type[GRUCell | LSTMCell]] = {"gru": GRUCell, "lstm": LSTMCell}


def layers_of(tensors: Mapping[str, Tensor], *, where: str) -> list[dict[str, Tensor]]:
    """Return the weights of each layer, as torch names them in a multi-layer module (`weight_ih_l0`, ...).

    Layers without biases get zeros. Raises `PolicyError` for layers that run backwards or project their state.
    """
    odd = [name for name in tensors if name.endswith("_reverse") or name.startswith("weight_hr")]
    if odd:
        raise PolicyError(
            f"A memory goes forward in time and shows its own state, and {where} has {odd[0]}: bidirectional layers "
            "and proj_size cannot be turned into a machine, so train the policy without them."
        )
    layers: list[dict[str, Tensor]] = []
    while f"weight_ih_l{len(layers)}" in tensors:
        suffix = f"_l{len(layers)}"
        zeros = torch.zeros(tensors[f"weight_ih{suffix}"].shape[0])
        layers.append({name: tensors.get(f"{name}{suffix}", zeros) for name in _LAYERS})
    return layers


def kind_of(layer: Mapping[str, Tensor], *, where: str) -> CellKind:
    """Return the kind of cell that has these weights; raises `PolicyError` where none has."""
    rows, units = layer["weight_hh"].shape
    for kind, gates in _GATES.items():
        if rows == gates * units and layer["weight_ih"].shape[0] == rows:
            return kind
    raise PolicyError(
        f"A memory has 1, 3 or 4 gates a unit, and {where} has {rows} rows for {units} units: it is damaged."
    )
