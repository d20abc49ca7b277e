"""`export`: a machine file in the format of another tool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from moorelens.cli.config import ExportConfig
from moorelens.cli.files import beside, read_machine, write_result
from moorelens.cli.parsing import parse
from moorelens.cli.printing import print_json
from moorelens.fsm.automata.exchange.aalpy import to_state_setup
from moorelens.fsm.automata.exchange.dot import to_dot
from moorelens.fsm.automata.exchange.graphs import to_graphml
from moorelens.fsm.automata.exchange.texts import to_kiss2, to_mermaid, to_prism
from moorelens.fsm.automata.machine import MooreMachine


def _aalpy(machine: MooreMachine) -> bytes:
    return msgspec.json.format(msgspec.json.encode(to_state_setup(machine)), indent=1) + b"\n"


# Format: ending of the file, and what writes it.
_WRITERS: dict[str, tuple[str, Callable[[MooreMachine], str | bytes]]] = {
    "dot": (".dot", to_dot),
    "mermaid": (".mmd", to_mermaid),
    "graphml": (".graphml", to_graphml),
    "kiss2": (".kiss2", to_kiss2),
    "prism": (".prism", to_prism),
    "aalpy": ("-aalpy.json", _aalpy),
}


def export(arguments: list[str]) -> int:
    """Run `moorelens export`."""
    config, output = parse(ExportConfig, arguments, verb="export", description="Write a machine for another tool.")
    ending, write = _WRITERS[config.format]
    written = write(read_machine(config.machine))
    data = written.encode() if isinstance(written, str) else written
    out = Path(config.out) if config.out else beside(config.machine, ending)
    write_result(out, data, force=config.force)
    if output.json:
        print_json(msgspec.json.encode({"file": str(out), "format": config.format}))
    else:
        print(out)
    return 0
