"""A machine as plain facts, numbers and rows: what formats with attributes hold besides the graph."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from moorelens.fsm.automata.codes import is_ternary, read_codes, write_codes
from moorelens.fsm.automata.exchange.documents import ORIGINS, sorted_meta
from moorelens.fsm.automata.machine import Codes, MooreMachine

# (source, symbol, target, count, "observed" or "network")
Row = tuple[int, int, int, int, str]


def facts_of(machine: MooreMachine) -> str:
    """Return as ASCII JSON what is neither a state nor a transition: names, symbols, notations, start and meta."""
    ternary = [is_ternary(machine.state_codes), is_ternary(machine.symbol_codes)]
    return json.dumps(
        {
            "action_names": list(machine.action_names),
            "symbols": write_codes(machine.symbol_codes, ternary=ternary[1]),
            "widths": [machine.state_codes.shape[1], machine.symbol_codes.shape[1]],
            "ternary": ternary,
            "start": machine.start,
            "meta": sorted_meta(machine.meta),
        }
    )


def state_codes_of(machine: MooreMachine) -> list[str]:
    """Return the code of each state in the notation that `facts_of` declares."""
    return write_codes(machine.state_codes, ternary=is_ternary(machine.state_codes))


def rebuild(
    facts: str, *, codes: Sequence[str], numbers: Sequence[Sequence[int]], transitions: Iterable[Row]
) -> MooreMachine:
    """Return the machine of these facts, codes (S,), numbers (S, 4) and transitions in any order.

    The numbers of a state are its action, visits, terminals and truncations. Raises ValueError, LookupError, TypeError
    or RequestError where they make no machine.
    """
    known: dict[str, Any] = json.loads(facts)
    order: dict[str, int] = {name: number for number, name in enumerate(ORIGINS)}
    rows = sorted((s, o, t, count, order[origin]) for s, o, t, count, origin in transitions)
    edges = dict(zip(("sources", "symbols", "targets", "counts", "origins"), _columns(rows, 5), strict=True))
    states = dict(zip(("actions", "visits", "terminals", "truncations"), _columns(numbers, 4), strict=True))
    return MooreMachine(
        state_codes=_codes(codes, known, kind=0),
        symbol_codes=_codes(known["symbols"], known, kind=1),
        start=known["start"],
        action_names=tuple(known["action_names"]),
        meta=known["meta"],
        **states,
        **edges,
    )


def _columns(rows: Sequence[Sequence[int]], width: int) -> Any:
    return np.array(rows, dtype=np.int64).reshape(-1, width).T


def _codes(texts: Sequence[str], facts: dict[str, Any], *, kind: int) -> Codes:
    width = int(facts["widths"][kind])
    if width * len(texts) > sum(map(len, texts)):
        raise ValueError("a code is too short")
    return read_codes(texts, width=width, ternary=bool(facts["ternary"][kind]))
