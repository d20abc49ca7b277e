"""A policy class for sb3-contrib's RecurrentPPO whose networks are the native ones of this project."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from gymnasium import spaces
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from moorelens.policies.config import Architecture, PolicySpec
from moorelens.policies.networks import GRUPolicy, LSTMPolicy, initialise, network_of
from moorelens.policies.training.start import begin_with

States = tuple[Tensor, Tensor]


class SequenceCell(nn.Module):
    """A native cell with the call signature of torch.nn.LSTM: sequences (L, N, F) and a pair of states (1, N, U).

    Where a GRU has no second state, the second tensor passes through untouched. Whole sequences run through torch's
    fused kernel, tied to the same parameters, because a Python loop over the steps costs most of the training
    otherwise.
    """

    num_layers = 1

    def __init__(self, cell: nn.Module, kind: str, inputs: int, units: int) -> None:
        """Tie a fused kernel to the parameters of `cell`."""
        super().__init__()
        self.cell, self.kind = cell, kind
        self.input_size, self.hidden_size = inputs, units
        fused = (nn.GRU if kind == "gru" else nn.LSTM)(inputs, units)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            setattr(fused, f"{name}_l0", getattr(cell, name))
        self.fused = fused

    def forward(self, sequence: Tensor, states: States) -> tuple[Tensor, States]:
        """Return outputs (L, N, U) and the states after the last step."""
        hidden, cell = states
        if self.kind == "gru":
            output, hidden = self.fused(sequence, hidden)
            return output, (hidden, cell)
        output, states = self.fused(sequence, (hidden, cell))
        return output, states


class _Apart(torch.optim.Adam):
    """Adam whose groups have a `multiple` of the learning rate, which SB3 sets for all alike, and a `norm` each."""

    def step(self, closure: Any = None) -> Any:
        """Clip each group's gradient to its norm, and make one step."""
        for group in self.param_groups:
            if group.get("norm") is not None:
                nn.utils.clip_grad_norm_(group["params"], group["norm"])
        rates = [group["lr"] for group in self.param_groups]
        for group, rate in zip(self.param_groups, rates, strict=True):
            group["lr"] = rate * group.get("multiple", 1.0)
        try:
            return super().step(closure)
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"] = rate


class _Body(BaseFeaturesExtractor):  # type: ignore[misc]
    """The feature net of a native network, as SB3 wants it."""

    def __init__(self, observation_space: spaces.Space[Any], body: nn.Module, size: int) -> None:
        super().__init__(observation_space, size)
        self.body = body

    def forward(self, observations: Tensor) -> Tensor:
        result: Tensor = self.body(observations)
        return result


class NativeRecurrentPolicy(RecurrentActorCriticPolicy):  # type: ignore[misc]
    """Actor and critic are two native networks of equal shape; the actor becomes the policy file.

    A critic with a memory of its own keeps its large gradients out of the 32 units that the actor, and later the
    machine, has to live with; on CartPole a shared memory needs several times the steps.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Any,
        *,
        spec: PolicySpec,
        architecture: Architecture,
        seed: int,
        start: str | None = None,
        settled: bool = False,
        sharpness: float = 1.0,
        critic_rate: float = 1.0,
        norm: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Build both networks with weights drawn from `seed`, the actor's from the policy `start` where it is given.

        `settled`: observations are features already (`Seen`), and the feature net of `start` is kept as it is.
        `sharpness`, `critic_rate`: see `PPOSettings`. `norm`: largest gradient of actor and of critic.
        """
        generator = torch.Generator().manual_seed(seed)
        networks = []
        for _ in range(2):
            network = network_of(spec, architecture)
            initialise(network, generator=generator)
            networks.append(network)
        if start is not None:
            begin_with(networks[0], start)
        with torch.no_grad():
            networks[0].actor.weight.mul_(sharpness)
            networks[0].actor.bias.mul_(sharpness)
        bodies = [nn.Identity(), nn.Identity()] if settled else [network.body for network in networks]
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=[],
            ortho_init=False,
            share_features_extractor=False,
            features_extractor_class=_Body,
            features_extractor_kwargs={"body": bodies[0], "size": spec.feature_size},
            lstm_hidden_size=architecture.units,
            enable_critic_lstm=True,
            **kwargs,
        )
        actor, critic = networks
        self.spec, self.architecture = spec, architecture
        self.vf_features_extractor = _Body(observation_space, bodies[1], spec.feature_size)
        self.features_extractor = self.pi_features_extractor
        shape = (architecture.cell, spec.feature_size, architecture.units)
        self.lstm_actor = SequenceCell(actor.cell, *shape)
        self.lstm_critic = SequenceCell(critic.cell, *shape)
        self.action_net = actor.actor
        assert critic.critic is not None
        self.value_net = critic.critic
        valued: list[nn.Module] = [self.vf_features_extractor, self.lstm_critic, critic.critic]
        valuing = [parameter for module in valued for parameter in module.parameters()]
        ours = {id(parameter) for parameter in valuing}
        self._acting = [parameter for parameter in self.parameters() if id(parameter) not in ours]
        groups: list[dict[str, Any]] = [
            {"params": self._acting, "norm": norm},
            {"params": valuing, "norm": norm, "multiple": critic_rate},
        ]
        self.optimizer = _Apart(groups, lr=lr_schedule(1), **self.optimizer_kwargs)
        self.settled_body = actor.body.requires_grad_(False) if settled else None

    def teach_actor(self, wanted: bool) -> None:
        """Let the actor learn with the critic, or not."""
        for parameter in self._acting:
            parameter.requires_grad_(wanted)

    @staticmethod
    def _process_sequence(
        features: Tensor, lstm_states: States, episode_starts: Tensor, lstm: SequenceCell
    ) -> tuple[Tensor, States]:
        """Run (N * L, F) features as N sequences; the states of episodes that begin are zeroed.

        sb3-contrib cuts its minibatches so that an episode begins at the first step of a sequence or not at all. So one
        reset before the fused kernel does for all; its own loop over the steps is only for other cuts.
        """
        count = lstm_states[0].shape[1]
        sequence = features.reshape(count, -1, lstm.input_size).swapaxes(0, 1)
        starts = episode_starts.reshape(count, -1).swapaxes(0, 1)
        pieces = []
        cuts = [0, *(torch.nonzero(starts[1:].any(dim=1)).flatten() + 1).tolist(), len(starts)]
        for begin, end in pairwise(cuts):
            keep = (1.0 - starts[begin]).view(1, count, 1)
            output, lstm_states = lstm(sequence[begin:end], (keep * lstm_states[0], keep * lstm_states[1]))
            pieces.append(output)
        return torch.cat(pieces).transpose(0, 1).flatten(0, 1), lstm_states

    def native(self) -> GRUPolicy | LSTMPolicy:
        """Return a copy of the actor as a native policy, whose critic is all zero until it is fitted."""
        policy = network_of(self.spec, self.architecture)
        with torch.no_grad():
            for ours, theirs in (
                (policy.body, self.settled_body or self.pi_features_extractor.body),
                (policy.cell, self.lstm_actor.cell),
                (policy.actor, self.action_net),
            ):
                ours.load_state_dict({k: v.detach().cpu().clone() for k, v in theirs.state_dict().items()})
            if policy.critic is not None:
                policy.critic.weight.zero_()
                policy.critic.bias.zero_()
        return policy.eval()
