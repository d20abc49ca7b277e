"""All minimal sufficient sets of a small grid, by evaluating every set."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from moorelens.errors import OptionError
from moorelens.saliency.sets.functions import SetFunction, sufficient

MOST_PATCHES = 16  # 65,536 sets


def exact_mse(
    v: SetFunction, *, p_high: float = 0.9, minimal: Literal["subset", "single"] = "subset"
) -> frozenset[int]:
    """Return every sufficient set of which no proper subset (`single`: no removal of one patch) is sufficient.

    `{0}` where nothing shown is already sufficient. Raises `OptionError` for more than 16 patches.
    """
    if v.count > MOST_PATCHES:
        raise OptionError(
            f"All sets are tried of at most {MOST_PATCHES} patches and these are {v.count}: use find_mse, or a coarser "
            "grid."
        )
    enough = sufficient(v, range(1 << v.count), p_high).numpy()
    below = _with_subsets(enough, v.count) if minimal == "subset" else enough
    smaller = np.zeros_like(enough)
    index = np.arange(len(enough))
    for patch in range(v.count):
        holds = (index >> patch & 1).astype(bool)
        smaller[holds] |= below[index[holds] ^ (1 << patch)]
    return frozenset(int(bits) for bits in np.flatnonzero(enough & ~smaller))


def _with_subsets(enough: npt.NDArray[np.bool_], count: int) -> npt.NDArray[np.bool_]:
    """Return for every set whether it or any subset of it is sufficient."""
    found = enough.copy()
    for patch in range(count):
        halves = found.reshape(-1, 2, 1 << patch)
        halves[:, 1] |= halves[:, 0]
    return found
