"""Evaluates a score in chunks of at most `max_batch` rows, and counts what that costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from moorelens.errors import ModelFailure, OptionError
from moorelens.saliency.scores import ScoreFn, select_rows

MAX_BATCH = 256
_CACHED, _LEAST = 2**19, 16  # floats of input in a batch on a CPU, and rows at least
# Of a float32 result, relative: the same row gives other last bits in a batch of another size.
ROUNDING = 16 * torch.finfo(torch.float32).eps


def take(x: Tensor, rows: Tensor) -> Tensor:
    """Return `x (B, ...)` at `rows (n,)`; of a single row a view, since all explained rows are then that one."""
    return x.expand(len(rows), *x.shape[1:]) if len(x) == 1 else x.index_select(0, rows)


class Meter:
    """A score with a limit on its batches and with counters.

    `n_forward` and `n_backward`: rows that went through the model; `largest_batch`: of any one call. `strict`: refuse a
    score without a gradient, or with one that is not finite; else the former is one of zeros.
    """

    def __init__(self, score: ScoreFn, *, max_batch: int = MAX_BATCH, strict: bool = False) -> None:
        """Wrap `score`; raises `OptionError` for a limit below 1."""
        if max_batch < 1:
            raise OptionError(f"A batch holds at least 1 row and max_batch is {max_batch}: pass a positive number.")
        self.score, self.max_batch, self.strict = score, max_batch, strict
        self.n_forward = self.n_backward = self.largest_batch = 0

    def width(self, x: Tensor) -> int:
        """Return how many rows like `x (B, ...)` a batch should hold: `max_batch`, on a CPU what its cache takes.

        Small batches are a tenth to a sixth faster there (benchmarks/saliency_core.py), and need less memory.
        """
        if x.device.type != "cpu":
            return self.max_batch
        return min(self.max_batch, max(_LEAST, _CACHED // max(1, x[0].numel())))

    def forward(self, points: Tensor, rows: Tensor) -> Tensor:
        """Return the scores (n,) of one chunk: `points (n, ...)` are variants of the explained rows `rows (n,)`.

        Gradients as the caller has them. The model may work in place on `points`.
        """
        n = len(points)
        values = select_rows(self.score, rows)(points)
        self.n_forward += n
        self.largest_batch = max(self.largest_batch, n)
        if not isinstance(values, Tensor) or values.shape != (n,):
            shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise OptionError(
                f"A score maps {n} rows to {n} numbers, shape ({n},), and this one returned {shape}: reduce each row "
                "to one number."
            )
        if not bool(torch.isfinite(values).all()):
            raise OptionError(
                "A score must be finite and this one returned NaN or infinity: look at the weights and at the input "
                "for values that are not finite."
            )
        return values

    def gradient(self, values: Tensor, leaf: Tensor) -> Tensor:
        """Return the gradient of each score `values (n,)` with respect to its own row of `leaf (n, ...)`.

        Raises `ModelFailure` where the way back fails; where the meter is strict `OptionError` for a score that does
        not depend differentiably on `leaf`, and `ModelFailure` for a gradient that is not finite.
        """
        self.n_backward += len(values)
        found = _gradient(values, leaf) if values.requires_grad else None
        if found is None and self.strict:
            raise OptionError(
                "A method that takes gradients needs a score that depends differentiably on its input, and this one "
                "does not (its forward runs under no_grad, detaches, or compares): use rise or occlusion, which take "
                "none."
            )
        if found is not None and self.strict and not bool(torch.isfinite(found).all()):
            raise ModelFailure(
                "A gradient is finite, and that of this score holds NaN or infinity, as a root, a norm or a deviation "
                "at 0 makes: add a small number below it, or use rise or occlusion, which take no gradient."
            )
        return torch.zeros_like(leaf) if found is None else found

    def values(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return the scores (N,) of `x (N, ...)` in chunks, without gradients; row n is explained row n by default."""
        index = torch.arange(len(x), device=x.device) if rows is None else rows

        def make(chosen: Tensor) -> tuple[Tensor, Tensor]:
            return x.index_select(0, chosen), index.index_select(0, chosen)

        return self.values_of(len(x), make, device=x.device)

    def values_of(
        self, count: int, make: Callable[[Tensor], tuple[Tensor, Tensor]], *, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Return `count` scores of points that `make(index (n,)) -> (points (n, ...), rows (n,))` builds by chunks."""
        parts = []
        with torch.no_grad():
            for index in self.chunks(count, device=device):
                points, rows = make(index)
                parts.append(self.forward(points, rows))
        return torch.cat(parts) if parts else torch.zeros(0, device=device)

    def chunks(self, count: int, *, device: torch.device | str = "cpu") -> Iterator[Tensor]:
        """Yield 0..count-1 in pieces of at most `max_batch`."""
        for start in range(0, count, self.max_batch):
            yield torch.arange(start, min(start + self.max_batch, count), device=device)


def _gradient(values: Tensor, leaf: Tensor) -> Tensor | None:
    try:
        # Only with respect to the leaf: no parameter of the model ever gets a `.grad`.
        (found,) = torch.autograd.grad(values.sum(), leaf, allow_unused=True)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        # What goes wrong on the way back is the model's: its hooks, or what it changed in place.
        text = " ".join(str(error).split())[:200]
        raise ModelFailure(
            f"A score's gradient goes back through all of its model, and here that failed ({type(error).__name__}: "
            f"{text}): mend the model's hooks and in-place operations, or use rise or occlusion, which take none."
        ) from error
    gradient: Tensor | None = found
    return gradient
