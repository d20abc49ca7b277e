"""What `moorelens saliency` is asked for; imports no torch."""

from __future__ import annotations

import msgspec

from moorelens.errors import OptionError
from moorelens.pipelines.config import require
from moorelens.pipelines.run_config import ReplayConfig
from moorelens.saliency.differential.config import Level, Pairing, Target, memory_digit


class SaliencyConfig(ReplayConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`saliency`: one decision point of a finished run, explained by one method."""

    state: str | None = None
    """The decision point, such as S3 (or M3 of the reduced machine); the weightiest where none is given."""
    branches: str | None = None
    """Two states it leads to, such as S5,S7; the two taken most often where none are given."""
    method: str = "differential"
    """differential, sag (the parts that alone are enough, as a graph), or an explainer: integrated_gradients (or ig),
    smoothgrad, gradcam, occlusion, perturbation, rise, igos, igos+, igos++."""
    score: str = "action"
    """What an explainer explains: action (its margin over the others), value, or memory:K (a digit of the memory)."""
    level: Level = "observation"
    """differential: digits of the symbol, or of the next memory (hidden), with memory attributed too."""
    target: Target = "preactivation"
    """differential: preactivation (adds up to the digits' change) or squared (as released)."""
    steps: int = 16
    """differential: points on the path."""
    pairs: int = 32
    """Observations of each branch at most."""
    pairing: Pairing = "nearest"
    """Each is compared with the nearest of the other branch, or with one at random."""
    area: float | None = None
    """Share of the pixels or features that counts as salient; else 0.05 of the pixels, 0.25 of the features."""
    seed: int = 0
    """Of every random choice."""

    def __post_init__(self) -> None:
        """Refuse values that nothing can be computed from; raises `OptionError`."""
        require(self.steps >= 1, "steps", "a whole number from 1 on", self.steps)
        require(self.pairs >= 1, "pairs", "a whole number from 1 on", self.pairs)
        require(self.seed >= 0, "seed", "a whole number from 0 on", self.seed)
        require(self.area is None or 0 < self.area <= 0.5, "area", "above 0 and at most 0.5", self.area)
        memory_digit(self.score)
        if self.state is not None:
            state_number(self.state.strip().removeprefix("M").removeprefix("m"), option="--state")
        branch_numbers(self.branches)


def state_number(text: str, *, option: str) -> int:
    """Return 3 for `S3`, `s3` or `3`; raises `OptionError` for anything else."""
    digits = text.strip().removeprefix("S").removeprefix("s")
    if not digits.isdecimal():
        raise OptionError(
            f"{option} names states as the drawings do, such as S3 or M3, and {text!r} is none: correct it."
        )
    return int(digits)


def branch_numbers(text: str | None) -> tuple[int, int] | None:
    """Return (5, 7) for `S5,S7`; raises `OptionError` where these are not two different states."""
    if text is None:
        return None
    found = [state_number(part, option="--branches") for part in text.split(",")]
    if len(found) != 2 or found[0] == found[1]:
        raise OptionError(f"--branches names two different states, such as S5,S7, and {text!r} does not: correct it.")
    return found[0], found[1]


class AskedSaliency(msgspec.Struct, frozen=True, kw_only=True):
    """What `moorelens saliency` found, and the files it wrote."""

    method: str
    score: str | None
    branch: object
    files: tuple[str, ...]
