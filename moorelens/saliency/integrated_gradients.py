"""Integrated gradients: the gradient averaged on the straight path from the baseline, times the way."""

from __future__ import annotations

import torch
from torch import Tensor

from moorelens.saliency.attribution import Attribution
from moorelens.saliency.config import IntegratedGradientsConfig
from moorelens.saliency.explainer import Work, WorkingExplainer, finish
from moorelens.saliency.paths import accumulate, column


class IntegratedGradients(WorkingExplainer[IntegratedGradientsConfig]):
    """Integrated gradients (sundararajan2017axiomatic).

    Our own beside Captum's, whose trapezoid weights sum to 1 - 1/n: even a linear model is then incomplete. Here they
    sum to 1 under every rule, memory does not grow with the steps, and the completeness gap is always reported.

    Diagnostics: `completeness (B,)` = sum of the map - (f_x - f_b); `incomplete (B,)` bool, see `max_gap`.
    """

    settings = IntegratedGradientsConfig

    def explain(self, work: Work) -> Attribution:
        """Return signed maps; see `Explainer.attribute`."""

        def make(rows: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            # The rows are a block of neighbours, once for each step: views of it, instead of a copy for each step.
            block = slice(int(rows[0]), int(rows[-1]) + 1)
            start, end = work.baseline[block], work.x[block]
            leaf = torch.lerp(start, end, column(t, end).reshape(-1, len(end), *[1] * (end.ndim - 1)))
            leaf = leaf.flatten(0, 1).requires_grad_()
            # A copy, because a network may begin with an in-place operation and a leaf allows none.
            return leaf, leaf.clone()

        mean = accumulate(work.meter, make, work.x, steps=self.config.steps, rule=self.config.rule).gradient
        native = (work.x - work.baseline) * mean
        gap = work.f_x - work.f_b
        completeness = native.flatten(1).double().sum(dim=1).to(gap) - gap
        diagnostics = {"completeness": completeness, "incomplete": completeness.abs() > self.config.max_gap * gap.abs()}
        return finish(
            work, native, kind="signed", method="integrated_gradients", config=self.config, diagnostics=diagnostics
        )
