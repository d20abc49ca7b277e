"""Which episode seeds serve which purpose: fitting, own-state practice, selection and held-out play never share one."""

from __future__ import annotations

from typing import Literal

Role = Literal["fit", "practice", "selection", "held_out"]

_ROLE = {"fit": 0, "practice": 1_000_000, "selection": 2_000_000, "held_out": 3_000_000}
_STRIDE = 10_000_000
_RUNS = 200  # emulators take 31-bit seeds; runs further apart share episodes, which no comparison mixes


def episode_seeds(role: Role, n: int, *, seed: int, first: int = 0) -> tuple[int, ...]:
    """Return `n` episode seeds of a role for the run with `seed`, from the `first`-th on; roles are disjoint."""
    start = (seed % _RUNS) * _STRIDE + _ROLE[role] + first
    return tuple(range(start, start + n))
