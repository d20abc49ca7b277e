"""Reconstruction: quantisers learn to reproduce features and states before they are inserted (spec-fsm 2.4)."""

from __future__ import annotations

import msgspec
import torch
from torch import Tensor
from torch.nn import functional

from moorelens.fsm.quantisers.base import Quantiser, TrainableQuantiser


class FitReport(msgspec.Struct, frozen=True, kw_only=True):
    """How well a quantiser reproduces what it never saw.

    `validation_error`: mean squared error over the variance, on held-out episodes. `codes`: distinct codes there.
    `dead_digits`: digits that never change. `entropy_bits`: mean entropy of a digit. The measures of digits and the
    error are None where a recording is too short to hold anything out.
    """

    validation_error: float | None
    codes: int
    dead_digits: int | None
    entropy_bits: float | None


def pretrain(qbn: TrainableQuantiser, x: Tensor, *, updates: int, batch: int, learning_rate: float, seed: int) -> None:
    """Train `qbn` to reproduce rows of `x (N, D)`; repeated rows count once, as games repeat frames.

    The error is divided by the variance of `x`, so that one learning rate serves features and states.
    """
    rows = torch.unique(x, dim=0)
    if not len(rows):
        return
    generator = torch.Generator().manual_seed(seed)
    scale = rows.var(unbiased=False).clamp_min(1e-8)
    optimiser = torch.optim.Adam(qbn.parameters(), lr=learning_rate)
    for _ in range(updates):
        chosen = rows[torch.randint(len(rows), (min(batch, len(rows)),), generator=generator)]
        loss = functional.mse_loss(qbn.relaxed(chosen), chosen) / scale
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def fit_report(qbn: Quantiser, x: Tensor) -> FitReport:
    """Judge `qbn` on held-out rows `x (N, D)`."""
    if not len(x):
        return FitReport(validation_error=None, codes=0, dead_digits=None, entropy_bits=None)
    with torch.no_grad():
        codes = qbn.encode(x)
        scale = x.var(unbiased=False).clamp_min(1e-8)
        error = functional.mse_loss(qbn.decode(codes), x) / scale
        values = sorted(set(codes.flatten().tolist()))
        shares = torch.stack([(codes == value).float().mean(0) for value in values])
    entropy = -(shares * shares.clamp_min(1e-12).log2()).sum(0)
    return FitReport(
        validation_error=float(error),
        codes=len(torch.unique(codes, dim=0)),
        dead_digits=int((shares.max(0).values == 1).sum()),
        entropy_bits=float(entropy.mean()),
    )
