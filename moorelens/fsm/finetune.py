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

    def learn(self, batches: Sequence[Sequences], *, round_number: int) -> float:
        """Learn from each batch of episodes, window by window; return the mean loss of the windows."""
        for group in self._optimiser.param_groups:
            group["lr"] = self._config.learning_rate * cosine(round_number, self._config.rounds)
        losses = [loss for batch in batches for loss in self._episodes(batch)]
        return float(np.mean(losses)) if losses else 0.0

    def _episodes(self, batch: Sequences) -> list[float]:
        losses = []
        state = self.network.initial_state(batch.features.shape[1])
        for start in range(0, len(batch.features), self._config.window):
            loss, state = self._window(batch, start, state)
            losses.append(float(loss.detach()))
            self._update(loss)
            state = state.detach()
        return losses

    def _window(self, batch: Sequences, start: int, state: Tensor) -> tuple[Tensor, Tensor]:
        stop = start + self._config.window
        features, mask = batch.features[start:stop], batch.mask[start:stop]
        read = self.network.decoded(features.flatten(0, 1)).reshape(features.shape)
        states, logits = [], []
        for row in read:
            state = self.network.core(row, state)
            states.append(state)
            logits.append(self.network.heads(state)[0])
        distance = (torch.stack(states) - batch.states[start:stop]).square().mean(dim=-1)
        decisions = decision_loss(
            torch.stack(logits), batch.logits[start:stop], mask=mask, objective=self._config.objective
        )
        return decisions + self._config.state_weight * masked_mean(distance, mask), state

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

    def state(self) -> bytes:
        """Return everything that further training depends on."""
        arrays: dict[str, npt.NDArray[np.float32]] = {}
        for i, (parameter, mean) in enumerate(zip(self._parameters, self._mean, strict=True)):
            arrays |= {f"{i}/weight": parameter.detach().numpy(), f"{i}/mean": mean.numpy()}
            for name, tensor in self._optimiser.state.get(parameter, {}).items():
                arrays[f"{i}/adam/{name}"] = tensor.detach().numpy()
        return encode_arrays(arrays, compress=False)

    def restore(self, data: bytes) -> None:
        """Go back to what `state` returned."""
        arrays = decode_arrays(data)
        self._optimiser.state.clear()
        with torch.no_grad():
            for i, (parameter, mean) in enumerate(zip(self._parameters, self._mean, strict=True)):
                parameter.copy_(torch.from_numpy(np.array(arrays[f"{i}/weight"])))
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
