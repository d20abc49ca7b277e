"""SmoothGrad: the gradient, averaged over noisy copies of the input."""

from __future__ import annotations

import torch
from torch import Tensor

from moorelens.saliency.attribution import Attribution, Kind
from moorelens.saliency.baselines import Baseline
from moorelens.saliency.config import SmoothGradConfig
from moorelens.saliency.explainer import begin, finish
from moorelens.saliency.meter import MAX_BATCH, take
from moorelens.saliency.paths import accumulate
from moorelens.saliency.scores import ScoreFn


class SmoothGrad:
    """SmoothGrad (smilkov2017smoothgrad).

    Our own because Captum's noise tunnel draws from global random state. The noise is shared by all rows.
    """

    def __init__(self, config: SmoothGradConfig = SmoothGradConfig()) -> None:  # noqa: B008
        """Take the settings."""
        self.config = config

    def attribute(
        self,
        x: Tensor,
        score: ScoreFn,
        baseline: Baseline,
        *,
        generator: torch.Generator | None = None,
        max_batch: int = MAX_BATCH,
    ) -> Attribution:
        """Return nonnegative maps, or signed ones with `times_input`; see `Explainer.attribute`."""
        config, work = self.config, begin(x, score, baseline, generator=generator, max_batch=max_batch)
        flat = work.x.flatten(1)
        spread = config.noise * (flat.amax(dim=1) - flat.amin(dim=1))

        def make(rows: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            leaf = take(work.x, rows).clone().requires_grad_()
            return leaf, leaf.clone()

        mean = accumulate(
            work.meter,
            make,
            work.x,
            steps=config.samples,
            rule="midpoint",
            noise_std=spread,
            generator=work.generator,
        ).gradient
        native = (work.x - work.baseline) * mean if config.times_input else mean.abs()
        kind: Kind = "signed" if config.times_input else "nonneg"
        return finish(work, native, kind=kind, method="smoothgrad", config=config)
