"""Methods of Captum behind the interface of our own explainers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from moorelens.errors import MissingToolError
from moorelens.saliency.attribution import Attribution, Kind
from moorelens.saliency.config import CaptumConfig
from moorelens.saliency.explainer import Work, WorkingExplainer, finish


class CaptumExplainer(WorkingExplainer[CaptumConfig]):
    """What Captum has correct and maintained and we do not write again (optional: `pip install moorelens[captum]`).

    `saliency` gives magnitudes and `input_x_gradient` signed maps. Neither reads the baseline, which serves for the
    gap alone. Not wrapped, because they cannot keep the rules of `Explainer`: DeepLift and guided backpropagation
    (wrong behind in-place activations, plain gradients inside recurrent cells), GradientShap and the noise tunnel
    (global random state, all samples of a row in one batch).
    """

    settings = CaptumConfig

    def explain(self, work: Work) -> Attribution:
        """Return the maps; raises `MissingToolError` where Captum is not installed."""
        methods = _captum()
        chunks = list(work.meter.chunks(len(work.x), device=work.x.device))
        if self.config.attribution == "saliency":
            kind: Kind = "nonneg"
            native = torch.cat([_run(methods.Saliency, work, rows, abs=True) for rows in chunks])
        else:
            kind = "signed"
            native = torch.cat([_run(methods.InputXGradient, work, rows) for rows in chunks])
        return finish(work, native, kind=kind, method="captum", config=self.config)


def _run(method: Any, work: Work, rows: Tensor, **options: Any) -> Tensor:
    def forward(points: Tensor, index: Tensor) -> Tensor:
        work.meter.n_backward += len(points)
        # A copy, because a network may begin with an in-place operation and a leaf allows none.
        return work.meter.forward(points.clone(), index)

    inputs = work.x.index_select(0, rows).requires_grad_()
    found: Tensor = method(forward).attribute(inputs, additional_forward_args=(rows,), **options)
    return found.detach()


def _captum() -> Any:
    try:
        import captum.attr
    except ImportError as error:
        raise MissingToolError(
            "This explainer is Captum's and Captum is not installed: run pip install 'moorelens[captum]'."
        ) from error
    return captum.attr
