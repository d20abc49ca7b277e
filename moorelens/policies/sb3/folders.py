"""Folders as rl-zoo3 leaves them on disk: which file is the policy, and what its training was told in plain text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from moorelens.errors import PolicyError


@dataclass(frozen=True, kw_only=True)
class Source:
    """A policy file and the settings of its training that stand beside it as text, empty where there are none."""

    file: Path
    settings: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def env(self) -> str | None:
        """The environment of the training."""
        return self.settings.get("env")


def find_policy(path: Path) -> Source:
    """Return the policy file that `path` means: itself, itself with `.zip`, or the one in an rl-zoo3 folder.

    Of a folder it is `<env>.zip`, the end of the training, which rl-zoo3 plays too, else `best_model.zip`. Raises
    `PolicyError` where there is none.
    """
    if path.is_dir():
        return _in_folder(path)
    if not path.exists() and path.with_name(f"{path.name}.zip").is_file():
        path = path.with_name(f"{path.name}.zip")
    settings = _settings(path.parent, path.stem)
    return Source(file=path, settings=settings)


def _in_folder(folder: Path) -> Source:
    zips = sorted(folder.glob("*.zip"))
    named = [path for path in zips if (folder / path.stem).is_dir()]
    best = [path for path in zips if path.name == "best_model.zip"]
    chosen = named or best or (zips if len(zips) == 1 else [])
    if not chosen:
        what = "none" if not zips else f"{len(zips)} of them, none of them named like its environment or best_model.zip"
        raise PolicyError(
            f"A folder of a training holds one policy as a zip, and {str(folder)!r} holds {what}: name the file, "
            "sb3:FOLDER/FILE.zip."
        )
    return find_policy(chosen[0])


def _settings(folder: Path, stem: str) -> dict[str, str | None]:
    """Return the settings in `<env>/config.yml` and `<env>/args.yml`, of which the latter wins."""
    found: dict[str, str | None] = {}
    own = folder / stem
    places = [own] if (own / "args.yml").is_file() else sorted(path.parent for path in folder.glob("*/args.yml"))
    if len(places) == 1:
        for name in ("config.yml", "args.yml"):
            found |= _pairs(places[0] / name)
    return found


def _pairs(path: Path) -> dict[str, str | None]:
    """Read the names and single values of a YAML list of pairs; nested values are given as `...`, tags are ignored.

    rl-zoo3 writes an ordered dictionary with a tag that lets other readers run code; here it is text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    found: dict[str, str | None] = {}
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        key = re.fullmatch(r"(?:- |  )- - ([\w-]+)", line)
        value = re.fullmatch(r"    - (.*)", after)
        if key and value:
            found[key[1]] = _scalar(value[1].strip())
    return found


def _scalar(text: str) -> str | None:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].replace("''", "'")
    if text.startswith(("- ", "!!", "&", "[", "{")):
        return "..."
    return None if text in ("null", "~", "") else text
