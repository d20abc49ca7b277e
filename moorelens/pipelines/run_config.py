"""What the commands on a finished run are asked for: `evaluate`, `prune`, `check` and `verify`; imports no torch."""

from __future__ import annotations

import math
from typing import Any, Literal

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


Fallback = Literal["nearest", "nearest_state", "stay", "default_action", "network", "error"]
FALLBACKS: tuple[Fallback, ...] = ("nearest", "nearest_state", "stay", "default_action", "network", "error")


class EvaluateConfig(ReplayConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`evaluate`: which games, which fallbacks, which disturbances."""

    held_out: int | None = None
    """Held-out games, the first of the run's seeds; as many as the run had where none is given."""
    sticky: float | None = None
    """Chance that the last action is taken again; else as in the run (Atari 0.25, others 0)."""
    noops: int | None = None
    """Atari: at most so many random no-ops at the start; else as in the run."""
    fallback: Literal["all", "none", "nearest", "nearest_state", "stay", "default_action", "network", "error"] = "all"
    """What the machine does where nothing was recorded: all ways one after another, only `nearest` (none), or one."""
    disturb: Literal["auto", "none", "starts", "sticky", "noise", "all"] = "auto"
    """Disturbances: random first actions, repeated actions, noise on features; auto: all but in Atari games."""
    starts: int = 10
    """starts: at most so many random actions before the player decides."""
    noise: float = 0.05
    """noise: standard deviation, as a share of each feature's own."""
    rivals: Literal["all", "none"] = "all"
    """Players without memory to beat: best action per symbol, trees, replay."""
    max_minutes: float | None = None
    """Stop in order after so many minutes; the same command goes on."""

    def __post_init__(self) -> None:
        """Refuse values that nothing can be played with; raises `OptionError`."""
        require(self.held_out is None or self.held_out >= 1, "held_out", "a whole number from 1 on", self.held_out)
        require(self.sticky is None or 0.0 <= self.sticky <= 1.0, "sticky", "a probability in [0, 1]", self.sticky)
        require(self.noops is None or self.noops >= 0, "noops", "a whole number from 0 on", self.noops)
        require(self.starts >= 0, "starts", "a whole number from 0 on", self.starts)
        require(0.0 <= self.noise < 1e6, "noise", "a number from 0 on", self.noise)
        minutes = self.max_minutes
        require(minutes is None or 0.0 < minutes < math.inf, "max_minutes", "a positive number of minutes", minutes)


class PruneConfig(ReplayConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`prune`: what is taken away, at what price, and on how many games that is judged."""

    mode: Literal["branch", "state", "symbol"] = "branch"
    """Redirect a branch of a decision, leave a decision one branch, or read a symbol as another one."""
    tolerance: float | None = None
    """Loss of return that is allowed, in units of return; a hundredth of the machine's own where none is given."""
    games: int | None = None
    """Games on which candidates are judged, of the selection seeds; 30, or 6 in Atari games, where none is given."""
    fallback: Literal["nearest", "network", "error"] = "nearest"
    """Where a pruned machine meets what was not recorded: nearest symbol, network, or refuse a candidate for it."""
    effects: int = 20
    """Say what so many decisions are worth, the weightiest first."""
    max_minutes: float | None = None
    """Stop in order after so many minutes; the same command goes on."""

    def __post_init__(self) -> None:
        """Refuse values that nothing can be judged with; raises `OptionError`."""
        price = self.tolerance
        require(price is None or 0.0 <= price < math.inf, "tolerance", "a number from 0 on", price)
        require(self.games is None or self.games >= 1, "games", "a whole number from 1 on", self.games)
        require(self.effects >= 0, "effects", "a whole number from 0 on", self.effects)
        minutes = self.max_minutes
        require(minutes is None or 0.0 < minutes < math.inf, "max_minutes", "a positive number of minutes", minutes)


class CheckConfig(RunConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`check`: a property, and what its names stand for."""

    property: str
    """What should hold, for example 'after bounce, FIRE within 10 steps'; docs/checking.md has the language."""
    define: dict[str, Any] = {}
    """Names for properties, as JSON: {"bounce": "ball_speed > 0 and previous ball_speed < 0"}."""

    def __post_init__(self) -> None:
        """Refuse definitions that are no text; raises `OptionError`."""
        for name, text in self.define.items():
            require(isinstance(text, str), "define", f"a JSON object of texts, {name!r} included", text)
