"""Writing DOT by hand: quoting that no name can break out of."""

from __future__ import annotations

from moorelens.text import one_line


def quoted(text: str) -> str:
    """Return `text` as a DOT string that is drawn as it is: no escape, entity or markup in it is read as such."""
    return '"' + one_line(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"') + '"'


def attributes(**values: str) -> str:
    """Return DOT attributes: `label="left", color="gray50"`."""
    return ", ".join(f"{name}={quoted(value)}" for name, value in values.items())
