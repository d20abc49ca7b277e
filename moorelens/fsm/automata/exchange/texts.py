"""Write-only text formats: Mermaid for web pages, KISS2 for state minimisers, PRISM for model checkers."""

from __future__ import annotations

import re

from moorelens.errors import RequestError
from moorelens.fsm.automata.exchange.machine_json import edge_rows
from moorelens.fsm.automata.exchange.names import state_name, symbol_name
from moorelens.fsm.automata.machine import BOT, MooreMachine
from moorelens.fsm.automata.matching import action_name

LISTED = 3


def to_mermaid(machine: MooreMachine) -> str:
    """Write `machine` as a Mermaid state diagram: "id: action xk", at most three symbols on an edge."""
    lines = ["stateDiagram-v2", "    direction LR"]
    for state in range(len(machine.actions)):
        if state != machine.start:
            name = _plain(action_name(machine, state))
            lines.append(f"    {state_name(state)}: {state_name(state)} {name} x{machine.visits[state]}")
    for row in edge_rows(machine):
        ranked = sorted(row.symbols, key=lambda symbol: (-row.symbols[symbol], symbol))
        more = f" +{len(ranked) - LISTED}" if len(ranked) > LISTED else ""
        tail = "[*]" if row.src == machine.start else state_name(row.src)
        text = " ".join(symbol_name(symbol) for symbol in sorted(ranked[:LISTED])) + more
        lines.append(f"    {tail} --> {state_name(row.dst)}: {text}")
    return "\n".join(lines) + "\n"


def to_kiss2(machine: MooreMachine) -> str:
    """Write `machine` as an incompletely specified Mealy machine in KISS2.

    The output of a step is the action of the state it reaches. Symbols and actions are numbered in binary. What is
    undefined is left out, an action of BOT is all dashes. Raises RequestError where the machine has a conflict.
    """
    if machine.n_conflicts:
        raise RequestError(
            f"KISS2 machines are deterministic, but {machine.n_conflicts} state and symbol pairs have several "
            "successors; resolve the conflicts first."
        )
    inputs = max(1, (machine.n_symbols - 1).bit_length())
    outputs = max(1, (len(machine.action_names) - 1).bit_length())
    head = [
        f".i {inputs}",
        f".o {outputs}",
        f".p {machine.n_transitions}",
        f".s {len(machine.actions)}",
        f".r {state_name(machine.start)}",
    ]
    rows = []
    columns = (machine.sources, machine.symbols, machine.targets)
    for source, symbol, target in zip(*(c.tolist() for c in columns), strict=True):
        action = int(machine.actions[target])
        output = "-" * outputs if action == BOT else f"{action:0{outputs}b}"
        rows.append(f"{symbol:0{inputs}b} {state_name(source)} {state_name(target)} {output}")
    return "\n".join([*head, *rows, ".e"]) + "\n"


def to_prism(machine: MooreMachine) -> str:
    """Write the recorded behaviour of `machine` as a PRISM Markov chain: states are left as often as was counted.

    State S stands for the end of an episode. Every action is a label and a reward structure of its own, so that
    `P=? [ F "left" ]` and the expected number of steps with an action can be asked. Transitions that were never taken
    are left out; a state without any ends the episode.
    """
    n = len(machine.actions)
    leaving: dict[int, dict[int, int]] = {s: {} for s in range(n)}
    for source, target, count in zip(
        machine.sources.tolist(), machine.targets.tolist(), machine.counts.tolist(), strict=True
    ):
        if count:
            leaving[source][target] = leaving[source].get(target, 0) + count
    lines = ["dtmc", "", "module machine", f"  s : [0..{n}] init {machine.start};"]
    for state, ends in leaving.items():
        ended = int(machine.terminals[state] + machine.truncations[state])
        shares = {**dict(sorted(ends.items())), **({n: ended} if ended or not ends else {})}
        total = max(sum(shares.values()), 1)
        parts = " + ".join(f"{max(count, 1)}/{total}:(s'={target})" for target, count in shares.items())
        lines.append(f"  [] s={state} -> {parts};")
    lines += [f"  [] s={n} -> 1:(s'={n});", "endmodule", "", f'label "end" = s={n};']
    used: set[str] = {"end", "init", "deadlock"}
    for action, name in enumerate(machine.action_names):
        states = [s for s in range(n) if machine.actions[s] == action]
        condition = " | ".join(f"s={s}" for s in states) or "false"
        label = _identifier(name, used)
        lines += [f'label "{label}" = {condition};', f'rewards "{label}"', f"  {condition} : 1;", "endrewards"]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Keep what Mermaid shows as it is: letters, digits and a few marks; the rest would be syntax."""
    return re.sub(r"[^\w .+×-]", "_", text).strip() or "_"


def _identifier(name: str, used: set[str]) -> str:
    base = re.sub(r"\W", "_", name, flags=re.ASCII) or "_"
    base = f"_{base}" if base[0].isdigit() else base
    found, number = base, 2
    while found in used:
        found, number = f"{base}_{number}", number + 1
    used.add(found)
    return found
