"""Text from outside, as it can be shown: on a terminal, in a table, on a page or in a drawing."""

from __future__ import annotations

import html
import re

# What acts on a terminal or a page instead of standing there: control characters, marks that turn the direction of
# writing or stand for nothing, line ends that only some programs know, and what neither XML nor UTF-8 can carry.
_ACTING = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"
    "\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\ufffe\uffff"
    "\U000e0000-\U000e007f"
)
_UNPRINTABLE = re.compile(f"[{_ACTING}]")
_UNPRINTABLE_OR_BREAK = re.compile(f"[{_ACTING}\t\n]")
_SIGN = "\N{REPLACEMENT CHARACTER}"


def printable(text: str) -> str:
    """Return `text` with a sign of replacement for each character that would act instead of being shown.

    Line ends and tabs stay, for texts of several lines; `one_line` is for names. Twice is the same as once.
    """
    return _UNPRINTABLE.sub(_SIGN, text)


def one_line(text: str) -> str:
    """Return `text` as `printable` does, line ends and tabs replaced too."""
    return _UNPRINTABLE_OR_BREAK.sub(_SIGN, text)


def escape(text: str, *, quote: bool = True) -> str:
    """Return `text` as HTML or XML shows it: printable, and never markup."""
    return html.escape(printable(text), quote=quote)
