"""DOT: a plain drawing of a machine that also holds all of it, so that it can be read back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from moorelens.errors import MachineFileError, RequestError
from moorelens.fsm.automata.decisions import decision_points
from moorelens.fsm.automata.exchange.dot_text import attributes
from moorelens.fsm.automata.exchange.machine_json import edge_rows
from moorelens.fsm.automata.exchange.names import state_name, symbol_name
from moorelens.fsm.automata.exchange.plain import facts_of, rebuild, state_codes_of
from moorelens.fsm.automata.machine import BOT, MooreMachine
from moorelens.fsm.automata.structure import conflict_flags

# Labels list this many symbols and count the rest: longer ones make the layout slow and no clearer.
LISTED = 3
_ATTRIBUTE = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_NODE = re.compile(r'^  "s(\d+)" \[(.*)\];$')
_EDGE = re.compile(r'^  "s(\d+)" -> "s(\d+)" \[(.*)\];$')
_GRAPH = re.compile(r"^  graph \[(.*)\];$")


def to_dot(machine: MooreMachine, *, labels: bool = True, data: bool = True) -> str:
    """Write `machine` as a DOT graph: states with their action and visits, edges with symbols, width log(1 + count).

    Decision points have a double border, conflicts dashed edges, transitions only asked of the network dotted ones.
    With `data`, attributes that Graphviz ignores hold the rest, and `from_dot` reads it back. The designed drawing of
    reports is `moorelens.fsm.drawing`.
    """
    decisions = {p.state for p in decision_points(machine)}
    lines = ["digraph machine {", f"  graph [{_graph_attributes(machine, data=data)}];"]
    lines.append('  node [shape="box", style="rounded", fontname="sans"];')
    codes = state_codes_of(machine)
    for state in range(len(machine.actions)):
        drawn = {"label": _state_label(machine, state), "peripheries": "2" if state in decisions else "1"}
        if state == machine.start:
            drawn = {"label": "", "shape": "point"}
        if data:
            drawn |= {"code": codes[state], "facts": _state_facts(machine, state)}
        lines.append(f'  "{state_name(state)}" [{attributes(**drawn)}];')
    return "\n".join([*lines, *_edge_lines(machine, labels=labels, data=data), "}"]) + "\n"


def from_dot(text: str) -> MooreMachine:
    """Read what `to_dot` wrote; MachineFileError for DOT of any other origin."""
    graph: dict[str, str] = {}
    states: dict[int, dict[str, str]] = {}
    edges: list[tuple[int, int, dict[str, str]]] = []
    try:
        for line in text.split("\n"):
            if found := _EDGE.match(line):
                edges.append((int(found[1]), int(found[2]), _read_attributes(found[3])))
            elif found := _NODE.match(line):
                states[int(found[1])] = _read_attributes(found[2])
            elif found := _GRAPH.match(line):
                graph = _read_attributes(found[1])
        return _machine(unquote(graph["moorelens"]), states, edges)
    except (RequestError, ValueError, LookupError, TypeError, OverflowError, RecursionError) as problem:
        raise MachineFileError(
            f"A DOT file can be read back if MooreLens wrote it with its data, but this one cannot ({problem!r:.120}); "
            "read the machine.json it was made from."
        ) from None


def _graph_attributes(machine: MooreMachine, *, data: bool) -> str:
    drawn = {"rankdir": "LR"}
    if not data:
        return attributes(**drawn)
    return attributes(**drawn, moorelens=quote(facts_of(machine)))


def _state_label(machine: MooreMachine, state: int) -> str:
    action = int(machine.actions[state])
    name = "any" if action == BOT else machine.action_names[action]
    return f"{state_name(state)}: {name} x{machine.visits[state]}"


def _state_facts(machine: MooreMachine, state: int) -> str:
    numbers = (machine.actions[state], machine.visits[state], machine.terminals[state], machine.truncations[state])
    return " ".join(str(int(n)) for n in numbers)


def _edge_lines(machine: MooreMachine, *, labels: bool, data: bool) -> list[str]:
    flags = conflict_flags(machine)
    stochastic = set(zip(machine.sources[flags].tolist(), machine.targets[flags].tolist(), strict=True))
    lines = []
    for row in edge_rows(machine):
        style = "dotted" if row.origin == "network" else "dashed" if (row.src, row.dst) in stochastic else "solid"
        drawn = {"penwidth": f"{1 + math.log1p(sum(row.symbols.values())) / 2:.2f}", "style": style}
        if labels:
            drawn["label"] = _edge_label(row.symbols)
        if data:
            drawn["symbols"] = " ".join(f"{symbol}:{count}" for symbol, count in row.symbols.items())
            drawn["origin"] = row.origin
        lines.append(f'  "{state_name(row.src)}" -> "{state_name(row.dst)}" [{attributes(**drawn)}];')
    return lines


def _edge_label(symbols: Mapping[int, int]) -> str:
    ranked = sorted(symbols, key=lambda symbol: (-symbols[symbol], symbol))
    more = f" +{len(ranked) - LISTED}" if len(ranked) > LISTED else ""
    return " ".join(symbol_name(symbol) for symbol in sorted(ranked[:LISTED])) + more


def _read_attributes(text: str) -> dict[str, str]:
    return dict(_ATTRIBUTE.findall(text))


def _machine(
    facts: str, states: dict[int, dict[str, str]], edges: list[tuple[int, int, dict[str, str]]]
) -> MooreMachine:
    rows = [states[s] for s in range(len(states))]
    return rebuild(
        facts,
        codes=[row["code"] for row in rows],
        numbers=[[int(n) for n in row["facts"].split()] for row in rows],
        transitions=[
            (source, int(symbol), target, int(count), row["origin"])
            for source, target, row in edges
            for symbol, count in (label.split(":") for label in row["symbols"].split())
        ],
    )
