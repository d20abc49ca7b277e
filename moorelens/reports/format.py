"""Numbers as a reader wants them: few digits, a true minus sign, "not measured" where nothing was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

from moorelens.text import printable as printable

MISSING = "not measured"
MEMORYLESS, NO_MEMORY = "NONE", "no memory"  # the cell of a policy that remembers nothing, and how it is called
MINUS = "\u2212"


def number(value: float | None, *, digits: int = 1) -> str:
    """Return a number with `digits` decimals, more of them below one: `500`, `487.4`, `8.3`, `−0.52`, `0.0041`."""
    if value is None:
        return MISSING
    if value == round(value) and abs(value) < 1e6:
        return f"{value:,.0f}".replace(",", "\u202f").replace("-", MINUS)
    if abs(value) >= 1e6 or abs(value) < 1e-3:
        return f"{value:.2e}".replace("-", MINUS)
    decimals = max(digits, 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(decimals, 4)}f}".replace(",", "\u202f").replace("-", MINUS)


def feature(value: float) -> str:
    """Return a feature value with three significant digits, at most four decimals, no powers of ten: `−0.0042`."""
    decimals = 0 if value == 0 else min(max(2 - math.floor(math.log10(abs(value))), 0), 4)
    rounded = round(value, decimals)
    return f"{rounded + 0.0:,.{decimals if rounded else 0}f}".replace(",", "\u202f").replace("-", MINUS)


def signed(value: float | None) -> str:
    """Return a number with its sign, `+0.12` or `−0.12`; zero has none."""
    if value is None:
        return MISSING
    return f"+{number(value)}" if value > 0 else number(value)


def share(value: float | None) -> str:
    """Return a share in 0..1 as a percentage that reads 0 % or 100 % only where it is exactly that."""
    if value is None:
        return MISSING
    percent = 100 * value
    if 0 < abs(percent) < 0.1:
        return f"{MINUS if percent < 0 else ''}<0.1\u202f%"
    if 99 < percent < 100:
        return f"{min(math.floor(percent * 100) / 100, 99.99):g}\u202f%"
    if percent in (0, 100):
        return f"{percent:.0f}\u202f%"
    return f"{percent:.1f}\u202f%".replace("-", MINUS)


def count(value: float | None) -> str:
    """Return a whole number with thin spaces between thousands."""
    return MISSING if value is None else f"{value:,.0f}".replace(",", "\u202f").replace("-", MINUS)


def span(low: float | None, high: float | None, *, as_share: bool = False) -> str:
    """Return an interval as `481.2 to 499.0`, or a dash where one value says nothing about its spread."""
    if low is None or high is None:
        return "\u2013"
    if as_share:
        return f"{share(low)} to {share(high)}"
    if 0 < min(abs(low), abs(high)) < 1 <= max(abs(low), abs(high)):
        # Both ends with the decimals of the larger one: "0.8 to 35.7".
        return f"{low:.1f} to {high:.1f}".replace("-", MINUS)
    return f"{number(low)} to {number(high)}"


def times(value: int) -> str:
    """Return `once`, `twice`, `17 times`."""
    return {1: "once", 2: "twice"}.get(value, f"{count(value)} times")


def plural(value: float, noun: str, several: str | None = None) -> str:
    """Return `1 state`, `3 states`, `2 policies`."""
    return f"{count(value)} {noun if value == 1 else several or noun + 's'}"


def listed(words: Sequence[str], *, last: str = "and") -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def seed_range(seeds: Sequence[int]) -> str:
    """Return how many seeds there are and which, runs of neighbours shortened: `6 (0–3, 8, 9)`; four runs at most."""
    if not seeds:
        return "none"
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    words = [f"{run[0]}\u2013{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    shown = ", ".join(words[:4]) + (", \u2026" if len(words) > 4 else "")
    return f"{count(len(seeds))} ({shown})"
