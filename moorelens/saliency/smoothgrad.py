"""SmoothGrad: the gradient, averaged over noisy copies of the input."""

from __future__ import annotations

from torch import Tensor

from moorelens.saliency.attribution import Attribution, Kind
from moorelens.saliency.config import SmoothGradConfig
from moorelens.saliency.explainer import Work, WorkingExplainer, finish
from moorelens.saliency.meter import take
from moorelens.saliency.paths import accumulate


class SmoothGrad(WorkingExplainer[SmoothGradConfig]):
    """SmoothGrad (smilkov2017smoothgrad).

    Our own because Captum's noise tunnel draws from global random state. The noise is shared by all rows.
    """

    settings = SmoothGradConfig

    def explain(self, work: Work) -> Attribution:
        """Return nonnegative maps, or signed ones with `times_input`; see `Explainer.attribute`."""
        config = self.config
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
