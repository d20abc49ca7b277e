"""In which order a search tries the patches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.baselines import other
from moorelens.saliency.patches import PatchGrid
from moorelens.saliency.registry import make_explainer
from moorelens.saliency.sets.functions import SetFunction
from moorelens.saliency.sets.values import SetValue


def end_sets(v: SetFunction) -> list[int]:
    """Return the sets that `ends_guide` evaluates: each patch alone, and each patch alone missing."""
    alone = [1 << patch for patch in range(v.count)]
    return alone + [v.everything ^ bits for bits in alone]


def ends_guide(v: SetFunction) -> Tensor:
    """Rank patches (P,) by what each adds to nothing and takes from everything: the two ends of its marginal values.

    Deterministic, 2 P evaluations, of which a search makes P anyway; needs nothing of the model but its score.
    """
    values = v(end_sets(v))
    return (values[: v.count] - v.empty) + (v.full - values[v.count :])


def map_guide(heat: Tensor, grid: PatchGrid) -> Tensor:
    """Rank patches (P,) by the mean over each of a heat map (H, W) or (F,), or one row of these; larger is better."""
    heat = heat if heat.ndim > grid.labels.ndim else heat[None]
    if tuple(heat.shape) != (1, *grid.labels.shape):
        raise OptionError(
            f"A heat map covers one input of {tuple(grid.labels.shape)} and this one is {tuple(heat.shape)}: pass the "
            "saliency of that input."
        )
    return grid.means(heat)[0].to(torch.float64)


def explainer_guide(v: SetValue, method: str = "igos", *, max_batch: int = 256, **settings: Any) -> Tensor:
    """Rank patches (P,) by the map of an explainer of the registry for the same input, score and first baseline.

    `settings` as of `make_explainer`. The published search is led by I-GOS at 7 x 7 (shitole2021structured).
    """
    operator = v.operators[0]
    found = make_explainer(method, **settings).attribute(
        operator.x, v.score, other(operator.baseline), max_batch=max_batch
    )
    return map_guide(found.saliency(), v.grid)
