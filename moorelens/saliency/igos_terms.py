"""The loss of I-GOS, iGOS+ and iGOS++: a list of terms, each the mean score on the way to a mask, and two penalties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from moorelens.saliency.igos_variants import Method, Plan
from moorelens.saliency.masks import MaskOperator
from moorelens.saliency.meter import Meter
from moorelens.saliency.paths import LeafFn, PathGradient, accumulate, column
from moorelens.saliency.smoothness import Edges, bilateral_variation, total_variation


@dataclass(frozen=True)
class Term:
    """`weight` times the mean over t of f at t times the product of the enlarged `masks` (their numbers).

    With `swap` input and baseline change places: the mask is then the part that is hidden.
    """

    weight: float
    masks: tuple[int, ...]
    swap: bool = False


TERMS: Mapping[Method, tuple[Term, ...]] = {
    "igos": (Term(1.0, (0,)),),
    "igos+": (Term(1.0, (0,)), Term(-1.0, (0,), swap=True)),
    "igos++": (
        Term(0.5, (0, 1)),
        Term(-0.5, (0, 1), swap=True),
        Term(0.5, (0,)),
        Term(-0.5, (1,), swap=True),
    ),
}


@dataclass(frozen=True)
class Penalties:
    """Of masks: how much they hide, mean |1 - m| (n,), their roughness (n,), and the gradient of the weighted sum."""

    l1: Tensor
    tv: Tensor
    gradient: Tensor


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The loss of masks (n, k, h, w) or (n, k, F): k is 2 for iGOS++, deletion and insertion, else 1.

    `scale (B,)`: of the scores of each row; `noise (B,)`: standard deviation on its path; `edges`: of the images, None
    for vectors and for I-GOS, whose total variation is the plain one.
    """

    method: Method
    plan: Plan
    operator: MaskOperator
    meter: Meter
    scale: Tensor
    noise: Tensor
    edges: Edges | None

    @property
    def count(self) -> int:
        """The number of masks k."""
        return 1 + max(index for term in TERMS[self.method] for index in term.masks)

    def score(
        self, masks: Tensor, rows: Tensor, *, seed: int, differentiate: bool = True, end: bool = False
    ) -> PathGradient:
        """Return the weighted scores (n,) of masks for explained `rows (n,)` and their gradient (n, k, ...).

        Noise is drawn from `seed`, the same for all terms and rows; with `end` only t = 1 is scored, without noise.
        """
        scale = self.scale.index_select(0, rows)
        noise = 0.0 if end else self.noise.index_select(0, rows)
        value, gradient = torch.zeros_like(scale), torch.zeros_like(masks)
        for term in TERMS[self.method]:
            found = accumulate(
                self.meter,
                _leaves(self.operator, term, masks, rows),
                masks,
                steps=1 if end else self.plan.steps,
                rule="right",
                noise_std=noise,
                generator=torch.Generator().manual_seed(seed),
                of=rows,
                differentiate=differentiate,
            )
            value += term.weight * found.mean_score
            gradient += term.weight * found.gradient
        return PathGradient(gradient * column(scale, gradient), value * scale)

    def penalties(self, masks: Tensor, rows: Tensor, *, l1: Tensor) -> Penalties:
        """Return both penalties of the product of the masks, and the gradient with weights `l1 (n,)` and `plan.l2`."""
        with torch.enable_grad():
            leaf = masks.detach().requires_grad_()
            product = leaf.prod(dim=1)
            hidden = (1 - product).abs().flatten(1).mean(dim=1)
            if self.edges is None:
                rough = total_variation(product)
            else:
                rough = bilateral_variation(product, self.edges.select(rows), self.operator.upsampler)
            (gradient,) = torch.autograd.grad((l1 * hidden + self.plan.l2 * rough).sum(), leaf)
        return Penalties(hidden.detach(), rough.detach(), gradient)


def enlarged(operator: MaskOperator, mask: Tensor) -> Tensor:
    """Return masks (n, h, w) at the size of the images, (n, 1, H, W); of vectors (n, F) as they are."""
    if mask.ndim == 2:
        return mask
    height, width = operator.x.shape[2:]
    return operator.upsampler(mask[:, None], (height, width))


def _leaves(operator: MaskOperator, term: Term, masks: Tensor, rows: Tensor) -> LeafFn:
    """Return what `accumulate` asks for: masks of a chunk, and the points that they lead to at t."""

    def make(index: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        leaf = masks.detach().index_select(0, index).requires_grad_()
        keep = enlarged(operator, leaf[:, term.masks[0]])
        for other in term.masks[1:]:
            keep = keep * enlarged(operator, leaf[:, other])
        return leaf, operator.apply(keep * column(t, keep), rows.index_select(0, index), swap=term.swap)

    return make
