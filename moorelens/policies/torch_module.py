"""Wrapping any torch agent with a recurrent layer as a policy: hand over its encoder, its memory and its heads."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from moorelens.envs.config import EnvironmentRequest, EnvironmentSpec
from moorelens.envs.description import describe
from moorelens.errors import PolicyError
from moorelens.policies.cells import CellKind, StackedCells, layers_of
from moorelens.policies.config import PolicySpec
from moorelens.policies.inputs import Inputs

Memory = nn.RNNBase | nn.RNNCellBase | Sequence[nn.RNNCellBase]
_KINDS: dict[str, CellKind] = {
    "GRU": "gru", "GRUCell": "gru", "LSTM": "lstm", "LSTMCell": "lstm", "RNN": "rnn", "RNNCell": "rnn",
}  # fmt: skip


class TorchPolicy(nn.Module):
    """A user's modules behind the contract of a `RecurrentPolicy`; made by `from_torch`.

    Its state (B, H) is h of all layers, then c of all layers of an LSTM, then the features if the heads read them.
    """

    first: Tensor
    plan: Tensor

    def __init__(
        self,
        spec: PolicySpec,
        *,
        inputs: Inputs,
        encoder: nn.Module,
        memory: StackedCells,
        actor: nn.Module,
        critic: nn.Module | None,
        first: Tensor,
    ) -> None:
        """Put the parts together; `first (H,)` is the state before the first observation."""
        super().__init__()
        self._spec = spec
        self.inputs, self.encoder, self.memory, self.actor, self.critic = inputs, encoder, memory, actor, critic
        self.register_buffer("first", first)
        # As text among the tensors: equal weights in another arrangement are another policy.
        text = f"{inputs.from_bytes, inputs.transpose} {nn.Module.__repr__(self)}"
        self.register_buffer("plan", torch.tensor(list(text.encode()), dtype=torch.uint8))
        self.requires_grad_(False).eval()

    @property
    def spec(self) -> PolicySpec:
        """The facts that do not depend on the weights."""
        return self._spec

    def initial_state(self, batch: int) -> Tensor:
        """Return the state before the first observation, (B, H)."""
        return self.first.repeat(batch, 1)

    def features(self, observations: Tensor) -> Tensor:
        """Return the features (B, F) of observations (B, *shape)."""
        return cast(Tensor, self.encoder(self.inputs(observations)))

    def core(self, features: Tensor, state: Tensor) -> Tensor:
        """Return the next state (B, H)."""
        after = cast(Tensor, self.memory(features, state[:, : self.memory.state_size]))
        return torch.cat([after, features], dim=-1) if self._spec.heads_read_features else after

    def heads(self, state: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the logits (B, A) and the value (B,) or None."""
        shown = self.memory.output(state)
        if self._spec.heads_read_features:
            shown = torch.cat([shown, state[:, self.memory.state_size :]], dim=-1)
        value = None if self.critic is None else cast(Tensor, self.critic(shown)).reshape(len(shown))
        return cast(Tensor, self.actor(shown)), value

    def tensors(self) -> Mapping[str, Tensor]:
        """Return every tensor that the outputs depend on, by name."""
        return dict(self.state_dict())


def from_torch(
    env: EnvironmentRequest | str,
    *,
    encoder: nn.Module | None,
    memory: Memory,
    actor: nn.Module,
    critic: nn.Module | None = None,
    heads_read_features: bool = False,
    raw_bytes: bool = False,
    channels_last: bool = False,
    initial_state: Tensor | None = None,
) -> TorchPolicy:
    """Wrap copies of a trained agent's modules; they stay as they are and may be trained further.

    `encoder`: observations (B, *shape) -> features (B, F); None flattens. `memory`: nn.GRU, nn.LSTM or nn.RNN with any
    number of layers, a cell, or cells on top of each other. `actor`: what the last layer shows (B, U) -> logits (B, A);
    `critic`: the same -> (B, 1) or (B,). `heads_read_features`: both read (B, U + F), features last. Images of bytes
    arrive as fractions of 255, with `raw_bytes` as 0..255; `channels_last`: the environment shows (H, W, C) and the
    encoder wants (C, H, W). `initial_state (H,)` of the memory; default zeros.
    Raises `PolicyError` where the parts do not fit each other or the environment.
    """
    shown = describe(EnvironmentRequest(id=env) if isinstance(env, str) else env)
    cells = _cells(memory)
    first = torch.zeros(cells.state_size) if initial_state is None else initial_state.detach().flatten().float()
    if len(first) != cells.state_size:
        raise PolicyError(
            f"An initial state has as many numbers as the memory, and this one has {len(first)} where the memory has "
            f"{cells.state_size}: h of all layers, then c of all layers."
        )
    if heads_read_features:
        first = torch.cat([first, torch.zeros(cells.inputs)])
    bytes_ = shown.observation_dtype == "uint8"
    policy = TorchPolicy(
        _spec(shown, cells, len(first), heads_read_features=heads_read_features),
        inputs=Inputs(from_bytes=bytes_, image=bytes_ and not raw_bytes, transpose=channels_last),
        encoder=nn.Flatten() if encoder is None else copy.deepcopy(encoder),
        memory=cells,
        actor=copy.deepcopy(actor),
        critic=copy.deepcopy(critic),
        first=first,
    ).to("cpu")
    _try(policy)
    return policy


def _spec(env: EnvironmentSpec, cells: StackedCells, states: int, *, heads_read_features: bool) -> PolicySpec:
    return PolicySpec(
        env_id=env.id,
        observation_shape=env.observation_shape,
        observation_dtype=env.observation_dtype,
        action_names=env.action_names,
        feature_size=cells.inputs,
        state_size=states,
        cell=cells.kind,
        heads_read_features=heads_read_features,
    )


def _cells(memory: Memory) -> StackedCells:
    parts = list(memory) if isinstance(memory, (Sequence, nn.ModuleList)) else [memory]
    kinds = {_KINDS.get(type(part).__name__) for part in parts}
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind is None or (len(parts) > 1 and not all(isinstance(part, nn.RNNCellBase) for part in parts)):
        names = ", ".join(type(part).__name__ for part in parts)
        raise PolicyError(
            f"A memory is an nn.GRU, nn.LSTM or nn.RNN, a cell of these, or cells of one kind, and this is {names}: "
            "for another memory implement RecurrentPolicy yourself (moorelens.testing checks it)."
        )
    first = parts[0]
    relu = getattr(first, "nonlinearity", "tanh") == "relu"
    if isinstance(first, nn.RNNBase):
        return StackedCells(kind, layers_of(_tensors(first), where="the memory"), relu=relu)
    layers = [layer for part in parts for layer in layers_of(_layered(_tensors(part)), where="the memory")]
    return StackedCells(kind, layers, relu=relu)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", torch.float32) for name, tensor in module.state_dict().items()}


def _layered(cell: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{name}_l0": tensor for name, tensor in cell.items()}


def _try(policy: TorchPolicy) -> None:
    """Take one step; raises `PolicyError` that names the part which does not fit."""
    spec, part = policy.spec, "encoder"
    try:
        with torch.no_grad():
            features = policy.features(torch.zeros(2, *spec.observation_shape))
            part = "memory"
            state = policy.core(features, policy.initial_state(2))
            part = "actor or critic"
            logits, _ = policy.heads(state)
    except Exception as error:
        raise PolicyError(
            f"The parts of an agent must fit each other, and the {part} raised {type(error).__name__} on observations "
            f"of the shape {spec.observation_shape}: {' '.join(str(error).split())[:160]}; check what is handed over."
        ) from error
    if tuple(features.shape) != (2, spec.feature_size) or tuple(logits.shape) != (2, len(spec.action_names)):
        raise PolicyError(
            f"An agent fits its environment, and this one makes {tuple(features.shape[1:])} features where its memory "
            f"reads {spec.feature_size}, and {tuple(logits.shape[1:])} logits where {spec.env_id} has "
            f"{len(spec.action_names)} actions: check the parts, or pass the environment of its training."
        )
