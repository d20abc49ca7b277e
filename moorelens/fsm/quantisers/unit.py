"""The quantising unit: a function with three (or two) plateaus, rounded, with a straight-through gradient."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from moorelens.errors import OptionError

Levels = Literal[2, 3]


def plateau(x: Tensor, *, levels: Levels = 3) -> Tensor:
    """Return the smooth function under the rounding, element by element.

    Three levels: `1.5 tanh(x) + 0.5 tanh(-3x)`, flat at -1, 0 and 1 (koul2019mmn); the middle is |x| < 0.794676.
    Two levels: `tanh(x)`.
    """
    if levels == 3:
        return 1.5 * torch.tanh(x) + 0.5 * torch.tanh(-3.0 * x)
    if levels == 2:
        return torch.tanh(x)
    raise OptionError(f"A digit has 2 or 3 levels and {levels} were asked for: pass levels=3, the published choice.")


def quantise(x: Tensor, *, levels: Levels = 3) -> Tensor:
    """Return digits with the gradient of `plateau`: only the rounding is passed straight through; `x` is not changed.

    Three levels round half to even into {-1, 0, 1}; two levels are {-1, 1}, with 0 going to 1.
    """
    smooth = plateau(x, levels=levels)
    with torch.no_grad():
        digits = smooth.round() if levels == 3 else torch.where(smooth >= 0, 1.0, -1.0)
    # The bracket is exactly 0, so the value is the digit bit for bit, and -0.0 becomes 0: they must be the same bytes.
    return digits + (smooth - smooth.detach())


def digits_of(x: Tensor, *, levels: Levels = 3) -> Tensor:
    """Return the digits of `x` as int8, without gradient."""
    with torch.no_grad():
        smooth = plateau(x, levels=levels)
        found = smooth.round() if levels == 3 else torch.where(smooth >= 0, 1.0, -1.0)
        return found.to(torch.int8)
