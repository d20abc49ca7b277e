"""The value of showing only some patches of one input: the score with the others replaced by a baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from moorelens.errors import OptionError
from moorelens.saliency.baselines import Baseline
from moorelens.saliency.masks import MaskOperator
from moorelens.saliency.meter import MAX_BATCH, Meter
from moorelens.saliency.patches import PatchGrid
from moorelens.saliency.scores import ScoreFn, class_score
from moorelens.saliency.sets.functions import SetFunction

Source = Baseline | MaskOperator


class SetValue(SetFunction):
    """v(T) = score(Phi(x, b, T)) of one input; with several baselines the least of their values.

    A set that suffices by its least value suffices under every baseline. Attributes: `score`; `grid`; `operators`, one
    for each baseline; `n_forward`, the rows that went through the model.
    """

    def __init__(
        self,
        x: Tensor,
        score: ScoreFn,
        baseline: Source | Sequence[Source],
        grid: PatchGrid,
        *,
        keep: ScoreFn | None = None,
        generator: torch.Generator | None = None,
        max_batch: int = MAX_BATCH,
    ) -> None:
        """`x` (1, C, H, W) or (1, F) in model-input space; `baseline`: one or several, or operators made from `x`.

        `keep`: a score that must be above 0 for a set to be sufficient, such as the margin of the class. `generator`:
        for baselines that draw; a fresh one with seed 0 where it is None. Raises `OptionError` where these do not fit.
        """
        x = _one_input(x, grid)
        sources = list(baseline) if isinstance(baseline, Sequence) else [baseline]
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        self.score = score
        self.grid = grid
        self.operators = tuple(_operator(source, x, generator) for source in sources)
        self._meters = [Meter(score, max_batch=max_batch)] + (
            [] if keep is None else [Meter(keep, max_batch=max_batch)]
        )
        self._worst: dict[int, int] = {}
        second = None if keep is None else lambda sets: self._least(self._meters[1], sets)[0]
        super().__init__(self._values, count=grid.count, keep=second)

    @property
    def n_forward(self) -> int:
        """The number of rows that went through the model for the values, those of `keep` included."""
        return (len(self._known) + len(self._kept)) * len(self.operators)

    def shown(self, sets: Sequence[int], *, baseline: int | None = None) -> Tensor:
        """Return what the model saw (n, C, H, W) or (n, F) of each set.

        `baseline`: the number of one; where it is None the one under which each set has its least value.
        """
        if baseline is None and len(self.operators) == 1:
            baseline = 0
        elif baseline is None:
            self._find_worst(sets)
        chosen = [self._worst[bits] if baseline is None else baseline for bits in sets]
        rows = [self._apply(self.operators[index], [bits]) for bits, index in zip(sets, chosen, strict=True)]
        return torch.cat(rows) if rows else self.operators[0].x[:0]

    def _find_worst(self, sets: Sequence[int]) -> None:
        self(sets)
        recalled = [bits for bits in sets if bits not in self._worst]
        if recalled:
            self._values(recalled)

    def _values(self, sets: Sequence[int]) -> Tensor:
        values, worst = self._least(self._meters[0], sets)
        self._worst.update(zip(sets, worst.tolist(), strict=True))
        return values

    def _least(self, meter: Meter, sets: Sequence[int]) -> tuple[Tensor, Tensor]:
        makers = [self._maker(operator, sets) for operator in self.operators]
        device = self.operators[0].x.device
        found = torch.stack([meter.values_of(len(sets), make, device=device) for make in makers])
        least = found.min(dim=0)
        return least.values.cpu(), least.indices.cpu()

    def _maker(self, operator: MaskOperator, sets: Sequence[int]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        def make(index: Tensor) -> tuple[Tensor, Tensor]:
            return self._apply(operator, [sets[i] for i in index.tolist()]), torch.zeros_like(index)

        return make

    def _apply(self, operator: MaskOperator, sets: Sequence[int]) -> Tensor:
        rows = torch.zeros(len(sets), dtype=torch.int64, device=operator.x.device)
        return operator.apply(self.grid.keep(sets).to(operator.x.device), rows)


def class_value(
    module: nn.Module,
    x: Tensor,
    target: int,
    baseline: Source | Sequence[Source],
    grid: PatchGrid,
    *,
    score: Literal["prob", "margin"] = "prob",
    keep_class: bool = False,
    generator: torch.Generator | None = None,
    max_batch: int = MAX_BATCH,
) -> SetValue:
    """Return v for one class of a classifier (N, ...) -> (N, K): its probability, or its logit over the best other one.

    `keep_class`: a sufficient set must leave the class on top as well.
    """
    keep = class_score(module, target, space="margin") if keep_class else None
    kept = class_score(module, target, space=score)
    return SetValue(x, kept, baseline, grid, keep=keep, generator=generator, max_batch=max_batch)


def _one_input(x: Tensor, grid: PatchGrid) -> Tensor:
    fits = x.ndim in (2, 4) and len(x) == 1 and tuple(x.shape[-grid.labels.ndim :]) == tuple(grid.labels.shape)
    if not fits or x.ndim != (2 if grid.labels.ndim == 1 else 4):
        raise OptionError(
            f"Sets are of one input, (1, C, H, W) or (1, F), with patches of its size, and this is {tuple(x.shape)} "
            f"with patches of {tuple(grid.labels.shape)}: pass one row, and a grid made for it."
        )
    if not x.is_floating_point() or not bool(torch.isfinite(x).all()):
        raise OptionError(f"An input holds finite floats and this one is {x.dtype}, or holds NaN: convert it first.")
    return x.detach()


def _operator(source: Source, x: Tensor, generator: torch.Generator) -> MaskOperator:
    if not isinstance(source, MaskOperator):
        return MaskOperator(x=x, baseline=source(x, generator).detach())
    if source.x.shape != x.shape or not torch.equal(source.x, x):
        raise OptionError(
            f"A mask operator is made from the input that is explained and this one holds another of "
            f"{tuple(source.x.shape)}: make it from x."
        )
    return source
