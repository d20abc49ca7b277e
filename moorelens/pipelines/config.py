"""What a whole job is asked for: one frozen record, which is the Python argument and the command line at once."""

from __future__ import annotations

import math
import re
from pathlib import Path, PurePath
from typing import Any, Literal

import msgspec

from moorelens.errors import OptionError
from moorelens.policies.config import FILE, name_of_file, placed_file

Preset = Literal["quick", "standard", "thorough"]
Device = Literal["cpu", "cuda", "auto"]

# Options that say where and how long, not what: they change no number, and are no part of a run's record.
_UNRECORDED = ("out", "force", "max_minutes", "trust")


class JobConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every job on a policy can be told; `None` means: as the preset, the policy file or the protocol says."""

    out: str | None = None
    """Folder for the results, which the same command continues; runs/VERB-NAME where none is given."""
    env: str | None = None
    """Environment: a Gymnasium id, or python:pkg.mod:factory; what the policy file says where none is given."""
    env_kwargs: dict[str, Any] = {}
    """Arguments of the environment's constructor, as JSON."""
    names: str | None = None
    """JSON file with names: {"actions": [...], "features": [...]}."""
    seed: int = 0
    """Seed of everything that is drawn at random."""
    episodes: int | None = None
    """Episodes to extract from, instead of the preset's number."""
    held_out: int | None = None
    """Episodes to measure on, never used for fitting, instead of the preset's number."""
    sticky: float | None = None
    """Atari: chance that the last action is repeated, in fitting too; else 0.25 in held-out games only."""
    noops: int | None = None
    """Atari: at most so many random no-ops at the start of a game; else 30."""
    repeats: int | None = None
    """Repeat the extraction with so many seeds and say how far the results agree."""
    preset: Preset = "standard"
    """How much work: quick (about a minute for control tasks), standard or thorough."""
    device: Device = "cpu"
    """Where networks run: the CPU, which is also what auto means here."""
    trust: bool = False
    """Read policy files whose reading runs code from them."""
    force: bool = False
    """Start over, even in a folder that belongs to another run."""
    max_minutes: float | None = None
    """Stop in order after so many minutes, say what was left out, and go on with the same command."""

    def __post_init__(self) -> None:
        """Refuse values that no job can use; raises `OptionError`."""
        for name in ("episodes", "held_out", "repeats"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, "a whole number from 1 on", value)
        for name in ("seed", "noops"):
            value = getattr(self, name)
            require(value is None or value >= 0, name, "a whole number from 0 on", value)
        require(self.sticky is None or 0.0 <= self.sticky <= 1.0, "sticky", "a probability in [0, 1]", self.sticky)
        minutes = self.max_minutes
        require(minutes is None or 0.0 < minutes < math.inf, "max_minutes", "a positive number of minutes", minutes)


class ExplainConfig(JobConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`explain` and `extract`: a policy, and what a job can be told."""

    policy: str
    """zoo:NAME, sb3:FILE.zip, mmn:FILE, python:pkg.mod:factory, or a native FILE.safetensors."""


class DemoConfig(JobConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`demo`: the whole job on a bundled policy."""

    policy: str = ""
    """Which policy to show; else a bundled one that plays --env, which is ALE/Pong-v5 where none is given."""
    preset: Preset = "quick"
    """How much work: quick (about a minute for control tasks), standard or thorough."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How many episodes are played to fit on, how many held-out ones, and how often the extraction is repeated."""

    episodes: int
    held_out: int
    repeats: int


# Design 4: fit episodes and held-out games for control tasks, then for Atari.
_BUDGETS: dict[tuple[str, bool], Budget] = {
    ("quick", False): Budget(episodes=32, held_out=20, repeats=1),
    ("quick", True): Budget(episodes=6, held_out=5, repeats=1),
    ("standard", False): Budget(episodes=64, held_out=100, repeats=1),
    ("standard", True): Budget(episodes=12, held_out=20, repeats=1),
    ("thorough", False): Budget(episodes=200, held_out=500, repeats=5),
    ("thorough", True): Budget(episodes=30, held_out=100, repeats=5),
}


def budget(config: JobConfig, *, atari: bool) -> Budget:
    """Return the numbers of the preset for a control task or an Atari game, with what the options replace."""
    plan = _BUDGETS[config.preset, atari]
    given = {name: getattr(config, name) for name in ("episodes", "held_out", "repeats")}
    return msgspec.structs.replace(plan, **{name: value for name, value in given.items() if value is not None})


def default_out(verb: str, policy: str) -> str:
    """Return `runs/<verb>-<name>`, with a name made of the policy's reference that any file system can hold."""
    kind, rest = _split(policy)
    plain = rest if kind in ("zoo", "python") else name_of_file(placed_file(rest.replace("\\", "/")))
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-.") or "policy"
    return f"runs/{verb}-{name}"


def recorded(config: JobConfig) -> dict[str, Any]:
    """Return what a manifest says of `config`: no folder, no time limit, and files by name instead of by path.

    Of a `policy.safetensors` the name of its folder stays, after which it is called.
    """
    fields = {name: value for name, value in msgspec.to_builtins(config).items() if name not in _UNRECORDED}
    if fields["names"] is not None:
        fields["names"] = PurePath(fields["names"]).name
    kind, rest = _split(fields["policy"])
    if kind not in ("zoo", "python"):
        path = placed_file(rest)
        named = path.name if path.name != FILE else f"{path.parent.name}/{FILE}".lstrip("/")
        fields["policy"] = f"{kind}:{named}" if kind else named
    return fields


def placed(policy: str) -> str:
    """Return a policy's reference with the full path of its file, as only a run's log may hold it."""
    kind, rest = _split(policy)
    if kind in ("zoo", "python"):
        return policy
    path = str(Path(rest).absolute())
    return f"{kind}:{path}" if kind else path


def found(policy: str) -> bool:
    """Say whether a reference can be followed: its file is there, or it names none."""
    kind, rest = _split(policy)
    return kind in ("zoo", "python") or Path(rest).is_file()


def file_name(policy: str) -> str:
    """Return what a policy is called that a record names, which holds no places."""
    kind, rest = _split(policy)
    if kind == "python":
        return rest.partition(":")[2]
    return rest if kind == "zoo" else name_of_file(PurePath(rest))


def _split(policy: str) -> tuple[str, str]:
    """Split a reference into its kind (empty: a native file) and the rest."""
    kind, colon, rest = policy.partition(":")
    return (kind, rest) if colon and kind in ("zoo", "mmn", "sb3", "python") else ("", policy)


def refuse_empty(config: msgspec.Struct, *names: str) -> None:
    """Raise `OptionError` where one of these options was given without a text."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not value.strip():
            raise OptionError(
                f"--{name.rstrip('_').replace('_', '-')} was given an empty text, as a shell does of a variable that "
                "is not set: say what is meant, or leave the option out."
            )


def require(holds: bool, name: str, rule: str, value: object) -> None:
    """Raise `OptionError` for the option `name` unless its `rule` holds."""
    if not holds:
        raise OptionError(
            f"--{name.replace('_', '-')} must be {rule}, and {value} is not: mend the option or leave it out."
        )
