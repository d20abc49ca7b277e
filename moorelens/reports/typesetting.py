"""Sets a printed page with Typst: the same bytes for the same files, no date, tagged for screen readers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module, resources
from importlib.util import find_spec
from typing import Any

from moorelens.errors import InvariantError, MissingToolError
from moorelens.reports.format import printable

# Seconds since 1970 of 2000-01-01: a report is a pure function of its data, so it carries no date of its own.
_TIMESTAMP = 946_684_800
_COMMON = "common.typ"
# What Typst says where a tagged PDF would hold a letter that no font can show.
_UNSHOWN = "could not be displayed"

Files = dict[str, bytes]


def typeset(template: str, content: Mapping[str, Any], files: Files) -> bytes:
    """Return the PDF that `template` makes of `content`, which reads the drawings among `files` by name.

    All strings reach Typst as data, never as markup. The file is tagged for screen readers (PDF/UA-1), except where a
    name has letters that no font here can show. Raises MissingToolError where Typst is not installed.
    """
    if find_spec("typst") is None:
        raise MissingToolError(
            "A PDF report needs Typst, and it is not installed here: `pip install typst` brings it; report.html has "
            "the same content."
        )
    typst: Any = import_module("typst")
    folder = resources.files("moorelens.reports")
    text = json.dumps(made_printable(content), ensure_ascii=False, sort_keys=True)
    everything = {
        **files,
        "page.json": text.encode("utf-8"),
        _COMMON: (folder / "templates" / _COMMON).read_bytes(),
        "main.typ": (folder / "templates" / template).read_bytes(),
    }
    with resources.as_file(folder / "assets" / "fonts") as fonts:
        options = {
            "format": "pdf",
            "font_paths": [str(fonts)],
            "ignore_system_fonts": not _is_foreign(text),
            "timestamp": _TIMESTAMP,
        }
        try:
            return bytes(typst.compile(everything, pdf_standards=["ua-1"], **options))
        except typst.TypstError as error:
            if _UNSHOWN not in str(error):
                raise _refused(error) from error
        try:
            return bytes(typst.compile(everything, **options))
        except typst.TypstError as error:
            raise _refused(error) from error


def made_printable(content: Any) -> Any:
    """Return `content` with every string made printable; file names are, and stay as they are."""
    if isinstance(content, str):
        return printable(content)
    if isinstance(content, Mapping):
        return {key: made_printable(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [made_printable(value) for value in content]
    return content


def _is_foreign(text: str) -> bool:
    """Return whether `text` has letters beyond the shipped fonts: then the fonts of this machine may help out."""
    return any(ord(letter) > 0x2FFF or 0x0590 <= ord(letter) < 0x1E00 for letter in text)


def _refused(error: Exception) -> InvariantError:
    return InvariantError(f"Typst sets every report, and it refused this one ({error}): please report it.")
