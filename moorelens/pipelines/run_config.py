"""What the commands on a finished run are asked for: `evaluate`, `prune`, `check` and `verify`; imports no torch."""

from __future__ import annotations

import msgspec

from moorelens.pipelines.config import require


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command on a finished run."""

    run: str
    """Folder of a run of explain, demo or extract."""


class ReplayConfig(RunConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that plays again."""

    policy: str | None = None
    """Where the policy is, if its file was moved since the run."""
    trust: bool = False
    """Read policy files whose reading runs code from them."""


class VerifyConfig(ReplayConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`verify`: how much is done again, and what counts as equal."""

    stored: bool = False
    """Recompute from the stored games, without playing them again."""
    tolerance: float = 1e-6
    """Numbers that differ by at most this share are equal: another processor may round the last bit otherwise."""

    def __post_init__(self) -> None:
        """Refuse a tolerance below 0; raises `OptionError`."""
        require(0.0 <= self.tolerance < 1.0, "tolerance", "a share from 0 on, below 1", self.tolerance)
