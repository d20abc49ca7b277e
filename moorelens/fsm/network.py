"""The Moore machine network: a policy whose features and memory pass through quantisers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import torch
from torch import Tensor

from moorelens.fsm.quantisers.base import Quantiser
from moorelens.policies.base import RecurrentPolicy
from moorelens.policies.config import PolicySpec


class MooreMachineNetwork:
    """A policy with quantisers inserted; itself a `RecurrentPolicy` (koul2019mmn).

    `features = decode(encode(policy.features))` where there is an observation quantiser, `core = decode(encode(
    policy.core))`, and both the heads and the next step read the decoded state. The start state is quantised too
    (`decode(encode(initial_state))`), so that the network is exactly a Moore machine: spec-fsm 4.1 leaves the choice,
    and a raw start would be a state that no code stands for.
    """

    def __init__(self, policy: RecurrentPolicy, *, observation: Quantiser | None, state: Quantiser) -> None:
        self.policy, self.observation, self.state = policy, observation, state

    @property
    def spec(self) -> PolicySpec:
        """The facts of the policy inside; what is decoded from a code, though, ends in no exact features."""
        return msgspec.structs.replace(self.policy.spec, heads_read_features=False)

    def initial_state(self, batch: int) -> Tensor:
        """Return the decoded start state (B, H)."""
        return self.state.relaxed(self.policy.initial_state(batch))

    def features(self, observations: Tensor) -> Tensor:
        """Return the decoded symbols (B, F)."""
        return self.decoded(self.policy.features(observations))

    def decoded(self, features: Tensor) -> Tensor:
        """Return `features (B, F)` as the core reads them."""
        return features if self.observation is None else self.observation.relaxed(features)

    def core(self, features: Tensor, state: Tensor) -> Tensor:
        """Return the next decoded state (B, H)."""
        return self.state.relaxed(self.policy.core(features, state))

    def heads(self, state: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return logits (B, A) and value (B,) of the decoded state."""
        return self.policy.heads(state)

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the tensors of the policy and of both quantisers."""
        found = {f"policy.{name}": tensor for name, tensor in self.policy.tensors().items()}
        for part, quantiser in (("observation", self.observation), ("state", self.state)):
            if quantiser is not None:
                found |= {f"{part}.{name}": tensor for name, tensor in quantiser.tensors().items()}
        return found

    def symbol_codes(self, features: Tensor) -> Tensor:
        """Return the symbol codes (B, L) int8 of `features (B, F)`; without an observation quantiser, their bytes.

        Raw float features as symbols (the published Tomita networks) are kept exactly: four digits a feature.
        """
        if self.observation is not None:
            return self.observation.encode(features)
        with torch.no_grad():
            return (features.detach().to(torch.float32) + 0.0).contiguous().view(torch.int8)

    def symbol_features(self, codes: Tensor) -> Tensor:
        """Return the features (B, F) that symbol `codes (B, L)` stand for."""
        if self.observation is not None:
            return self.observation.decode(codes)
        return codes.contiguous().view(torch.float32)


def unrounded(quantiser: Quantiser | None) -> Callable[[Tensor], Tensor] | None:
    """Return what a quantiser computes before it rounds, None where it does not say (see `ChunkedFunction`)."""
    return getattr(quantiser, "preactivation", None)


def chunk_sizes(network: MooreMachineNetwork) -> tuple[int, ...]:
    """Return the sizes of network calls besides 64 that are worth a trial: for long games, of which few run at once."""
    return (4, 8, 16) if len(network.spec.observation_shape) > 1 else ()
