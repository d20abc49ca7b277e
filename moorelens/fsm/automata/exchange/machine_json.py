"""The file `machine.json` (`moorelens.machine/1`): a machine as JSON and back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from moorelens.errors import MachineFileError, RequestError
from moorelens.fsm.automata.codes import is_ternary, read_codes, write_codes
from moorelens.fsm.automata.exchange.documents import (
    ORIGINS,
    CodeNotation,
    CodeNotations,
    EdgeRow,
    MachineDocument,
    StateRow,
    SymbolRow,
    read_document,
    sorted_meta,
    write_document,
)
from moorelens.fsm.automata.machine import BOT, Codes, MooreMachine
from moorelens.fsm.automata.reduced import ReducedMachine

FORMAT: Literal["moorelens.machine/1"] = "moorelens.machine/1"


def encode_machine(machine: MooreMachine) -> bytes:
    """Write `machine` as `moorelens.machine/1`; equal machines give equal bytes."""
    notations = CodeNotations(states=notation(machine.state_codes), symbols=notation(machine.symbol_codes))
    state_texts = write_codes(machine.state_codes, ternary=notations.states.notation == "ternary")
    symbol_texts = write_codes(machine.symbol_codes, ternary=notations.symbols.notation == "ternary")
    columns = zip(
        state_texts,
        machine.actions.tolist(),
        machine.visits.tolist(),
        machine.terminals.tolist(),
        machine.truncations.tolist(),
        strict=True,
    )
    document = MachineDocument(
        format=FORMAT,
        action_names=list(machine.action_names),
        codes=notations,
        alphabet=[SymbolRow(id=i, code=text) for i, text in enumerate(symbol_texts)],
        states=[
            StateRow(id=i, code=code, action=None if a == BOT else a, visits=v, terminal=end, truncated=cut)
            for i, (code, a, v, end, cut) in enumerate(columns)
        ],
        edges=edge_rows(machine),
        start=machine.start,
        meta=sorted_meta(machine.meta),
    )
    return write_document(document)


def decode_machine(data: bytes) -> MooreMachine:
    """Read `moorelens.machine/1`; MachineFileError says in one sentence what is wrong with the file."""
    document = read_document(data, kind=MachineDocument, what="machine")
    try:
        check_ids([s.id for s in document.states], what="state")
        check_ids([s.id for s in document.alphabet], what="symbol")
        return _machine(document)
    except (RequestError, ValueError, OverflowError) as problem:
        raise MachineFileError(f"A machine file must describe one machine. {problem}") from None


def notation(codes: Codes) -> CodeNotation:
    """Choose how `codes` (N, K) are written: base 3 where all digits allow it."""
    return CodeNotation(width=codes.shape[1], notation="ternary" if is_ternary(codes) else "integers")


def parse_codes(texts: Sequence[str], *, written: CodeNotation) -> Codes:
    """Read codes in the notation that the file declares; ValueError names the first that is not one."""
    if written.width * len(texts) > sum(len(t) for t in texts):
        raise ValueError(f"A code is shorter than the {written.width} digits that the file declares.")
    return read_codes(texts, width=written.width, ternary=written.notation == "ternary")


def check_ids(ids: Sequence[int], *, what: str) -> None:
    """Raise ValueError unless the ids of a list are its positions, 0, 1, 2, ..."""
    for position, i in enumerate(ids):
        if i != position:
            raise ValueError(
                f"The id of a {what} must be its position in the list, but {what} {position} has id {i}; "
                "one is missing, listed twice or out of place."
            )


def edge_rows(machine: MooreMachine | ReducedMachine) -> list[EdgeRow]:
    """Group transitions into one row for each (source, target, origin), with the count of each symbol."""
    order = np.lexsort((machine.symbols, machine.origins, machine.targets, machine.sources))
    keys = np.stack([machine.sources, machine.targets, machine.origins.astype(np.int32)])[:, order]
    changes = np.flatnonzero(np.any(keys[:, 1:] != keys[:, :-1], axis=0)) + 1
    cuts = [0, *changes.tolist(), len(order)] if len(order) else []
    symbols, counts = machine.symbols[order].tolist(), machine.counts[order].tolist()
    heads = keys.T.tolist()
    return [
        EdgeRow(
            src=heads[low][0],
            dst=heads[low][1],
            symbols=dict(zip(symbols[low:high], counts[low:high], strict=True)),
            origin=ORIGINS[heads[low][2]],
        )
        for low, high in pairwise(cuts)
    ]


def edge_arrays(rows: Sequence[EdgeRow]) -> dict[str, npt.NDArray[Any]]:
    """Flatten edge rows into sorted arrays `sources, symbols, targets, counts, origins`, one entry a label."""
    labels = [len(row.symbols) for row in rows]
    flat: dict[str, npt.NDArray[Any]] = {
        "sources": np.repeat(np.array([row.src for row in rows], dtype=np.int64), labels),
        "symbols": np.array([s for row in rows for s in row.symbols], dtype=np.int64),
        "targets": np.repeat(np.array([row.dst for row in rows], dtype=np.int64), labels),
        "counts": np.array([c for row in rows for c in row.symbols.values()], dtype=np.int64),
        "origins": np.repeat(np.array([ORIGINS.index(row.origin) for row in rows], dtype=np.uint8), labels),
    }
    order = np.lexsort((flat["targets"], flat["symbols"], flat["sources"]))
    return {name: values[order] for name, values in flat.items()}


def _machine(document: MachineDocument) -> MooreMachine:
    states = document.states
    return MooreMachine(
        state_codes=parse_codes([s.code for s in states], written=document.codes.states),
        symbol_codes=parse_codes([s.code for s in document.alphabet], written=document.codes.symbols),
        actions=np.array([BOT if s.action is None else s.action for s in states], dtype=np.int64),
        visits=np.array([s.visits for s in states], dtype=np.int64),
        terminals=np.array([s.terminal for s in states], dtype=np.int64),
        truncations=np.array([s.truncated for s in states], dtype=np.int64),
        start=document.start,
        action_names=tuple(document.action_names),
        meta=document.meta,
        **edge_arrays(document.edges),
    )
