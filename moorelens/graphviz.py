"""Draws DOT text with whatever Graphviz there is, in a process that can be stopped; makes foreign text safe for it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

from moorelens.errors import InvariantError, LayoutTimeout, MissingToolError
from moorelens.text import printable

Format = Literal["svg", "pdf", "png"]

_LAYOUT = Path(__file__).with_name("_layout.py")
_NO_PYGRAPHVIZ = 3
# What XML cannot hold (an SVG would not open), and halves of surrogate pairs, which no encoding can write.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Route:
    """What draws: the pygraphviz package with Graphviz inside, or a `dot` program at `path`."""

    kind: Literal["pygraphviz", "dot"]
    path: str | None = None
    version: str | None = None


def routes() -> tuple[Route, ...]:
    """Return what can draw here, in the order in which it is tried: pygraphviz, `MOORELENS_DOT`, `dot` on the PATH."""
    found: list[Route] = []
    if importlib.util.find_spec("pygraphviz") is not None:
        found.append(Route(kind="pygraphviz", version=importlib.metadata.version("pygraphviz")))
    program = os.environ.get("MOORELENS_DOT") or shutil.which("dot")
    if program:
        found.append(Route(kind="dot", path=program))
    return tuple(found)


def render(dot: str, *, format: Format = "svg", timeout_s: float = 20.0) -> bytes:
    """Return the picture of DOT text, laid out by `dot` in a process that is stopped after `timeout_s` seconds.

    Raises: MissingToolError where there is no Graphviz, LayoutTimeout where the layout takes too long, InvariantError
    where Graphviz refuses the text.
    """
    for route in routes():
        code, image, message = _run(_command(route, format, timeout_s), dot, timeout_s)
        if code == 0 and image:
            return image
        if not (route.kind == "pygraphviz" and code == _NO_PYGRAPHVIZ):
            raise InvariantError(
                f"Graphviz draws every machine, and it refused this one ({message}): please report it."
            )
    raise MissingToolError(
        "A drawing needs Graphviz, and there is none here: `pip install pygraphviz` brings it along "
        "(or install your system's graphviz package), then `moorelens doctor` shows what is found."
    )


def escape(text: str) -> str:
    """Make foreign text safe as a value in the `graphviz` package's builders: shown as it is, never as markup.

    Use the result as it comes: joined to other text it loses the mark that says so.
    """
    import graphviz

    safe: str = graphviz.escape(printable(text).replace("&", "&amp;"))
    return safe


def _command(route: Route, image_format: Format, timeout_s: float) -> list[str]:
    if route.kind == "dot":
        return [str(route.path), f"-T{image_format}"]
    # -P: neither this folder's modules nor the working directory's may stand in for the libraries'.
    return [sys.executable, "-P", str(_LAYOUT), image_format, str(math.ceil(timeout_s) + 1)]


def _run(command: list[str], dot: str, timeout_s: float) -> tuple[int, bytes, str]:
    try:
        done = subprocess.run(command, input=dot.encode(), capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise LayoutTimeout(
            f"A drawing may take {timeout_s:g} s, and this one takes longer because the graph is large or dense: "
            "draw fewer states or no edge labels."
        ) from error
    except OSError as error:
        raise MissingToolError(
            f"A drawing needs Graphviz, and {command[0]} cannot be run ({error.strerror}): mend MOORELENS_DOT or the "
            "PATH, "
            "or `pip install pygraphviz`."
        ) from error
    lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    return done.returncode, done.stdout, lines[-1].strip() if lines else f"exit code {done.returncode}"
