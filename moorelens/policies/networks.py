"""Native recurrent networks: a feature net, a GRU or LSTM cell written out, an actor and a critic head."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from moorelens.errors import PolicyError
from moorelens.policies.config import Architecture, PolicySpec
from moorelens.policies.places import Places

_ACTIVATIONS: dict[str, type[nn.Module]] = {"elu": nn.ELU, "relu": nn.ReLU, "relu6": nn.ReLU6, "tanh": nn.Tanh}


class GRUCell(nn.Module):
    """The unit of torch.nn.GRUCell, written out so that autograd and torch.func see plain operations."""

    def __init__(self, inputs: int, units: int) -> None:
        """Allocate the weights; see `initialise`."""
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(3 * units, inputs))
        self.weight_hh = nn.Parameter(torch.empty(3 * units, units))
        self.bias_ih = nn.Parameter(torch.empty(3 * units))
        self.bias_hh = nn.Parameter(torch.empty(3 * units))

    def forward(self, features: Tensor, state: Tensor) -> Tensor:
        """Return the next state (B, H) from features (B, F) and state (B, H)."""
        reset_x, update_x, new_x = functional.linear(features, self.weight_ih, self.bias_ih).chunk(3, dim=-1)
        reset_h, update_h, new_h = functional.linear(state, self.weight_hh, self.bias_hh).chunk(3, dim=-1)
        update = torch.sigmoid(update_x + update_h)
        new = torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
        return new + update * (state - new)


class LSTMCell(nn.Module):
    """The long short-term memory of torch.nn.LSTMCell, written out; its state is h and c side by side."""

    def __init__(self, inputs: int, units: int) -> None:
        """Allocate the weights; see `initialise`."""
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(4 * units, inputs))
        self.weight_hh = nn.Parameter(torch.empty(4 * units, units))
        self.bias_ih = nn.Parameter(torch.empty(4 * units))
        self.bias_hh = nn.Parameter(torch.empty(4 * units))

    def forward(self, features: Tensor, state: Tensor) -> Tensor:
        """Return the next state (B, 2U) from features (B, F) and state (B, 2U)."""
        hidden, cell = state.chunk(2, dim=-1)
        gates = functional.linear(features, self.weight_ih, self.bias_ih)
        gates = gates + functional.linear(hidden, self.weight_hh, self.bias_hh)
        enter, forget, new, show = gates.chunk(4, dim=-1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
        return torch.cat([torch.sigmoid(show) * torch.tanh(cell), cell], dim=-1)


class _CellPolicy(nn.Module):
    """Feature net, cell and heads; the subclasses say which cell and what of the state the heads read."""

    def __init__(self, spec: PolicySpec, architecture: Architecture) -> None:
        """Allocate the network; its weights are undefined until loaded or `initialise`d."""
        super().__init__()
        self._spec, self.architecture = spec, architecture
        with torch.device("meta"):
            self.body = _body(spec.observation_shape, architecture)
            cell = GRUCell if architecture.cell == "gru" else LSTMCell
            self.cell = cell(spec.feature_size, architecture.units)
            self.actor = nn.Linear(architecture.units, len(spec.action_names))
            self.critic = nn.Linear(architecture.units, 1) if architecture.critic else None
        self.to_empty(device="cpu")

    @property
    def spec(self) -> PolicySpec:
        """The facts that do not depend on the weights."""
        return self._spec

    def initial_state(self, batch: int) -> Tensor:
        """Return zeros (B, H)."""
        return self.actor.weight.new_zeros(batch, self._spec.state_size)

    def features(self, observations: Tensor) -> Tensor:
        """Return the features (B, F) of observations (B, *shape)."""
        return cast(Tensor, self.body(observations))

    def core(self, features: Tensor, state: Tensor) -> Tensor:
        """Return the next state (B, H)."""
        return cast(Tensor, self.cell(features, state))

    def heads(self, state: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the logits (B, A) and the value (B,) or None."""
        shown = state[:, : self.architecture.units]
        value = None if self.critic is None else self.critic(shown).squeeze(-1)
        return self.actor(shown), value

    def tensors(self) -> Mapping[str, Tensor]:
        """Return every weight by name."""
        return dict(self.state_dict())


class GRUPolicy(_CellPolicy):
    """A policy whose memory is one GRU; its state (B, H) is the GRU's."""


class LSTMPolicy(_CellPolicy):
    """A policy whose memory is one LSTM; its state (B, H = 2 units) is h and c, of which the heads read h."""


def build_network(
    *,
    env_id: str,
    observation_shape: tuple[int, ...],
    observation_dtype: str,
    action_names: tuple[str, ...],
    architecture: Architecture,
) -> GRUPolicy | LSTMPolicy:
    """Return a native network for an environment; its weights are undefined until loaded or `initialise`d."""
    spec = PolicySpec(
        env_id=env_id,
        observation_shape=observation_shape,
        observation_dtype="uint8" if observation_dtype == "uint8" else "float32",
        action_names=action_names,
        feature_size=feature_size(observation_shape, architecture),
        state_size=architecture.units * (2 if architecture.cell == "lstm" else 1),
        cell=architecture.cell,
    )
    return network_of(spec, architecture)


def network_of(spec: PolicySpec, architecture: Architecture) -> GRUPolicy | LSTMPolicy:
    """Return the network of a spec and an architecture; raises `PolicyError` where the two contradict each other."""
    states = architecture.units * (2 if architecture.cell == "lstm" else 1)
    features = feature_size(spec.observation_shape, architecture)
    if (spec.feature_size, spec.state_size, spec.cell) != (features, states, architecture.cell):
        raise PolicyError(
            f"A policy's spec must agree with its architecture and this one says {spec.feature_size} features and "
            f"{spec.state_size} state entries where the network has {features} and {states}: the file is damaged."
        )
    return (GRUPolicy if architecture.cell == "gru" else LSTMPolicy)(spec, architecture)


def feature_size(observation_shape: tuple[int, ...], architecture: Architecture) -> int:
    """Return F; raises `PolicyError` where the body cannot read observations of this shape."""
    wanted = 1 if architecture.body == "mlp" else 3
    if len(observation_shape) != wanted:
        raise PolicyError(
            f"A {architecture.body} body reads observations with {wanted} axes and these have the shape "
            f"{observation_shape}: "
            f"choose the {'conv' if architecture.body == 'mlp' else 'mlp'} body."
        )
    if architecture.body == "mlp":
        return architecture.sizes[-1]
    if architecture.body == "places":
        return 3 * architecture.sizes[-1]
    _, height, width = observation_shape
    for _ in architecture.sizes:
        height, width = (height + 1) // 2, (width + 1) // 2
    return architecture.sizes[-1] * height * width


def _body(observation_shape: tuple[int, ...], architecture: Architecture) -> nn.Sequential:
    layers: list[nn.Module] = []
    previous = observation_shape[0]
    for i, size in enumerate(architecture.sizes):
        layers.append(_layer(architecture.body, i, previous, size))
        if i < len(architecture.sizes) - 1:
            layers.append(_ACTIVATIONS[architecture.hidden]())
        previous = size
    if architecture.body == "places":
        _, height, width = observation_shape
        return nn.Sequential(*layers, Places(previous, (height + 1) // 2, (width + 1) // 2))
    layers.append(_ACTIVATIONS[architecture.output]())
    if architecture.body == "conv":
        layers.append(nn.Flatten())
    return nn.Sequential(*layers)


def _layer(body: str, i: int, previous: int, size: int) -> nn.Module:
    if body == "mlp":
        return nn.Linear(previous, size)
    if body == "conv":
        return nn.Conv2d(previous, size, 3, stride=2, padding=1)
    return nn.Conv2d(previous, size, 5, stride=2, padding=2) if i == 0 else nn.Conv2d(previous, size, 3, padding=1)


def initialise(policy: GRUPolicy | LSTMPolicy, *, generator: torch.Generator, actor_gain: float = 0.01) -> None:
    """Draw the weights: orthogonal with gain sqrt 2 in the body, 1 in the cell and critic, `actor_gain` in the actor.

    Biases are 0; places look everywhere alike. The defaults are those that PPO implementations agree on (Huang et al.
    2022).
    """
    gains = {"actor": actor_gain, "critic": 1.0, "cell": 1.0, "body": math.sqrt(2)}
    places = {name for name, module in policy.named_modules() if isinstance(module, Places)}
    looking = {name for name, _ in policy.named_parameters() if name.rpartition(".")[0] in places}
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if name in looking:
                parameter.fill_(1.0 if name.endswith("sharpness") else 0.0)
            elif parameter.ndim == 1:
                parameter.zero_()
            else:
                # One block a gate: an orthogonal block keeps the scale of what passes through that gate.
                blocks = {"gru": 3, "lstm": 4}[policy.architecture.cell] if name.startswith("cell.") else 1
                for block in parameter.chunk(blocks, dim=0):
                    nn.init.orthogonal_(block, gain=gains[name.split(".")[0]], generator=generator)
