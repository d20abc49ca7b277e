"""`draw`: a machine file as a picture, with what the picture leaves out said below it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import msgspec

from moorelens import graphviz
from moorelens.cli.config import DrawConfig
from moorelens.cli.files import beside, read_any_machine, write_result
from moorelens.cli.parsing import parse
from moorelens.cli.printing import plain, print_json
from moorelens.errors import MissingToolError, OptionError
from moorelens.fsm.automata.reduced import ReducedMachine
from moorelens.fsm.drawing import Drawing, draw_machine, draw_reduced

Format = Literal["svg", "pdf", "png", "dot"]
_FORMATS: tuple[Format, ...] = ("svg", "pdf", "png", "dot")


def draw(arguments: list[str]) -> int:
    """Run `moorelens draw`."""
    config, output = parse(DrawConfig, arguments, verb="draw", description="Draw a machine file.")
    drawing = _drawing(config)
    out = _target(config)
    write_picture(out, drawing.dot, default=config.format, seconds=config.seconds, force=config.force)
    if output.json:
        print_json(msgspec.json.encode({"file": str(out), "detail": drawing.detail, "caption": drawing.caption}))
    else:
        print(plain(drawing.caption), file=sys.stderr)
        print(out)
    return 0


def _drawing(config: DrawConfig) -> Drawing:
    machine = read_any_machine(config.machine)
    detail = None if config.detail == "auto" else config.detail
    if isinstance(machine, ReducedMachine):
        return draw_reduced(machine, detail=detail, horizontal=config.horizontal)
    return draw_machine(machine, detail=detail, horizontal=config.horizontal)


def _target(config: DrawConfig) -> Path:
    return Path(config.out) if config.out else beside(config.machine, f".{config.format}")


def write_picture(out: Path, dot: str, *, seconds: float, force: bool, default: Format = "svg") -> Path:
    """Write DOT text as the kind of picture that the ending of `out` names, or as `default` where it has none.

    Raises: OptionError for an ending that is no such kind; MissingToolError where nothing can draw, after saving the
    text; LayoutTimeout; what `write_result` raises.
    """
    ending = out.suffix.removeprefix(".").lower()
    image_format: Format | None = next((known for known in _FORMATS if known == ending), None if ending else default)
    if image_format is None:
        raise OptionError(f"A picture ends in .{', .'.join(_FORMATS)}, and {out} does not: give --out another ending.")
    if image_format == "dot":
        return write_result(out, dot.encode(), force=force)
    try:
        return write_result(out, graphviz.render(dot, format=image_format, timeout_s=seconds), force=force)
    except MissingToolError as error:
        saved = write_result(out.with_suffix(".dot"), dot.encode(), force=force)
        raise MissingToolError(f"{error} The drawing was saved as {saved}, which any Graphviz can lay out.") from error
