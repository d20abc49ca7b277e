"""networkx graphs and GraphML: every transition an edge, all numbers kept."""

from __future__ import annotations

import io
from typing import Any

from moorelens.errors import MachineFileError, MissingToolError, RequestError
from moorelens.fsm.automata.exchange.documents import ORIGINS
from moorelens.fsm.automata.exchange.names import state_name, symbol_name
from moorelens.fsm.automata.exchange.plain import facts_of, rebuild, state_codes_of
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.matching import action_name
from moorelens.text import one_line

FORMAT = "moorelens.graph/1"


def to_networkx(machine: MooreMachine) -> Any:
    """Return a `networkx.MultiDiGraph`: nodes are state ids, each transition is an edge with its symbol and count.

    Raises MissingToolError where networkx is not installed.
    """
    networkx = _networkx()
    codes = state_codes_of(machine)
    graph = networkx.MultiDiGraph(format=FORMAT, facts=facts_of(machine))
    for state in range(len(machine.actions)):
        graph.add_node(
            state,
            name=state_name(state),
            label=one_line(f"{state_name(state)}: {action_name(machine, state)}"),  # the names are in `facts`
            action=int(machine.actions[state]),
            code=codes[state],
            visits=int(machine.visits[state]),
            terminals=int(machine.terminals[state]),
            truncations=int(machine.truncations[state]),
        )
    columns = (machine.sources, machine.symbols, machine.targets, machine.counts, machine.origins)
    for source, symbol, target, count, origin in zip(*(c.tolist() for c in columns), strict=True):
        graph.add_edge(source, target, symbol=symbol, label=symbol_name(symbol), count=count, origin=ORIGINS[origin])
    return graph


def from_networkx(graph: Any) -> MooreMachine:
    """Return the machine of a graph that `to_networkx` made; MachineFileError for any other graph."""
    try:
        return _machine(graph)
    except (RequestError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as problem:
        raise MachineFileError(
            f"A graph can be read back if MooreLens made it, but this one cannot ({problem!r:.120}); read the "
            "machine.json it was made from."
        ) from None


def to_graphml(machine: MooreMachine) -> bytes:
    """Write `machine` as GraphML; MissingToolError where networkx is not installed."""
    buffer = io.BytesIO()
    _networkx().write_graphml_xml(to_networkx(machine), buffer, encoding="utf-8", prettyprint=True)
    return buffer.getvalue()


def from_graphml(data: bytes) -> MooreMachine:
    """Read what `to_graphml` wrote; MachineFileError for GraphML of any other origin."""
    networkx = _networkx()
    try:
        graph = networkx.parse_graphml(data.decode("utf-8"), node_type=int, force_multigraph=True)
    except Exception as problem:  # The parser raises whatever its input makes it stumble over.
        raise MachineFileError(
            f"A GraphML file must be XML that MooreLens wrote, but {type(problem).__name__}: {problem!s:.80}; it is "
            "cut short or another kind of file."
        ) from None
    return from_networkx(graph)


def _networkx() -> Any:
    try:
        import networkx
    except ImportError:
        raise MissingToolError("Graphs need networkx, which is not installed; run pip install networkx.") from None
    return networkx


def _machine(graph: Any) -> MooreMachine:
    if graph.graph["format"] != FORMAT:
        raise ValueError(f"its format is {graph.graph['format']!r}")
    nodes = [graph.nodes[s] for s in range(len(graph))]
    return rebuild(
        graph.graph["facts"],
        codes=[n["code"] for n in nodes],
        numbers=[[n[name] for name in ("action", "visits", "terminals", "truncations")] for n in nodes],
        transitions=((s, e["symbol"], t, e["count"], e["origin"]) for s, t, e in graph.edges(data=True)),
    )
