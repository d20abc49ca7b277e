"""Names of states and symbols in foreign formats, and the order in which people read them."""

from __future__ import annotations

import re


def state_name(state: int) -> str:
    """Return the name of a state: "s12"."""
    return f"s{state}"


def symbol_name(symbol: int) -> str:
    """Return the name of a symbol: "o_12"."""
    return f"o_{symbol}"


def natural_key(name: str) -> tuple[tuple[bool, int, str], ...]:
    """Sort key under which o_2 comes before o_10: runs of digits compare as numbers."""
    parts = re.split(r"([0-9]+)", name)
    # Between two words stands a number: a longer one, without leading zeros, is larger.
    numbers = [(i % 2 == 1, part.lstrip("0") if i % 2 else part) for i, part in enumerate(parts)]
    return tuple((number, len(part) if number else 0, part) for number, part in numbers)
