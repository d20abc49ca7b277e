"""Evaluating networks in chunks of fixed sizes, so that a row's result does not depend on its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

RowWise = Callable[..., Tensor | tuple[Tensor, ...]]


def evaluate_in_chunks(function: RowWise, *inputs: Tensor, chunk: int) -> list[Tensor]:
    """Apply a row-wise `function` to `inputs (B, ...)` in zero-padded chunks and return its outputs (B, ...).

    Matrix products of different batch sizes take different paths and may differ in the last bit, so every call sees
    exactly `chunk` rows whatever B is. No gradients.
    """
    return _in_chunks(function, inputs, [chunk] * max(1, -(-len(inputs[0]) // chunk)))


class ChunkedFunction:
    """A row-wise function that is evaluated as `evaluate_in_chunks` does with `chunk`, to the last bit, but sooner.

    Few rows are padded to less than `chunk`, many are taken together, wherever that changes no bit of any row: each of
    the `sizes` is tried once on random rows and used only if its results are those of `chunk`. (A network library
    chooses its way by the shape of a batch and not by its content, so what random rows show holds for all.)
    `call_cost`: what a call costs besides its rows, in rows; it decides between padding and one more call. `unrounded`:
    what `function` computes before it rounds, where it does: bits are compared there, since rounding would hide them.
    """

    def __init__(
        self,
        function: RowWise,
        *,
        chunk: int,
        sizes: Sequence[int],
        call_cost: int,
        unrounded: RowWise | None = None,
    ) -> None:
        """Wrap `function`; nothing is evaluated yet."""
        self._function, self._chunk, self._call_cost = function, chunk, call_cost
        self._judged = unrounded or function
        self._candidates = tuple(sorted({*sizes} - {chunk}))
        self._sizes: tuple[int, ...] | None = None

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """Return the outputs (B, ...) of the function for `inputs (B, ...)`. No gradients."""
        rows = len(inputs[0])
        if self._sizes is None:
            if rows <= self._chunk and not any(rows <= size < self._chunk for size in self._candidates):
                return _in_chunks(self._function, inputs, (self._chunk,))
            self._sizes = self._agreeing(inputs)
        return _in_chunks(self._function, inputs, _plan(rows, self._sizes, self._call_cost))

    def _agreeing(self, inputs: Sequence[Tensor]) -> tuple[int, ...]:
        rows = max(self._chunk, *self._candidates, 0)
        generator = torch.Generator().manual_seed(0)
        tried = [_random(rows, x, generator) for x in inputs]
        wanted = evaluate_in_chunks(self._judged, *tried, chunk=self._chunk)

        def agrees(size: int) -> bool:
            found = evaluate_in_chunks(self._judged, *tried, chunk=size)
            return all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))

        return tuple(sorted([self._chunk, *(size for size in self._candidates if agrees(size))]))


def _random(rows: int, like: Tensor, generator: torch.Generator) -> Tensor:
    shape = (rows, *like.shape[1:])
    if like.is_floating_point():
        return torch.rand(shape, generator=generator).to(like)
    return torch.randint(-1, 2, shape, generator=generator).to(like)  # codes


def _in_chunks(function: RowWise, inputs: Sequence[Tensor], sizes: Sequence[int]) -> list[Tensor]:
    parts: list[tuple[Tensor, ...]] = []
    start = 0
    with torch.no_grad():
        for size in sizes:
            piece = [tensor[start : start + size] for tensor in inputs]
            used = len(piece[0])
            if used < size:
                piece = [torch.cat([tensor, tensor.new_zeros(size - used, *tensor.shape[1:])]) for tensor in piece]
            outputs = function(*piece)
            parts.append(tuple(out[:used] for out in (outputs if isinstance(outputs, tuple) else (outputs,))))
            start += size
    return list(parts[0]) if len(parts) == 1 else [torch.cat(column) for column in zip(*parts, strict=True)]


@lru_cache(maxsize=4096)
def _plan(rows: int, sizes: tuple[int, ...], call_cost: int) -> tuple[int, ...]:
    """Return the sizes of the calls that evaluate `rows` at the least cost, large calls first."""
    largest = sizes[-1]
    if rows > 2 * largest:
        whole = rows // largest - 1
        return (largest,) * whole + _plan(rows - whole * largest, sizes, call_cost)
    best: list[tuple[int, ...]] = [()]
    for count in range(1, rows + 1):
        options = [(size, *best[max(0, count - size)]) for size in sizes]
        best.append(min(options, key=lambda calls: (sum(calls) + call_cost * len(calls), len(calls))))
    return tuple(sorted(best[rows], reverse=True)) or (sizes[0],)
