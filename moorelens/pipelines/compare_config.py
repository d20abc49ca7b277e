"""What `compare` is asked for: a policy, and which ways of quantising it are set side by side; without torch."""

from __future__ import annotations

from typing import Literal

import msgspec

from moorelens.errors import OptionError
from moorelens.fsm.config import QuantiseConfig
from moorelens.fsm.quantisers.config import KINDS, Kind
from moorelens.pipelines.config import ExplainConfig, Preset

RAW = "-raw"
MERGING: dict[str, Literal["rpni", "edsm"]] = {"aalpy": "rpni", "aalpy-edsm": "edsm"}
NAMES: tuple[str, ...] = (*KINDS, *(kind + RAW for kind in KINDS), *MERGING)
DEFAULT = "qbn,fsq,kmeans,kmeans-raw,sign,sign-raw,aalpy"

# Numbers of clusters to try, for states and observations.
_CLUSTERS: dict[Preset, tuple[tuple[int, int], ...]] = {
    "quick": ((16, 32), (64, 128)),
    "standard": ((8, 16), (16, 32), (32, 64), (64, 128), (128, 256)),
    "thorough": ((4, 8), (8, 16), (16, 32), (32, 64), (64, 128), (128, 256), (256, 512)),
}


class CompareConfig(ExplainConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`compare`: quantisers, and state merging without a memory, on the same episodes of a policy."""

    quantisers: str = DEFAULT
    """Names joined by commas: qbn, fsq, kmeans, sign (with -raw: without fine-tuning), aalpy, aalpy-edsm."""

    def __post_init__(self) -> None:
        """Refuse names that are none, twice the same one, and what cannot be compared; raises `OptionError`."""
        super().__post_init__()
        names = self.quantisers.split(",")
        for name in names:
            if name not in NAMES:
                raise OptionError(f"--quantisers is a list of {', '.join(NAMES)}, and {name!r} is none: correct it.")
        if len(set(names)) < len(names):
            raise OptionError(f"--quantisers names each one once, and {self.quantisers!r} does not: correct it.")
        if all(name in MERGING for name in names):
            raise OptionError(
                f"--quantisers {self.quantisers} merges states of traces whose symbols a quantiser must give: add qbn."
            )
        if self.repeats is not None:
            raise OptionError("--repeats belongs to explain and compare does not repeat: leave it out.")


def names_of(config: CompareConfig) -> tuple[str, ...]:
    """Return the names to be compared; state merging comes after the quantisers, whose symbols it reads."""
    names = config.quantisers.split(",")
    return tuple(sorted(names, key=lambda name: name in MERGING))


def kind_of(name: str) -> Kind | None:
    """Return the kind of quantiser that a name stands for, None for state merging."""
    found = name.removesuffix(RAW)
    return next((kind for kind in KINDS if kind == found), None)


def symbol_source(names: tuple[str, ...]) -> str:
    """Return the quantiser whose symbols state merging reads: the QBN where it is compared, else the first."""
    return "qbn" if "qbn" in names else names[0]


def quantise_config_of(name: str, base: QuantiseConfig, *, preset: Preset) -> QuantiseConfig:
    """Return the settings of one quantiser: those of `base`, the preset's, with sizes that its kind understands.

    `-raw` quantisers are tried as they were fitted: no round of fine-tuning, but the same choice among sizes.
    """
    kind = kind_of(name)
    if kind is None:
        return base
    sizes = {"kmeans": _CLUSTERS[preset], "sign": ((1, 1),)}.get(kind, base.sizes)
    rounds = 0 if name.endswith(RAW) else base.rounds
    return msgspec.structs.replace(base, kind=kind, sizes=sizes, rounds=rounds)
