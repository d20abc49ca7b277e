"""Where the bundled policies lie."""

from __future__ import annotations

from pathlib import Path

from moorelens.errors import PolicyError

_FOLDER = Path(__file__).parent


def zoo_names() -> list[str]:
    """Return the names of the bundled policies in alphabetical order."""
    return sorted(path.stem for path in _FOLDER.glob("*.safetensors"))


def zoo_file(name: str) -> Path:
    """Return the weights file of a bundled policy; raises `PolicyError` for a name that is not bundled."""
    if name not in zoo_names():
        raise PolicyError(
            f"A zoo policy is one of {', '.join(zoo_names()) or 'none yet'}, and {name!r} is not: see `moorelens zoo "
            f"list`."
        )
    return _FOLDER / f"{name}.safetensors"
