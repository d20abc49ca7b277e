"""Perturbation saliency: how much the score falls when a soft spot of the input is blurred."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from moorelens.saliency.attribution import Attribution
from moorelens.saliency.config import PerturbationConfig
from moorelens.saliency.explainer import Work, WorkingExplainer, finish
from moorelens.saliency.probes import probe_drops


class Perturbation(WorkingExplainer[PerturbationConfig]):
    """Perturbation saliency of policies (greydanus2018visualizing); own, since no library has it.

    With `distance_score(policy, x, kind="half_sq")` it is the paper's actor saliency, with `value_half_sq` its critic
    saliency, with `sarfa_score` SARFA (puri2020explain); the baseline of the paper is `gaussian_blur(3.0)`. The hidden
    state is held fixed. Spots lie evenly over the whole frame, at most `stride` pixels apart, so that every pixel is
    within half a stride of one on each axis.

    Diagnostics: `flat (B,)`: no spot matters at all; such a map is exactly 0 and is not stretched.
    """

    settings = PerturbationConfig

    def explain(self, work: Work) -> Attribution:
        """Return signed maps (of distances never negative); `native (B, rows, columns)` has one value a spot."""
        x = work.x
        if x.ndim == 2:
            entries = torch.eye(x.shape[1]).to(x)
            native = values = probe_drops(work, lambda k: entries[k], len(entries))
        else:
            down, across = (_spots(side, self.config).to(x) for side in x.shape[2:])
            columns = len(across)

            def hide(k: Tensor) -> Tensor:
                return (down[k // columns][:, :, None] * across[k % columns][:, None, :])[:, None]

            native = probe_drops(work, hide, len(down) * columns).reshape(len(x), len(down), columns)
            size = tuple(x.shape[2:])
            values = functional.interpolate(native[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
        flat = (native == 0).flatten(1).all(dim=1)
        return finish(
            work,
            native,
            kind="signed",
            method="perturbation",
            config=self.config,
            values=values,
            diagnostics={"flat": flat},
        )


def _spots(side: int, config: PerturbationConfig) -> Tensor:
    """Return (n, side): along one axis, how much of each pixel the spot around each centre replaces, peak 1."""
    count = math.ceil(side / config.stride)
    centres = (torch.arange(count) + 0.5) * side / count - 0.5
    weights = torch.exp(-(torch.arange(side) - centres[:, None]).square() / (2 * config.sigma**2))
    return weights / weights.amax(dim=1, keepdim=True)
