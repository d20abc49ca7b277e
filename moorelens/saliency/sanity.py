"""Does a map depend on the model at all? Maps are compared with those of the same network with random weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from moorelens.errors import OptionError
from moorelens.saliency.localisation import average_ranks

MapFn = Callable[[nn.Module], Tensor]
LIMIT = 0.2
_TOP = 0.1


@dataclass(frozen=True, kw_only=True)
class SanityRow:
    """Means over rows and repeats, after randomisation of every layer from the last down to `layer`.

    `spearman` of the maps, `spearman_abs` of their magnitudes, `ssim` of the maps stretched to 0..1 (7 x 7 windows),
    `top_overlap` of their most salient tenths; maps without any difference between pixels resemble nothing: 0.
    """

    layer: str
    spearman: float
    spearman_abs: float
    ssim: float
    top_overlap: float


@dataclass(frozen=True, kw_only=True)
class SanityReport:
    """What is left of a map when the model's weights are random (adebayo2018sanity).

    `rows`: by layer, from the last to the first; the last row is the fully random model. `edges`, `input`: Spearman
    correlation of the map's magnitude with an edge detector's and with the image's contrast. `passed`: in the last
    row, |spearman| is at most `limit`.
    """

    rows: tuple[SanityRow, ...]
    edges: float
    input: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether nothing of the map is left once nothing of the model is."""
        return abs(self.rows[-1].spearman) <= self.limit

    def text(self) -> str:
        """Return the report as a table in plain text, with its verdict."""
        lines = [f"{'randomised down to':<28}{'spearman':>10}{'of |map|':>10}{'ssim':>8}{'top 10 %':>10}"]
        lines += [
            f"{row.layer[-27:]:<28}{row.spearman:>10.2f}{row.spearman_abs:>10.2f}{row.ssim:>8.2f}{row.top_overlap:>10.2f}"
            for row in self.rows
        ]
        lines.append(f"of |map| with edges {self.edges:.2f}, with the image's contrast {self.input:.2f}")
        left = self.rows[-1].spearman
        lines.append(
            f"passed: {left:.2f} is left of the map of a random model"
            if self.passed
            else f"FAILED: the map of a random model resembles this one by {left:.2f} (limit {self.limit:.2f}): it "
            "shows the image and not what the model does with it"
        )
        return "\n".join(lines)


def sanity_report(
    map_of: MapFn,
    model: nn.Module,
    x: Tensor,
    *,
    generator: torch.Generator,
    repeats: int = 3,
    independent: bool = False,
    limit: float = LIMIT,
) -> SanityReport:
    """Compare `map_of(model) -> (B, H, W)` with the maps of ever more random copies of `model`.

    `map_of` explains the same images `x (B, C, H, W)` and targets for every model it is given. `repeats`: random
    models drawn; `independent`: randomise one layer at a time instead of cascading (the last row is then the first
    layer alone, and says less).
    """
    own = map_of(model)
    if own.shape != (len(x), *x.shape[2:]):
        raise OptionError(
            f"A sanity check compares maps (B, H, W) of the images {tuple(x.shape)} and got {tuple(own.shape)}: return "
            "attribution.saliency()."
        )
    found: dict[str, list[Tensor]] = {}
    for _ in range(repeats):
        for layer, changed in randomised(model, generator=generator, independent=independent):
            found.setdefault(layer, []).append(_similarities(own, map_of(changed)))
    rows = tuple(_row(layer, torch.stack(parts).mean(dim=0)) for layer, parts in found.items())
    contrast = (x - x.mean(dim=(2, 3), keepdim=True)).abs().sum(dim=1)
    return SanityReport(
        rows=rows,
        edges=float(spearman(own.abs(), edges(x)).mean()),
        input=float(spearman(own.abs(), contrast).mean()),
        limit=limit,
    )


def randomised(
    model: nn.Module, *, generator: torch.Generator, independent: bool = False
) -> Iterator[tuple[str, nn.Module]]:
    """Yield (layer, copy of `model`) with random weights from the last layer down to `layer`, in module order.

    The model itself is not touched. Layers are those with parameters of their own; normalisations lose their running
    statistics too. `independent`: only `layer` is random. Raises `OptionError` for a model without parameters.
    """
    names = [name for name, part in model.named_modules() if next(part.parameters(recurse=False), None) is not None]
    if not names:
        raise OptionError("A sanity check randomises a model's weights and this one has none: pass the network itself.")
    changed = copy.deepcopy(model)
    for name in reversed(names):
        if independent:
            changed = copy.deepcopy(model)
        randomise_layer(changed.get_submodule(name), generator=generator)
        yield name or "model", copy.deepcopy(changed)


def randomise_layer(layer: nn.Module, *, generator: torch.Generator) -> None:
    """Give one layer new weights in place: uniform within 1 / sqrt(fan-in), which is how torch begins.

    Normalisations start afresh: scale 1, shift 0, mean 0, variance 1.
    """
    weight = getattr(layer, "weight", None)
    with torch.no_grad():
        if isinstance(layer, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm):
            for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
                tensor = getattr(layer, name, None)
                if tensor is not None:
                    tensor.fill_(value)
            return
        fan = weight[0].numel() if isinstance(weight, Tensor) and weight.ndim > 1 else None
        for parameter in layer.parameters(recurse=False):
            inputs = fan or (parameter[0].numel() if parameter.ndim > 1 else parameter.numel())
            drawn = torch.rand(parameter.shape, generator=generator) * 2 - 1
            parameter.copy_(drawn / math.sqrt(inputs))


def spearman(one: Tensor, other: Tensor) -> Tensor:
    """Return the rank correlation (B,) of maps (B, ...), double; 0 where one of them is constant."""
    ranks = [average_ranks(part.flatten(1).detach().cpu()) for part in (one, other)]
    centred = [part - part.mean(dim=1, keepdim=True) for part in ranks]
    norms = centred[0].norm(dim=1) * centred[1].norm(dim=1)
    product = (centred[0] * centred[1]).sum(dim=1)
    return torch.where(norms > 0, product / norms.clamp(min=1e-300), 0.0)


def edges(x: Tensor) -> Tensor:
    """Return the edge strength (B, H, W) of images (B, C, H, W): Sobel gradients, added up over channels."""
    kernel = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]], dtype=x.dtype, device=x.device)
    flat = functional.pad(x.reshape(-1, 1, *x.shape[2:]), (1, 1, 1, 1), mode="replicate")
    across, down = (functional.conv2d(flat, part.reshape(1, 1, 3, 3)) for part in (kernel, kernel.T))
    return (across.square() + down.square()).sqrt().reshape(x.shape).sum(dim=1)


def ssim(one: Tensor, other: Tensor, *, window: int = 7) -> Tensor:
    """Return the structural similarity (B,) of maps (B, H, W), each stretched to 0..1; 0 where one is constant."""
    a, b = (_stretched(part.double())[:, None] for part in (one, other))
    side = min(window, *one.shape[1:])

    def mean(part: Tensor) -> Tensor:
        return functional.avg_pool2d(part, side, stride=1)

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a.square(), mean(b * b) - mean_b.square()
    cov = mean(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    found = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    found = found / ((mean_a.square() + mean_b.square() + c1) * (var_a + var_b + c2))
    varied = (_range(one) > 0) & (_range(other) > 0)
    return torch.where(varied, found.flatten(1).mean(dim=1), 0.0)


def _similarities(own: Tensor, other: Tensor) -> Tensor:
    parts = (
        spearman(own, other),
        spearman(own.abs(), other.abs()),
        ssim(own, other).cpu(),
        _top_overlap(own, other).cpu(),
    )
    return torch.stack([part.double().mean() for part in parts])


def _row(layer: str, means: Tensor) -> SanityRow:
    names = ("spearman", "spearman_abs", "ssim", "top_overlap")
    return SanityRow(layer=layer, **dict(zip(names, means.tolist(), strict=True)))


def _top_overlap(one: Tensor, other: Tensor) -> Tensor:
    count = max(1, round(_TOP * one[0].numel()))
    tops = []
    for part in (one, other):
        top = torch.zeros_like(part.flatten(1), dtype=torch.bool)
        tops.append(top.scatter(1, part.flatten(1).topk(count, dim=1).indices, True))
    varied = (_range(one) > 0) & (_range(other) > 0)
    return torch.where(varied, (tops[0] & tops[1]).sum(dim=1) / count, 0.0)


def _range(part: Tensor) -> Tensor:
    return part.flatten(1).amax(dim=1) - part.flatten(1).amin(dim=1)


def _stretched(part: Tensor) -> Tensor:
    low = part.flatten(1).amin(dim=1)[:, None, None]
    return (part - low) / _range(part).clamp(min=1e-300)[:, None, None]
