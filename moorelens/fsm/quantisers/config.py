"""Which kinds of quantisers there are, and how they are fitted; without torch."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

Kind = Literal["qbn", "fsq", "kmeans", "sign"]

# Kind -> `module:class`; the class is an `nn.Module` that keeps the contract `FittableQuantiser`.
REGISTRY: dict[str, str] = {
    "qbn": "moorelens.fsm.quantisers.qbn:TernaryQBN",
    "fsq": "moorelens.fsm.quantisers.fsq:FSQQuantiser",
    "kmeans": "moorelens.fsm.quantisers.kmeans:KMeansQuantiser",
    "sign": "moorelens.fsm.quantisers.sign:SignQuantiser",
    "merged": "moorelens.fsm.quantisers.merged:MergedQuantiser",
}
KINDS: tuple[Kind, ...] = get_args(Kind)


class FitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a quantiser is fitted to vectors: `seed` of everything drawn; the others serve those that learn by gradient.

    `updates` of Adam at `learning_rate`, on `batch` rows each (docs/quantising.md has the runs behind the numbers).
    """

    seed: int = 0
    updates: int = 1500
    batch: int = 256
    learning_rate: float = 1e-3


DEFAULTS = FitSettings()
