"""Occlusion: how much the score falls when a window of the input shows the baseline."""

from __future__ import annotations

import torch
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.attribution import Attribution
from moorelens.saliency.config import OcclusionConfig
from moorelens.saliency.explainer import Work, WorkingExplainer, finish
from moorelens.saliency.probes import probe_drops


class Occlusion(WorkingExplainer[OcclusionConfig]):
    """Occlusion (zeiler2014visualizing): the mean fall over the windows that cover a pixel.

    Our own because it is exact (a window that does not matter gives 0, not rounding; the last window ends at the edge
    instead of beyond it) and no slower than Captum's (benchmarks/saliency_core.py). `native` holds the fall of each
    window (B, rows, columns).
    """

    settings = OcclusionConfig

    def explain(self, work: Work) -> Attribution:
        """Return signed maps; see `Explainer.attribute`."""
        x = work.x
        windows = [
            _windows(side, min(x.shape[2:], default=1), self.config).to(x)
            for side in x.shape[1 if x.ndim == 2 else 2 :]
        ]
        if x.ndim == 2:
            native = probe_drops(work, lambda k: windows[0][k], len(windows[0]))
            values = native @ windows[0] / windows[0].sum(dim=0)
        else:
            down, across = windows
            columns = len(across)

            def hide(k: Tensor) -> Tensor:
                return (down[k // columns][:, :, None] * across[k % columns][:, None, :])[:, None]

            native = probe_drops(work, hide, len(down) * columns).reshape(len(x), len(down), columns)
            covered = down.sum(dim=0)[:, None] * across.sum(dim=0)[None, :]
            values = down.T @ native @ across / covered
        return finish(work, native, kind="signed", method="occlusion", config=self.config, values=values)


def _windows(side: int, shorter: int, config: OcclusionConfig) -> Tensor:
    """Return (n, side) with 1 where window n covers a pixel; the last one ends at the edge."""
    size = max(1, round(shorter / 7)) if config.size is None else config.size
    stride = max(1, size // 2) if config.stride is None else config.stride
    if size > side or stride > size:
        raise OptionError(
            f"Windows fit into the input and cover it without gaps, and windows of {size} pixels every {stride} on a "
            f"side of {side} do not: choose a smaller size, and a stride no larger than it."
        )
    starts = torch.tensor([*range(0, side - size, stride), side - size])
    pixels = torch.arange(side)
    return ((pixels >= starts[:, None]) & (pixels < starts[:, None] + size)).float()
