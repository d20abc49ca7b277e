"""Networks of Stable-Baselines3 as policies: what they see, what they remember, how they choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from moorelens.policies.cells import StackedCells
from moorelens.policies.config import PolicySpec
from moorelens.policies.inputs import Inputs

# Logit of a memoryless policy's choice: a probability of 0.99 and more, yet soft enough to learn a quantiser from.
SHARPNESS = 6.0


class NatureCNN(nn.Module):
    """The convolutional net that SB3 builds for images (Mnih et al. 2015): F features of (B, C, H, W)."""

    def __init__(self, channels: int, flat: int, features: int) -> None:
        """Allocate the layers under the names that SB3 gives them."""
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(channels, 32, 8, stride=4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, stride=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.linear = nn.Sequential(nn.Linear(flat, features), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (B, F)."""
        return cast(Tensor, self.linear(self.cnn(images)))


class Choice(nn.Module):
    """The last layer: logits (B, A); of several choices at once, the sum of log-probabilities for each joint one."""

    def __init__(self, layer: nn.Module, sizes: Sequence[int]) -> None:
        """Wrap the layer that gives `sum(sizes)` logits."""
        super().__init__()
        self.layer, self.sizes = layer, tuple(sizes)

    def forward(self, latent: Tensor) -> Tensor:
        """Return the logits (B, A), joint actions counted through with the last choice fastest."""
        logits = cast(Tensor, self.layer(latent))
        if len(self.sizes) == 1:
            return logits
        parts = [part.log_softmax(dim=-1) for part in torch.split(logits, list(self.sizes), dim=-1)]
        joint = parts[0]
        for part in parts[1:]:
            joint = (joint[:, :, None] + part[:, None, :]).flatten(1)
        return joint


class _SB3Policy(nn.Module):
    """The parts that all policies of SB3 have."""

    plan: Tensor

    def __init__(
        self, spec: PolicySpec, *, inputs: Inputs, extractor: nn.Module, latent: nn.Module, choice: Choice
    ) -> None:
        super().__init__()
        self._spec = spec
        self.inputs, self.extractor, self.latent, self.choice = inputs, extractor, latent, choice
        # What is computed, as text among the tensors: equal weights with another activation are another policy.
        self.register_buffer("plan", torch.zeros(0, dtype=torch.uint8))

    def _seal(self) -> None:
        flags = (self.inputs.from_bytes, self.inputs.image, self.inputs.transpose, self.inputs.clip, self.choice.sizes)
        self.plan = torch.tensor(list(f"{flags} {nn.Module.__repr__(self)}".encode()), dtype=torch.uint8)
        self.requires_grad_(False).eval()

    @property
    def spec(self) -> PolicySpec:
        """The facts that do not depend on the weights."""
        return self._spec

    def tensors(self) -> Mapping[str, Tensor]:
        """Return every tensor that the outputs depend on, by name."""
        return dict(self.state_dict())

    def initial_state(self, batch: int) -> Tensor:
        """Return zeros (B, H)."""
        return torch.zeros(batch, self._spec.state_size)


class RecurrentSB3Policy(_SB3Policy):
    """RecurrentPPO's actor; its state (B, H) is that of the actor's layers: h of all layers, then c of all layers.

    The value is None unless actor and critic share their memory: else the state does not determine it.
    """

    def __init__(
        self,
        spec: PolicySpec,
        *,
        inputs: Inputs,
        extractor: nn.Module,
        memory: StackedCells,
        latent: nn.Module,
        choice: Choice,
        value: nn.Module | None,
    ) -> None:
        """Put the parts together; `value` maps what the memory shows to (B, 1)."""
        super().__init__(spec, inputs=inputs, extractor=extractor, latent=latent, choice=choice)
        self.memory, self.value = memory, value
        self._seal()

    def features(self, observations: Tensor) -> Tensor:
        """Return the features (B, F) of observations (B, *shape)."""
        return cast(Tensor, self.extractor(self.inputs(observations)))

    def core(self, features: Tensor, state: Tensor) -> Tensor:
        """Return the next state (B, H)."""
        return cast(Tensor, self.memory(features, state))

    def heads(self, state: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the logits (B, A) and the value (B,) or None."""
        shown = self.memory.output(state)
        value = None if self.value is None else self.value(shown).squeeze(-1)
        return self.choice(self.latent(shown)), value


class MemorylessPolicy(_SB3Policy):
    """PPO, A2C or DQN: its state (B, A) is the one-hot greedy action, and its features are its last hidden layer's.

    `logits_of(features)` is what the training sampled from; `explore` is the epsilon of a DQN, else None.
    """

    def __init__(
        self,
        spec: PolicySpec,
        *,
        inputs: Inputs,
        extractor: nn.Module,
        latent: nn.Module,
        choice: Choice,
        explore: float | None = None,
    ) -> None:
        """Put the parts together."""
        super().__init__(spec, inputs=inputs, extractor=extractor, latent=latent, choice=choice)
        self._explore = explore
        self._seal()

    def features(self, observations: Tensor) -> Tensor:
        """Return the features (B, F) of observations (B, *shape)."""
        return cast(Tensor, self.latent(self.extractor(self.inputs(observations))))

    def core(self, features: Tensor, state: Tensor) -> Tensor:
        """Return the one-hot greedy action (B, A); its gradient is that of the probabilities."""
        logits: Tensor = self.choice(features)
        soft = logits.softmax(dim=-1)
        greedy = nn.functional.one_hot(logits.argmax(dim=-1), logits.shape[-1]).to(soft.dtype)
        # Zero added, not one subtracted: the entries stay exactly 0 and 1.
        return greedy + (soft - soft.detach())

    def heads(self, state: Tensor) -> tuple[Tensor, None]:
        """Return logits (B, A) that are nearly certain of the action in the state; a value needs the observation."""
        return state * SHARPNESS, None

    def logits_of(self, features: Tensor) -> Tensor:
        """Return the logits (B, A) of the stochastic policy, which the state does not hold."""
        logits = cast(Tensor, self.choice(features))
        if self._explore is None:
            return logits
        greedy = nn.functional.one_hot(logits.argmax(dim=-1), logits.shape[-1]).to(logits.dtype)
        chances = (1.0 - self._explore) * greedy + self._explore / logits.shape[-1]
        return chances.clamp_min(1e-30).log()
