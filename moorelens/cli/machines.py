"""`reduce`, `fold`, `minimize` and `diff`: operations on machine files, each one call and a few lines of result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from moorelens.cli.config import DiffConfig, FoldConfig, MinimizeConfig, ReduceConfig
from moorelens.cli.drawing import write_picture
from moorelens.cli.files import beside, read_any_machine, read_machine, write_result
from moorelens.cli.parsing import Output, parse
from moorelens.cli.printing import plain, print_json
from moorelens.fsm.automata.difference import diff as compare
from moorelens.fsm.automata.difference_formats import difference_document, difference_dot, difference_text
from moorelens.fsm.automata.exact_cover import minimise_exact
from moorelens.fsm.automata.exchange.machine_json import encode_machine
from moorelens.fsm.automata.exchange.reduced_json import encode_reduced
from moorelens.fsm.automata.folding import fold as fold_machine
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.minimised import Minimised
from moorelens.fsm.automata.reduced import ReducedMachine
from moorelens.fsm.automata.reductions import DEFAULT_STEPS, expand
from moorelens.fsm.automata.reductions import reduce as reduce_machine
from moorelens.fsm.automata.strict import minimise_strict


def reduce(arguments: list[str]) -> int:
    """Run `moorelens reduce`."""
    config, output = parse(
        ReduceConfig, arguments, verb="reduce", description="Make a machine smaller to read, without loss."
    )
    steps = (*DEFAULT_STEPS, "bisimulation") if config.bisimulation else DEFAULT_STEPS
    found = reduce_machine(read_machine(config.machine), steps=steps, mode=config.chains)
    out = _write(config.out, beside(config.machine, "-reduced.json"), encode_reduced(found.reduced), config.force)
    document = {
        "file": str(out),
        "history": [
            {"step": size.step, "states": size.states, "symbols": size.symbols, "edges": size.edges}
            for size in found.history
        ],
    }
    lines = [f"{'after':<14}{'states':>8}{'symbols':>9}{'edges':>8}"]
    lines += [f"{size.step:<14}{size.states:>8}{size.symbols:>9}{size.edges:>8}" for size in found.history]
    return _print(document, [*lines, str(out)], output)


def fold(arguments: list[str]) -> int:
    """Run `moorelens fold`."""
    config, output = parse(
        FoldConfig, arguments, verb="fold", description="Fold a machine into fewer states with the same words."
    )
    machine = read_machine(config.machine)
    found = fold_machine(machine, min_evidence=config.min_evidence)
    return _smaller(machine, found, _target(config.out, config.machine, "-folded.json"), config.force, output)


def minimize(arguments: list[str]) -> int:
    """Run `moorelens minimize`."""
    config, output = parse(
        MinimizeConfig, arguments, verb="minimize", description="Merge the states that no recorded word tells apart."
    )
    machine = read_machine(config.machine)
    if config.method == "exact":
        found = minimise_exact(machine, max_states=config.max_states, timeout_s=config.seconds)
    else:
        found = minimise_strict(machine)
    return _smaller(machine, found, _target(config.out, config.machine, "-minimal.json"), config.force, output)


def diff(arguments: list[str]) -> int:
    """Run `moorelens diff`; two machines that differ are a result, not a failure."""
    description = "Say where two machines differ; a reduced one stands for its machine."
    config, output = parse(DiffConfig, arguments, verb="diff", description=description)
    given = [(name, read_any_machine(name)) for name in (config.first, config.second)]
    first, second = (_expanded(machine) for _, machine in given)
    found = compare(first, second, match=None if config.match == "auto" else config.match)
    document = difference_document(found, first, second)
    lines = [difference_text(found, first, second).rstrip()]
    lines += [
        f"The states of {name} are numbered anew: it trimmed or merged some of its machine."
        for name, machine in given
        if isinstance(machine, ReducedMachine) and _lost(machine)
    ]
    if config.out:
        dot = difference_dot(found, first, second, names=_short_names(config.first, config.second))
        out = write_picture(Path(config.out), dot, seconds=config.seconds, force=config.force)
        document["file"] = str(out)
        lines.append(str(out))
    return _print(document, lines, output)


def _short_names(first: str, second: str) -> tuple[str, str]:
    """Return the names of two files: without their folders where that tells them apart."""
    short = Path(first).name, Path(second).name
    return short if short[0] != short[1] else (first, second)


def _expanded(machine: MooreMachine | ReducedMachine) -> MooreMachine:
    return expand(machine) if isinstance(machine, ReducedMachine) else machine


def _lost(reduced: ReducedMachine) -> bool:
    """Return whether a reduced machine has fewer states than the machine it was made of."""
    return len(reduced.members) < len(reduced.state_map)


def _smaller(machine: MooreMachine, found: Minimised, out: Path, force: bool, output: Output) -> int:
    write_result(out, encode_machine(found.machine), force=force)
    document = {
        "file": str(out),
        "method": found.method,
        "before": _sizes(machine),
        "after": _sizes(found.machine),
        "lower_bound": found.lower_bound,
        "proven": found.proven,
        "zero_evidence_merges": found.zero_evidence_merges,
        "gave_up": found.gave_up,
    }
    smallest = "which is minimal" if found.proven else f"no machine with these words has fewer than {found.lower_bound}"
    lines = [f"{machine.n_states} states became {found.machine.n_states}; {smallest}"]
    if found.gave_up:
        lines.append(found.gave_up)
    if found.zero_evidence_merges:
        lines.append(f"{found.zero_evidence_merges} merges rest on no symbol that was seen in both states")
    return _print(document, [*lines, str(out)], output)


def _sizes(machine: MooreMachine) -> dict[str, int]:
    return {
        "states": machine.n_states,
        "symbols": machine.n_symbols,
        "transitions": len(machine.sources),
        "conflicts": machine.n_conflicts,
    }


def _target(out: str | None, machine: str, ending: str) -> Path:
    return Path(out) if out else beside(machine, ending)


def _write(out: str | None, default: Path, data: bytes, force: bool) -> Path:
    return write_result(Path(out) if out else default, data, force=force)


def _print(document: dict[str, Any], lines: list[str], output: Output) -> int:
    if output.json:
        print_json(msgspec.json.encode(document))
    else:
        print(plain("\n".join(lines)))
    return 0
