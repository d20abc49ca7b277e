"""What differential saliency can be told: one frozen record, without torch."""

from __future__ import annotations

from typing import Literal

import msgspec

from moorelens.errors import OptionError
from moorelens.saliency.config import Rule

Level = Literal["observation", "hidden"]
Target = Literal["preactivation", "squared"]
Pairing = Literal["nearest", "random"]


class DifferentialConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How two branches of a decision point are compared (spec-fsm 6.6).

    `level`: digits of the symbol (`observation`), or of the next state, with memory and observation attributed jointly
    (`hidden`). `target`: `preactivation` (signed, sums to what the digit changes by) or `squared` (the released code).
    `steps`, `rule`: quadrature of the path from the other branch's observation; the released code is `squared` with
    `mean` over 51 points for Atari and 11 for control.
    `pairs`: at most so many observations a branch; `pairing`: each with its `nearest` observation on the other branch
    (by code, then by distance), or with one at `random`.
    `area`: share of the pixels, or of the features, that counts as salient in the intervention test, one at least; by
    default a twentieth of the pixels, a quarter of the features.
    """

    level: Level = "observation"
    target: Target = "preactivation"
    steps: int = 16
    rule: Rule = "midpoint"
    pairs: int = 32
    pairing: Pairing = "nearest"
    area: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be computed; raises `OptionError`."""
        for name in ("steps", "pairs"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is 1 or more and {getattr(self, name)} was given: pass a larger number.")
        if self.area is not None and not 0 < self.area <= 0.5:
            raise OptionError(f"The salient area is above 0 and at most half, and {self.area} was given: pass 0.05.")


def memory_digit(score: str) -> int | None:
    """Return K of the score `memory:K`, None of `action` and `value`; raises `OptionError` for any other name."""
    kind, _, number = score.partition(":")
    if kind == "memory" and number.isdecimal():
        return int(number)
    if score in ("action", "value"):
        return None
    raise OptionError(
        f"A score is action, value or memory:K, a digit such as memory:0, and {score!r} is none: correct it."
    )
