"""Fine-tuning: the inserted quantisers learn the policy's decisions on the states they themselves bring about."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from moorelens.fsm.config import QuantiseConfig
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.quantisers.base import FittableQuantiser
from moorelens.fsm.segments import Practice, Segments, draw, side_by_side
from moorelens.fsm.sequences import Sequences
from moorelens.runs.arrays import decode_arrays, encode_arrays


def decision_loss(logits: Tensor, teacher: Tensor, *, mask: Tensor, objective: str) -> Tensor:
    """Return the mean over unmasked rows of the distance between action probabilities.

    `logits`, `teacher (..., A)`, `mask (...)`. `kl`: KL(teacher || student). `mse`: mean squared difference of the
    probabilities over actions (koul2019mmn). Masked rows change nothing, however many there are.
    """
    target = teacher.softmax(dim=-1)
    if objective == "kl":
        distance = (target * (target.clamp_min(1e-9).log() - logits.log_softmax(dim=-1))).sum(dim=-1)
    else:
        distance = (logits.softmax(dim=-1) - target).square().mean(dim=-1)
    return masked_mean(distance, mask)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of `values` where `mask`; 0 where nothing is."""
    return torch.where(mask, values, torch.zeros_like(values)).sum() / mask.sum().clamp_min(1)


class FineTuning:
    """The weights of both quantisers under training, with their optimiser and running mean; all of it can be saved.

    The policy is not changed. `averaged()` is what is judged and kept.
    """

    def __init__(
        self, network: MooreMachineNetwork, quantisers: Mapping[str, FittableQuantiser], config: QuantiseConfig
    ):
        self.network, self._config = network, config
        self._quantisers = dict(quantisers)
        self._parameters = [p for _, qbn in sorted(self._quantisers.items()) for p in qbn.parameters()]
        self._optimiser = torch.optim.Adam(self._parameters, lr=config.learning_rate)
        self._mean = [p.detach().clone() for p in self._parameters]

    def learn(
        self, sources: Sequence[tuple[Practice, float]], *, updates: int, rate: float, generator: torch.Generator
    ) -> float:
        """Make `updates` with the share `rate` of the learning rate, and return the mean loss.

        `sources`: episodes and which share of every batch is drawn from them; those without a step are left out.
        """
        drawn_from = [(practice, share) for practice, share in sources if share and practice.lengths.any()]
        if not drawn_from:
            return 0.0
        for group in self._optimiser.param_groups:
            group["lr"] = self._config.learning_rate * rate
        losses = []
        for _ in range(updates):
            loss = self.loss(self._batch(drawn_from, generator))
            losses.append(float(loss.detach()))
            self._update(loss)
        return float(np.mean(losses)) if losses else 0.0

    def loss(self, batch: Segments) -> Tensor:
        """Return the loss of a batch: of the decisions, and at `state_weight` that of the memory.

        The first `warm_up` steps of a segment bring the memory up to date and teach nothing: the digits before it
        were written by earlier weights. Episodes that begin are right from their first step.
        """
        states, logits = self._gone_through(batch)
        late = torch.arange(len(batch.mask))[:, None] >= self._config.warm_up
        mask = batch.mask & (late | batch.beginning)
        decisions = decision_loss(logits, batch.logits, mask=mask, objective=self._config.objective)
        distance = (states - batch.states).square().mean(dim=-1)
        return decisions + self._config.state_weight * masked_mean(distance, mask)

    def own(self, sequences: Sequences) -> Practice:
        """Return the policy's own episodes, with the digits that its states would have now."""
        return Practice(sequences=sequences, codes=self._encoded(sequences.states))

    def _encoded(self, states: Tensor) -> Tensor:
        codes = self._quantisers["state"].encode(states.flatten(0, 1))
        return codes.reshape(*states.shape[:2], codes.shape[-1])

    def _batch(self, sources: Sequence[tuple[Practice, float]], generator: torch.Generator) -> Segments:
        whole = sum(share for _, share in sources)
        counts = [max(1, round(self._config.batch * share / whole)) for _, share in sources]
        return side_by_side(
            [
                draw(practice, count=count, length=self._config.segment, generator=generator)
                for (practice, _), count in zip(sources, counts, strict=True)
            ]
        )

    def _gone_through(self, batch: Segments) -> tuple[Tensor, Tensor]:
        """Return the states (L, B, H) and logits (L, B, A) of the quantised network."""
        before = self._quantisers["state"].decode(batch.before).detach()
        state = torch.where(batch.beginning[:, None], self.network.initial_state(len(before)), before)
        read = self.network.decoded(batch.features.flatten(0, 1)).reshape(batch.features.shape)
        states, logits = [], []
        for row in read:
            state = self.network.core(row, state)
            states.append(state)
            logits.append(self.network.heads(state)[0])
        return torch.stack(states), torch.stack(logits)

    def _update(self, loss: Tensor) -> None:
        # Asked for these parameters alone: backward() would leave gradients on the policy's weights as well.
        for parameter, gradient in zip(self._parameters, torch.autograd.grad(loss, self._parameters), strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(self._parameters, self._config.clip)
        self._optimiser.step()
        with torch.no_grad():
            for mean, parameter in zip(self._mean, self._parameters, strict=True):
                mean.lerp_(parameter, 1.0 - self._config.averaging)

    def averaged(self) -> dict[str, FittableQuantiser]:
        """Return copies of the quantisers with the running mean of their weights."""
        copies = {name: copy.deepcopy(qbn) for name, qbn in self._quantisers.items()}
        targets = [p for _, qbn in sorted(copies.items()) for p in qbn.parameters()]
        with torch.no_grad():
            for target, mean in zip(targets, self._mean, strict=True):
                target.copy_(mean)
        for qbn in copies.values():
            qbn.requires_grad_(False)
        return copies

    def _tensors(self) -> dict[str, Tensor]:
        """Return every tensor of both quantisers: what is trained and what is not, such as the thresholds of `sign`."""
        return {
            f"{name}/{key}": tensor for name, qbn in self._quantisers.items() for key, tensor in qbn.tensors().items()
        }

    def state(self) -> bytes:
        """Return everything that further training depends on."""
        arrays: dict[str, npt.NDArray[np.float32]] = {}
        for i, (parameter, mean) in enumerate(zip(self._parameters, self._mean, strict=True)):
            arrays[f"{i}/mean"] = mean.numpy()
            for name, tensor in self._optimiser.state.get(parameter, {}).items():
                arrays[f"{i}/adam/{name}"] = tensor.detach().numpy()
        arrays |= {f"tensor/{name}": tensor.numpy() for name, tensor in self._tensors().items()}
        return encode_arrays(arrays, compress=False)

    def restore(self, data: bytes) -> None:
        """Go back to what `state` returned."""
        arrays = decode_arrays(data)
        self._optimiser.state.clear()
        with torch.no_grad():
            for name, tensor in self._tensors().items():
                tensor.copy_(torch.from_numpy(np.array(arrays[f"tensor/{name}"])))
            for i, (parameter, mean) in enumerate(zip(self._parameters, self._mean, strict=True)):
                mean.copy_(torch.from_numpy(np.array(arrays[f"{i}/mean"])))
                prefix = f"{i}/adam/"
                found = {name: array for name, array in arrays.items() if name.startswith(prefix)}
                if found:
                    self._optimiser.state[parameter] = {
                        name.removeprefix(prefix): torch.from_numpy(np.array(array)) for name, array in found.items()
                    }


def cosine(step: int, steps: int) -> float:
    """Return the factor of the learning rate: from 1 down to 0.05 along half a cosine."""
    return 0.05 + 0.95 * 0.5 * (1.0 + float(np.cos(np.pi * min(step, steps) / steps)))
