"""The manifest of a run folder: what was asked, with what it was made, and the hash of every file by stage."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

FORMAT = "moorelens.manifest/1"
MANIFEST = "manifest.json"

# What can change a number in a run folder. Read from the packages' metadata: importing them would cost seconds.
PACKAGES = (
    "moorelens",
    "torch",
    "numpy",
    "gymnasium",
    "ale-py",
    "stable-baselines3",
    "sb3-contrib",
    "scikit-learn",
    "msgspec",
    "graphviz",
    "pygraphviz",
    "jinja2",
    "typst",
    "pillow",
)


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a run is of, and what it was made with.

    `verb` and `identity` (for example policy hash and environment) say whose folder it is; with `versions` and
    `threads` they decide whether a finished stage still holds. `config` and `seeds` are a record for readers: what
    a stage depends on stands in that stage's own config.
    """

    verb: str
    identity: dict[str, str]
    config: dict[str, Any]
    seeds: dict[str, list[int]]
    threads: int
    versions: dict[str, str]


class StageEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One finished stage: its key, the hashes of what it read and wrote, and what a time limit made it leave out.

    `added`: it was made on request after the run, and stays when the run is continued.
    """

    name: str
    key: str
    config: Any
    needs: dict[str, str]
    outputs: dict[str, str]
    left_out: list[str] = []
    added: bool = False


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`manifest.json` is this struct."""

    format: str
    header: Header
    stages: list[StageEntry]

    def entry(self, name: str) -> StageEntry | None:
        """Return the entry of stage `name`, or None where it has not finished."""
        return next((entry for entry in self.stages if entry.name == name), None)

    def files(self) -> dict[str, str]:
        """Return the hash of every file that a stage wrote, by name."""
        return {name: sha for entry in self.stages for name, sha in entry.outputs.items()}


def make_header(
    verb: str,
    *,
    identity: Mapping[str, str],
    config: Mapping[str, Any],
    threads: int,
    seeds: Mapping[str, Sequence[int]] | None = None,
    versions: Mapping[str, str] | None = None,
) -> Header:
    """Describe a run; `versions` defaults to what is installed, `config` must hold no absolute path."""
    return Header(
        verb=verb,
        identity=dict(identity),
        config=dict(config),
        seeds={name: list(values) for name, values in (seeds or {}).items()},
        threads=threads,
        versions=dict(installed_versions() if versions is None else versions),
    )


def installed_versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the version of Python and of each installed package, without importing any."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def encode_manifest(manifest: Manifest) -> bytes:
    """Write a manifest as indented JSON with sorted keys: the same manifest gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n"


def decode_manifest(data: bytes) -> Manifest | None:
    """Read a manifest, or None where the bytes are not one (damaged, truncated or another program's)."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return manifest if manifest.format == FORMAT else None
