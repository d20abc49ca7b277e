"""Lays out a DOT graph with pygraphviz: a program of its own, because a layout cannot be interrupted.

Run by `moorelens.graphviz` as `python -P _layout.py FORMAT SECONDS` with the DOT text on stdin. Exit codes: 0 done, 3
no usable pygraphviz, 4 the graph was refused.
"""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    """Render stdin to stdout."""
    image_format, seconds = arguments[0], int(arguments[1])
    _limit_processor_time(seconds)
    source = sys.stdin.buffer.read().decode("utf-8")
    try:
        import pygraphviz
    except ImportError as error:
        print(error, file=sys.stderr)
        return 3
    try:
        image = pygraphviz.AGraph(string=source).draw(format=image_format, prog="dot")
    except Exception as error:  # whatever Graphviz says goes to the caller
        print(error, file=sys.stderr)
        return 4
    sys.stdout.buffer.write(image)
    return 0


def _limit_processor_time(seconds: int) -> None:
    # The caller kills this process when the time is up; a caller that was killed itself cannot.
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
