"""Keeps stdout for the one document that `--json` promises, whatever a user's own code prints."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO


class _Aside(io.TextIOBase):
    """Stands in for stdout: what is printed goes to stderr, and only documents to the stream it took the place of."""

    def __init__(self, documents: TextIO) -> None:
        self.documents = documents

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def fileno(self) -> int:
        return sys.stderr.fileno()

    def isatty(self) -> bool:
        return sys.stderr.isatty()


@contextlib.contextmanager
def stdout_for_documents(*, own_process: bool) -> Iterator[None]:
    """Send all that is printed to stderr, but for `document_stream()`.

    In a process of our own that holds for its children and for libraries written in C too, by exchanging file
    descriptors; where the caller is somebody's program, only for what Python prints.
    """
    stdout = sys.stdout
    with contextlib.ExitStack() as stack:
        documents = stack.enter_context(_exchanged(stdout)) if own_process else stdout
        stack.enter_context(contextlib.redirect_stdout(_Aside(documents)))
        yield


def document_stream() -> TextIO:
    """Return where a document goes."""
    return sys.stdout.documents if isinstance(sys.stdout, _Aside) else sys.stdout


@contextlib.contextmanager
def _exchanged(stdout: TextIO) -> Iterator[TextIO]:
    """Have the descriptor of `stdout` lead to that of stderr, and return a stream to where it led before."""
    stdout.flush()
    number = stdout.fileno()
    kept = os.dup(number)
    os.dup2(sys.stderr.fileno(), number)
    try:
        with open(kept, "w", encoding="utf-8", errors="replace", closefd=False) as documents:
            yield documents
    finally:
        with contextlib.suppress(OSError):
            stdout.flush()
        os.dup2(kept, number)
        os.close(kept)
