"""Writing DOT by hand: quoting that no name can break out of."""

from __future__ import annotations

import re

# What XML cannot hold would make the SVG unreadable, and a line break would end up inside a name.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def quoted(text: str) -> str:
    """Return `text` as a DOT string that is drawn as it is: no escape, entity or markup in it is read as such."""
    plain = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
    return '"' + plain.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"') + '"'


def attributes(**values: str) -> str:
    """Return DOT attributes: `label="left", color="gray50"`."""
    return ", ".join(f"{name}={quoted(value)}" for name, value in values.items())
