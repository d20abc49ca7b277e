"""What a notebook shows of a machine: its drawing if that takes two seconds at most, else a table."""

from __future__ import annotations

import numpy as np

from moorelens.errors import MooreLensError
from moorelens.fsm.automata.exchange.dot import to_dot
from moorelens.fsm.automata.exchange.names import state_name
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.matching import action_name
from moorelens.graphviz import render
from moorelens.text import escape

BUDGET_S = 2.0
# Layouts of more states than this do not finish within the budget.
MAX_STATES = 150
ROWS = 20


def mimebundle(machine: MooreMachine) -> dict[str, str]:
    """Return what Jupyter displays: SVG, or an HTML table where there is no Graphviz or the layout takes too long."""
    bundle = {"text/plain": repr(machine)}
    if machine.n_states <= MAX_STATES:
        try:
            dot = to_dot(machine, labels=machine.n_states <= 40, data=False)
            return {**bundle, "image/svg+xml": render(dot, format="svg", timeout_s=BUDGET_S).decode("utf-8")}
        except MooreLensError:
            pass  # No Graphviz, or too slow: the table says as much in words.
    return {**bundle, "text/html": table(machine)}


def table(machine: MooreMachine) -> str:
    """Return an HTML table of the most visited states with their actions and most frequent successors."""
    order = [s for s in np.lexsort((np.arange(len(machine.actions)), -machine.visits)).tolist() if s != machine.start]
    rows = "".join(
        f"<tr><td>{state_name(s)}</td><td>{escape(action_name(machine, s))}</td><td>{machine.visits[s]}</td>"
        f"<td>{escape(_successors(machine, s))}</td></tr>"
        for s in order[:ROWS]
    )
    rest = f"<p>{len(order) - ROWS} more states</p>" if len(order) > ROWS else ""
    head = "<tr><th>state</th><th>action</th><th>visits</th><th>leads to</th></tr>"
    return f"<p>{escape(repr(machine))}</p><table>{head}{rows}</table>{rest}"


def _successors(machine: MooreMachine, state: int) -> str:
    leaving = machine.sources == state
    counts: dict[int, int] = {}
    for target, count in zip(machine.targets[leaving].tolist(), machine.counts[leaving].tolist(), strict=True):
        counts[target] = counts.get(target, 0) + count
    ranked = sorted(counts.items(), key=lambda end: (-end[1], end[0]))
    return ", ".join(f"{state_name(t)} x{count}" for t, count in ranked[:4]) + (", ..." if len(ranked) > 4 else "")
