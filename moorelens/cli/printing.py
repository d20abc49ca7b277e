"""What commands print: progress on stderr, results on stdout."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from moorelens.cli.documents import document_stream
from moorelens.runs.progress import NullProgress, PlainProgress, Progress, RichProgress
from moorelens.text import printable


@contextlib.contextmanager
def open_progress(*, quiet: bool) -> Iterator[Progress]:
    """Open bars on a terminal, plain lines elsewhere, nothing where it should be quiet."""
    if quiet:
        yield NullProgress()
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with RichProgress() as progress:
            yield progress
    else:
        yield PlainProgress()


def print_json(document: bytes) -> None:
    """Print one JSON document, as UTF-8 whatever the terminal's encoding."""
    stream = document_stream()
    stream.flush()
    stream.write(document.decode("utf-8").rstrip("\n") + "\n")
    stream.flush()


def plain(text: str) -> str:
    """Replace the fine typography of reports, and what would act on it, by what every terminal can show."""
    return printable(text).translate({0x202F: " ", 0x2212: "-", 0x2013: "-", 0xA0: " "})
