"""I-GOS, iGOS+ and iGOS++: the smallest mask that takes the score away, and with iGOS++ the one that keeps it."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.attribution import Attribution
from moorelens.saliency.config import IGOSConfig
from moorelens.saliency.explainer import Work, WorkingExplainer, finish
from moorelens.saliency.igos_run import optimised
from moorelens.saliency.igos_terms import Objective, enlarged
from moorelens.saliency.igos_variants import Method, Plan, mask_size, plan_of
from moorelens.saliency.masks import MaskOperator, Upsampler, cells
from moorelens.saliency.smoothness import edges_of


class IGOS(WorkingExplainer[IGOSConfig]):
    """I-GOS (qi2020igos): the mask of least area that lowers the score most, on the whole way to it.

    One optimiser for the three methods, over their list of terms (`igos_terms`). Rows are optimised apart, in one
    batch; a row leaves it once its masks stand still. Vectors have one entry of the mask a feature, and no roughness.

    Diagnostics: `masks (B, k, ...)` (for iGOS++ deletion and insertion), `iterations (B,)`, `weight (B,)`: the l1 that
    they ran under, which `ours` lowers where nothing would be hidden; of each iteration, NaN after the row's last,
    `loss`, `score`, `l1`, `tv`, `step` (B, iterations + 1); `path_forwards` and `search_forwards`: rows through the
    model for gradients and for the line search.
    """

    method: ClassVar[Method] = "igos"

    settings = IGOSConfig

    def explain(self, work: Work) -> Attribution:
        """Return keep masks; see `Explainer.attribute`."""
        config, x = self.config, work.x
        size = mask_size(config.size, tuple(x.shape[1 if x.ndim == 2 else 2 :]), self.method)
        objective = objective_of(work, config, plan_of(config, self.method, size), self.method)
        run = optimised(objective, first_masks(objective, config, size), config, generator=work.generator)
        large = torch.stack([enlarged(objective.operator, run.best[:, k]) for k in range(objective.count)])
        values = large.prod(dim=0)
        return finish(
            work,
            run.best.prod(dim=1),
            kind="keep_mask",
            method=self.method,
            config=config,
            values=values[:, 0] if x.ndim == 4 else values,
            diagnostics={
                "masks": run.best,
                "iterations": run.iterations,
                "weight": run.l1,
                **run.history,
                **run.forwards,
            },
        )


class IGOSPlus(IGOS):
    """iGOS+ (khorram2021igospp): one mask that takes the score away and alone brings it back."""

    method: ClassVar[Method] = "igos+"


class IGOSPlusPlus(IGOS):
    """iGOS++ (khorram2021igospp): a mask for deletion and one for insertion, whose product is the map."""

    method: ClassVar[Method] = "igos++"


def objective_of(work: Work, config: IGOSConfig, plan: Plan, method: Method) -> Objective:
    """Return the loss of a run."""
    image = work.x.ndim == 4
    scale, spread = torch.ones_like(work.f_x), torch.ones_like(work.f_x)
    if plan.relative:
        # What is too little to explain is not blown up: its rounding errors would be, too.
        gap = (work.f_x - work.f_b).abs().maximum(config.min_gap * work.f_x.abs())
        scale = 1 / torch.where(gap > 0, gap, 1.0)
        spread = work.x.flatten(1).std(dim=1, correction=0)
    edges = None
    if image and method != "igos":
        edges = edges_of(work.x / spread.clamp_min(1e-6)[:, None, None, None], sigma=config.sigma)
    return Objective(
        method=method,
        plan=plan,
        operator=MaskOperator(
            x=work.x, baseline=work.baseline, upsampler=Upsampler(mode="bilinear", align_corners=True)
        ),
        meter=work.meter,
        scale=scale,
        noise=plan.noise * spread,
        edges=edges,
    )


def first_masks(objective: Objective, config: IGOSConfig, size: tuple[int, ...]) -> Tensor:
    """Return masks (B, k, ...) that show everything, but for the cell that `config.start` hides."""
    x = objective.operator.x
    masks = x.new_ones(len(x), objective.count, *size)
    if config.start is None:
        return masks
    count, cell = config.start
    if len(size) == 1 or count > min(size):
        raise OptionError(
            f"start hides a cell of a grid that is no finer than the mask and the mask is {size}: leave it out for "
            "vectors, or pass a smaller K."
        )
    rows, columns = (cells(count, side, x.device) for side in size)
    chosen = (rows[:, None] == cell // count) & (columns[None, :] == cell % count)
    return torch.where(chosen, 1 - config.start_depth, masks)
