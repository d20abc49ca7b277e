"""Making quantisers by the name of their kind; a new kind is one file and one line in `config.REGISTRY`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.fsm.quantisers.base import FittableQuantiser
from moorelens.fsm.quantisers.config import REGISTRY


def quantiser_class(kind: str) -> Any:
    """Return the class of `kind`; raises `OptionError` for a name that is none."""
    if kind not in REGISTRY:
        raise OptionError(f"A quantiser is one of {', '.join(REGISTRY)}, and {kind!r} is none of them: correct it.")
    module, _, name = REGISTRY[kind].partition(":")
    return getattr(importlib.import_module(module), name)


def new_quantiser(
    kind: str,
    x: Tensor,
    *,
    digits: int,
    hidden: Sequence[int] = (8,),
    levels: int = 3,
    generator: torch.Generator | None = None,
) -> FittableQuantiser:
    """Return an unfitted quantiser for vectors such as `x (N, D)`.

    `digits`: the size of the code, which each kind reads in its own way: digits of a `qbn` or `fsq`, clusters of a
    `kmeans`; a `sign` has as many digits as the vectors have entries. `hidden`: widths between vectors and codes as
    multiples of the digits. `levels` of a digit: 2 or 3 for a `qbn`, 3 or more for an `fsq`. Raises `OptionError`.
    """
    made: FittableQuantiser = quantiser_class(kind).shaped(
        x, digits=digits, hidden=tuple(hidden), levels=levels, generator=generator
    )
    return made
