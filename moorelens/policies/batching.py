"""Evaluating networks in chunks of one fixed size, so that a row's result does not depend on its neighbours."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

RowWise = Callable[..., Tensor | tuple[Tensor, ...]]


def evaluate_in_chunks(function: RowWise, *inputs: Tensor, chunk: int) -> list[Tensor]:
    """Apply a row-wise `function` to `inputs (B, ...)` in zero-padded chunks and return its outputs (B, ...).

    Matrix products of different batch sizes take different paths and may differ in the last bit, so every call sees
    exactly `chunk` rows whatever B is. No gradients.
    """
    parts: list[tuple[Tensor, ...]] = []
    rows = len(inputs[0])
    with torch.no_grad():
        for start in range(0, max(rows, 1), chunk):
            piece = [tensor[start : start + chunk] for tensor in inputs]
            used = len(piece[0])
            if used < chunk:
                piece = [torch.cat([tensor, tensor.new_zeros(chunk - used, *tensor.shape[1:])]) for tensor in piece]
            outputs = function(*piece)
            parts.append(tuple(out[:used] for out in (outputs if isinstance(outputs, tuple) else (outputs,))))
    return [torch.cat(column) for column in zip(*parts, strict=True)]
