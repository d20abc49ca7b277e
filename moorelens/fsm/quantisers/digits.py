"""Digits: the values that a digit of so many levels takes, and numbers written in them."""

from __future__ import annotations

import torch
from torch import Tensor

# The largest odd number of values around 0 that int8 can hold.
BASE = 255


def digit_values(levels: int) -> tuple[int, ...]:
    """Return the values of a digit: two levels are -1 and 1, others the whole numbers around 0.

    An odd number of levels is centred, an even one has one more below than above.
    """
    return (-1, 1) if levels == 2 else tuple(range(-(levels // 2), levels - levels // 2))


def levels_for(count: int) -> tuple[int, ...]:
    """Return the levels of a code that can hold `count` numbers: one digit, or several in base 255."""
    if count <= BASE:
        return (max(count, 1),)
    above = levels_for(-(-count // BASE))
    return (*above, BASE)


def write_index(index: Tensor, levels: tuple[int, ...]) -> Tensor:
    """Write numbers from 0 on (B,) as codes (B, K) int8, most significant digit first."""
    rest, digits = index, []
    for size in reversed(levels):
        place = rest % size
        digits.append(2 * place - 1 if size == 2 else place - size // 2)
        rest = torch.div(rest, size, rounding_mode="floor")
    return torch.stack(digits[::-1], dim=-1).to(torch.int8)


def read_index(codes: Tensor, levels: tuple[int, ...]) -> Tensor:
    """Read the numbers (B,) that `write_index` wrote as codes (B, K)."""
    index = torch.zeros(codes.shape[:-1], dtype=torch.int64)
    for place, size in enumerate(levels):
        digit = codes[..., place].to(torch.int64)
        index = index * size + (torch.div(digit + 1, 2, rounding_mode="floor") if size == 2 else digit + size // 2)
    return index
