"""RISE: the score under random masks, averaged over the masks that show a pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist

import torch
from torch import Tensor

from moorelens.saliency.attribution import Attribution
from moorelens.saliency.config import RISEConfig
from moorelens.saliency.explainer import Work, WorkingExplainer, finish
from moorelens.saliency.meter import take


class RISE(WorkingExplainer[RISEConfig]):
    """RISE (petsiuk2018rise), for black boxes: no gradient is taken; own, since Captum has none.

    Unbiased at the borders and streamed: masks are kept as their cells and shifts, drawn once and shared by all rows,
    and enlarged by chunks. Vectors are masked entry by entry.

    Diagnostics: `half_width (B, H, W)` of the confidence interval of each pixel's value, over the draw of masks.
    """

    settings = RISEConfig

    def explain(self, work: Work) -> Attribution:
        """Return signed maps; see `Explainer.attribute`."""
        config, x = self.config, work.x
        masks = draw_masks(config, tuple(x.shape[1 if x.ndim == 2 else 2 :]), work.generator)
        sums = _run(work, masks, config.masks)
        quantile = NormalDist().inv_cdf((1 + config.confidence) / 2)
        native, deviation = sums.mean() if config.form == "mean" else sums.slope()
        if config.form == "mean":
            native = native + work.f_x.double()[:, None]
        shape = (len(x), *x.shape[1 if x.ndim == 2 else 2 :])
        native = native.to(x.dtype).reshape(shape)
        half_width = (quantile * deviation).to(x.dtype).reshape(shape)
        return finish(work, native, kind="signed", method="rise", config=config, diagnostics={"half_width": half_width})


@dataclass(frozen=True, kw_only=True)
class Masks:
    """N random keep masks in compact form: `cells (N, s, s)`, or (N, F) for vectors; `shifts (N, 2)`; `size`."""

    cells: Tensor
    shifts: Tensor
    size: tuple[int, ...]

    def build(self, index: Tensor) -> Tensor:
        """Return the masks (n, 1, H, W) or (n, F) in [0, 1] at `index (n,)`."""
        cells = self.cells.index_select(0, index)
        if len(self.size) == 1:
            return cells
        down, across = (
            _interpolation(cells.shape[1], side)[self.shifts[index, axis][:, None] + torch.arange(side)]
            for axis, side in enumerate(self.size)
        )
        return (down @ cells @ across.transpose(1, 2))[:, None]


def draw_masks(config: RISEConfig, size: tuple[int, ...], generator: torch.Generator) -> Masks:
    """Draw the masks: cells shown with probability p, enlarged to one cell more than the image, cropped at random."""
    if len(size) == 1:
        cells = torch.rand(config.masks, *size, generator=generator) < config.p
        return Masks(cells=cells.float(), shifts=torch.zeros(config.masks, 2, dtype=torch.int64), size=size)
    cells = torch.rand(config.masks, config.cells, config.cells, generator=generator) < config.p
    shifts = [torch.randint(math.ceil(side / config.cells), (config.masks,), generator=generator) for side in size]
    return Masks(cells=cells.float(), shifts=torch.stack(shifts, dim=1), size=size)


def _interpolation(cells: int, side: int) -> Tensor:
    """Return ((s + 1) c, s): the bilinear weights of s cells at pixels of cells + 1 cell widths c = ceil(side / s)."""
    pixels = (cells + 1) * math.ceil(side / cells)
    places = ((torch.arange(pixels) + 0.5) * cells / pixels - 0.5).clamp(0, cells - 1)
    return (1 - (places[:, None] - torch.arange(cells)).abs()).clamp(min=0)


@dataclass
class _Sums:
    """Running sums over masks, in double precision: of f, f^2 (B, 1), m, m^2 (P,), f m, f m^2, f^2 m^2 (B, P)."""

    count: int = 0
    parts: dict[str, Tensor] = field(default_factory=dict)

    def add(self, f: Tensor, m: Tensor) -> None:
        """Add scores `f (B, n)` under masks `m (n, P)`."""
        square = m.square()
        new = {
            "m": m.sum(dim=0),
            "mm": square.sum(dim=0),
            "f": f.sum(dim=1, keepdim=True),
            "ff": f.square().sum(dim=1, keepdim=True),
            "fm": f @ m,
            "fmm": f @ square,
            "ffmm": f.square() @ square,
        }
        self.count += m.shape[0]
        for name, value in new.items():
            self.parts[name] = value.double() + self.parts.get(name, 0)

    def mean(self) -> tuple[Tensor, Tensor]:
        """Return sum f m / sum m (B, P) and its standard error (that of a ratio)."""
        part = self.parts
        shown = part["m"].clamp(min=1e-12)
        mean = part["fm"] / shown
        spread = part["ffmm"] - 2 * mean * part["fmm"] + mean.square() * part["mm"]
        return mean, spread.clamp(min=0).sqrt() / shown

    def slope(self) -> tuple[Tensor, Tensor]:
        """Return cov(f, m) / var(m) (B, P) and its standard error (that of a regression slope)."""
        part, n = self.parts, self.count
        variance = (part["mm"] / n - (part["m"] / n).square()).clamp(min=1e-12)
        covariance = part["fm"] / n - part["f"] / n * part["m"] / n
        slope = covariance / variance
        rest = part["ff"] / n - (part["f"] / n).square() - slope * covariance
        return slope, (rest.clamp(min=0) / (variance * n)).sqrt()


def _run(work: Work, masks: Masks, count: int) -> _Sums:
    """Stream the masks; scores are shifted by f(x), which keeps the sums of squares small."""
    limit, batch, sums = work.meter.width(work.x), len(work.x), _Sums()
    width = min(batch, limit)
    depth = max(1, limit // width)
    with torch.no_grad():
        for start in range(0, count, depth):
            keep = masks.build(torch.arange(start, min(start + depth, count))).to(work.x)
            blocks = []
            for first in range(0, batch, width):
                rows = torch.arange(first, min(first + width, batch), device=work.x.device)
                blocks.append(_scores(work, keep, rows) - work.f_x[rows, None])
            sums.add(torch.cat(blocks), keep.flatten(1))
    return sums


def _scores(work: Work, keep: Tensor, block: Tensor) -> Tensor:
    """Return the scores (r, n) of r rows under n masks."""
    rows = block.repeat_interleave(len(keep))
    shown, hidden = take(work.x, rows), take(work.baseline, rows)
    masks = keep.repeat(len(block), *[1] * (keep.ndim - 1)).expand_as(shown)
    return work.meter.forward(torch.lerp(hidden, shown, masks), rows).reshape(len(block), len(keep))
