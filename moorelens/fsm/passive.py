"""Passive state merging: a machine learned from (symbol, action) traces alone, without looking at any memory (AALpy).

The competitor of every quantiser: what it needs of the network is the symbols, not the states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from moorelens.errors import InvariantError, MissingToolError, RequestError
from moorelens.fsm.automata.build import id_codes, machine_from_traces
from moorelens.fsm.automata.machine import Codes, Ids, MooreMachine
from moorelens.fsm.automata.traces import Traces

Method = Literal["rpni", "edsm"]
_START = -1


def learn_machine(
    traces: Traces,
    *,
    symbol_codes: Codes,
    action_names: Sequence[str],
    method: Method = "rpni",
    meta: Mapping[str, Any] | None = None,
) -> tuple[MooreMachine, Traces]:
    """Learn a machine from what was seen and done in T steps; return it with the traces through its own states.

    `traces`: only symbols (T,), actions (T,) and where episodes end are looked at. `symbol_codes (O, L)`: the codes of
    the symbols. `rpni` merges a state into the first one that contradicts nothing, `edsm` into the one that most steps
    confirm. The silent start is merged with nothing.

    Raises `RequestError` where the same symbols from the start were answered by different actions, as no Moore machine
    can do; `MissingToolError` without AALpy (extra `learn`).
    """
    if conflict := _contradiction(traces):
        raise RequestError(
            f"A machine answers the same symbols with the same actions, and {conflict}: these traces were not played "
            "by a machine, so quantise the policy first."
        )
    states = _numbered(_run(_learned(traces, method), traces))
    learned = replace(traces, states=states + np.int32(1))
    codes = id_codes(int(states.max(initial=-1)) + 2)
    return machine_from_traces(
        learned, state_codes=codes, symbol_codes=symbol_codes, action_names=action_names, meta=meta
    ), learned


def _episodes(traces: Traces) -> list[list[tuple[int, int]]]:
    steps = list(zip(traces.symbols.tolist(), traces.actions.tolist(), strict=True))
    return [steps[a:b] for a, b in zip(traces.offsets[:-1].tolist(), traces.offsets[1:].tolist(), strict=True)]


def _contradiction(traces: Traces) -> str:
    """Say which episode contradicts an earlier one, nothing where none does."""
    tree: dict[tuple[int, int], tuple[int, int]] = {}
    for number, episode in enumerate(_episodes(traces)):
        node = 0
        for step, (symbol, action) in enumerate(episode):
            node, known = tree.setdefault((node, symbol), (len(tree) + 1, action))
            if known != action:
                return f"step {step} of episode {number} differs from an earlier episode that began with the same ones"
    return ""


def _learned(traces: Traces, method: Method) -> Any:
    """Return the root of what AALpy merged; it has an output of its own, so that nothing is merged into it.

    The root, not the automaton: making that warns of every undefined symbol, and undefined is what they should be.
    """
    try:
        from aalpy.learning_algs.general_passive.GeneralizedStateMerging import GeneralizedStateMerging
        from aalpy.learning_algs.general_passive.GsmNode import GsmNode
        from aalpy.learning_algs.general_passive.ScoreFunctionsGSM import SimpleScoreCalculation
    except ImportError as error:
        raise MissingToolError(
            "State merging needs AALpy, which is not installed: pip install 'moorelens[learn]'."
        ) from error
    score = SimpleScoreCalculation(GsmNode.deterministic_compatible, _confirmed) if method == "edsm" else None
    data = [[_START, *episode] for episode in _episodes(traces)]
    merging = GeneralizedStateMerging(
        output_behavior="moore",
        transition_behavior="deterministic",
        score_calc=score,
    )
    return merging.run(data, convert=False, data_format="io_traces")


def _confirmed(partition: Mapping[Any, Any]) -> int:
    """Return how many nodes of the prefix tree a merge joins to others: each of them confirms it."""
    return len(partition) - len(set(partition.values()))


def _run(root: Any, traces: Traces) -> list[int]:
    """Return the state (T,) after each step, by its identity; raises `InvariantError` where an output is another."""
    reached = []
    for episode in _episodes(traces):
        node = root
        for symbol, action in episode:
            successors = node.transitions[symbol]
            if list(successors) != [action]:
                raise InvariantError("A learned machine repeats what it was learned from, and this one does not.")
            node = successors[action]
            reached.append(id(node))
    return reached


def _numbered(names: Sequence[int]) -> Ids:
    """Number equal names alike, in the order they first appear."""
    table: dict[int, int] = {}
    return np.array([table.setdefault(name, len(table)) for name in names], dtype=np.int32)
