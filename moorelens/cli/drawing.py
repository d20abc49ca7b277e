"""`draw`: a machine file as a picture, with what the picture leaves out said below it."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from moorelens import graphviz
from moorelens.cli.config import DrawConfig
from moorelens.cli.files import beside, read_any_machine, write_result
from moorelens.cli.parsing import parse
from moorelens.cli.printing import print_json
from moorelens.errors import MissingToolError
from moorelens.fsm.automata.reduced import ReducedMachine
from moorelens.fsm.drawing import Drawing, draw_machine, draw_reduced

_FORMATS = ("svg", "pdf", "png", "dot")


def draw(arguments: list[str]) -> int:
    """Run `moorelens draw`."""
    config, output = parse(DrawConfig, arguments, verb="draw", description="Draw a machine file.")
    drawing = _drawing(config)
    out = _target(config)
    data = _picture(config, drawing, out)
    write_result(out, data, force=config.force)
    if output.json:
        print_json(msgspec.json.encode({"file": str(out), "detail": drawing.detail, "caption": drawing.caption}))
    else:
        print(drawing.caption, file=sys.stderr)
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


def _picture(config: DrawConfig, drawing: Drawing, out: Path) -> bytes:
    ending = out.suffix.removeprefix(".").lower()
    image_format = ending if ending in _FORMATS else config.format
    if image_format == "dot":
        return drawing.dot.encode()
    try:
        return graphviz.render(drawing.dot, format=image_format, timeout_s=config.seconds)  # type: ignore[arg-type]
    except MissingToolError as error:
        dot = write_result(out.with_suffix(".dot"), drawing.dot.encode(), force=config.force)
        raise MissingToolError(f"{error} The drawing was saved as {dot}, which any Graphviz can lay out.") from error
