"""Scikit-learn's handwritten digits as pictures of 32 x 32 pixels: real images that need no download."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

SIZE = 32
CLASSES = tuple(str(digit) for digit in range(10))
_TEST = 5  # every fifth digit is for testing, whatever is trained and with whatever seed


@dataclass(frozen=True, kw_only=True, eq=False)
class Digits:
    """Pictures `x (n, 1, 32, 32)` in [0, 1], white on black, and what they show: `y (n,)`, 0 to 9."""

    x: Tensor
    y: Tensor


def load_digits(*, test: bool) -> Digits:
    """Return the 360 digits for testing, or the 1437 for training; each fifth one is for testing.

    The 8 x 8 pictures of 0 to 16 are enlarged bilinearly and divided by 16. Neighbours in the file were written by the
    same hand, so that testing is on hands that were trained on.
    """
    # Imported here: scikit-learn takes a second to load.
    from sklearn import datasets

    found = datasets.load_digits()
    chosen = (torch.arange(len(found.target)) % _TEST == 0) == test
    x = torch.as_tensor(found.images, dtype=torch.float32)[chosen][:, None] / 16
    x = functional.interpolate(x, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    return Digits(x=x, y=torch.as_tensor(found.target, dtype=torch.int64)[chosen])
