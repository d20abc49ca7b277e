"""Where the bundled policies lie."""

from __future__ import annotations

import difflib
from pathlib import Path

from moorelens.errors import PolicyError

_FOLDER = Path(__file__).parent


def zoo_names() -> list[str]:
    """Return the names of the bundled policies in alphabetical order."""
    return sorted(path.stem for path in _FOLDER.glob("*.safetensors"))


def zoo_file(name: str) -> Path:
    """Return the weights file of a bundled policy; raises `PolicyError` for a name that is not bundled."""
    return _FOLDER / f"{_checked(name)}.safetensors"


def card_file(name: str) -> Path:
    """Return the card of a bundled policy; raises `PolicyError` for a name that is not bundled."""
    return _FOLDER / f"{_checked(name)}.json"


def _checked(name: str) -> str:
    if name not in zoo_names():
        near = difflib.get_close_matches(name, zoo_names(), n=1)
        hint = f"did you mean zoo:{near[0]}?" if near else "see `moorelens zoo list`."
        raise PolicyError(f"A zoo policy is one of {', '.join(zoo_names())}, and {name!r} is not: {hint}")
    return name
