"""The file `reduced.json` (`moorelens.reduced/1`): a reduced machine as JSON and back."""

from __future__ import annotations

from itertools import chain, pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from moorelens.errors import MachineFileError, RequestError
from moorelens.fsm.automata.codes import write_codes
from moorelens.fsm.automata.exchange.documents import (
    ORIGINS,
    ClassedSymbolRow,
    CodeNotations,
    ExitRow,
    MacroRow,
    PassageRow,
    ReducedDocument,
    read_document,
    sorted_meta,
    write_document,
)
from moorelens.fsm.automata.exchange.machine_json import check_ids, edge_arrays, edge_rows, notation, parse_codes
from moorelens.fsm.automata.machine import BOT
from moorelens.fsm.automata.reduced import TAGS, ReducedMachine, macro_of, word_of

FORMAT: Literal["moorelens.reduced/1"] = "moorelens.reduced/1"


def encode_reduced(reduced: ReducedMachine) -> bytes:
    """Write `reduced` as `moorelens.reduced/1`; equal machines give equal bytes."""
    notations = CodeNotations(states=notation(reduced.state_codes), symbols=notation(reduced.symbol_codes))
    symbols = write_codes(reduced.symbol_codes, ternary=notations.symbols.notation == "ternary")
    classes = reduced.symbol_classes.tolist()
    document = ReducedDocument(
        format=FORMAT,
        action_names=list(reduced.action_names),
        steps=list(reduced.steps),
        mode=reduced.mode,
        codes=notations,
        alphabet=[
            ClassedSymbolRow(id=i, code=c, symbol_class=k)
            for i, (c, k) in enumerate(zip(symbols, classes, strict=True))
        ],
        macros=_macro_rows(reduced, ternary=notations.states.notation == "ternary"),
        edges=edge_rows(reduced),
        start=reduced.start,
        states=_state_places(reduced),
        meta=sorted_meta(reduced.meta),
    )
    return write_document(document)


def decode_reduced(data: bytes) -> ReducedMachine:
    """Read `moorelens.reduced/1`; MachineFileError says in one sentence what is wrong with the file."""
    document = read_document(data, kind=ReducedDocument, what="reduced machine")
    try:
        check_ids([m.id for m in document.macros], what="macro-state")
        check_ids([s.id for s in document.alphabet], what="symbol")
        return _reduced(document)
    except (RequestError, ValueError, OverflowError) as problem:
        raise MachineFileError(f"A reduced machine file must describe one machine. {problem}") from None


def _macro_rows(reduced: ReducedMachine, *, ternary: bool) -> list[MacroRow]:
    codes = write_codes(reduced.state_codes, ternary=ternary)
    passages = _passage_rows(reduced)
    rows = []
    for macro, (low, high) in enumerate(pairwise(reduced.offsets.tolist())):
        dwell = reduced.dwells.get(macro)
        rows.append(
            MacroRow(
                id=macro,
                members=reduced.members[low:high].tolist(),
                codes=codes[low:high],
                visits=reduced.visits[low:high].tolist(),
                word=[(None if action == BOT else action, length) for action, length in word_of(reduced, macro)],
                exits=_exit_rows(reduced, low, high),
                passages=[row for place in range(low, high) for row in passages.get(place, [])],
                loop=bool(reduced.loops[macro]),
                tag=TAGS[reduced.tags[macro]],
                dwell=None if dwell is None else dict(dwell),
            )
        )
    return rows


def _exit_rows(reduced: ReducedMachine, low: int, high: int) -> list[ExitRow]:
    ends = zip(reduced.terminals[low:high].tolist(), reduced.truncations[low:high].tolist(), strict=True)
    return [ExitRow(place=i, terminal=end, truncated=cut) for i, (end, cut) in enumerate(ends) if end or cut]


def _passage_rows(reduced: ReducedMachine) -> dict[int, list[PassageRow]]:
    macros = macro_of(reduced)
    labels: dict[tuple[int, int], dict[int, int]] = {}
    rows = (reduced.step_places, reduced.step_origins, reduced.step_symbols, reduced.step_counts)
    for place, origin, symbol, count in zip(*(r.tolist() for r in rows), strict=True):
        labels.setdefault((place, origin), {})[symbol] = count
    found: dict[int, list[PassageRow]] = {}
    for (place, origin), symbols in sorted(labels.items()):
        first = int(reduced.offsets[macros[place]])
        found.setdefault(place, []).append(PassageRow(place=place - first, symbols=symbols, origin=ORIGINS[origin]))
    return found


def _state_places(reduced: ReducedMachine) -> list[tuple[int, int] | None]:
    macros = macro_of(reduced).tolist()
    firsts = reduced.offsets.tolist()
    return [None if p < 0 else (macros[p], p - firsts[macros[p]]) for p in reduced.state_map.tolist()]


def _reduced(document: ReducedDocument) -> ReducedMachine:
    macros = document.macros
    offsets = np.cumsum([0, *(len(m.members) for m in macros)])
    return ReducedMachine(
        members=np.array([s for m in macros for s in m.members], dtype=np.int64),
        offsets=offsets,
        loops=np.array([m.loop for m in macros], dtype=np.bool_),
        tags=np.array([TAGS.index(m.tag) for m in macros], dtype=np.uint8),
        state_codes=parse_codes([c for m in macros for c in m.codes], written=document.codes.states),
        actions=np.array(list(chain.from_iterable(_letters(document, m) for m in macros)), dtype=np.int64),
        visits=np.array([v for m in macros for v in m.visits], dtype=np.int64),
        terminals=_exits(document, offsets, kind="terminal"),
        truncations=_exits(document, offsets, kind="truncated"),
        symbol_codes=parse_codes([s.code for s in document.alphabet], written=document.codes.symbols),
        symbol_classes=np.array([s.symbol_class for s in document.alphabet], dtype=np.int64),
        start=document.start,
        action_names=tuple(document.action_names),
        state_map=np.array([-1 if p is None else _position(p, offsets) for p in document.states], dtype=np.int64),
        steps=tuple(document.steps),
        mode=document.mode,
        dwells={m.id: m.dwell for m in macros if m.dwell is not None},
        meta=document.meta,
        **_passages(document, offsets),
        **edge_arrays(document.edges),
    )


def _letters(document: ReducedDocument, row: MacroRow) -> list[int]:
    """Return the action at each place of a macro-state; ValueError where the word does not fit its members."""
    silent = [BOT] if row.id == document.start else []
    total = len(silent) + sum(length for _, length in row.word)
    if not total == len(row.members) == len(row.codes) == len(row.visits):
        raise ValueError(
            f"Macro-state {row.id} must have one code, count of visits and letter for each of its {len(row.members)} "
            f"members, but has {len(row.codes)}, {len(row.visits)} and {total}."
        )
    return silent + [BOT if action is None else action for action, length in row.word for _ in range(length)]


def _position(place: tuple[int, int], offsets: npt.NDArray[np.int64]) -> int:
    """Return the position of a (macro-state, place); ValueError where there is no such place."""
    macro, index = place
    if macro >= len(offsets) - 1 or index >= offsets[macro + 1] - offsets[macro]:
        raise ValueError(f"Place {index} of macro-state {macro} is named, but there is no such place.")
    return int(offsets[macro]) + index


def _exits(
    document: ReducedDocument, offsets: npt.NDArray[np.int64], *, kind: Literal["terminal", "truncated"]
) -> npt.NDArray[np.int64]:
    ends = np.zeros(int(offsets[-1]), dtype=np.int64)
    for macro in document.macros:
        for row in macro.exits:
            ends[_position((macro.id, row.place), offsets)] = getattr(row, kind)
    return ends


def _passages(document: ReducedDocument, offsets: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
    rows = np.array(
        sorted(
            (_position((macro.id, row.place), offsets), symbol, count, ORIGINS.index(row.origin))
            for macro in document.macros
            for row in macro.passages
            for symbol, count in row.symbols.items()
        ),
        dtype=np.int64,
    ).reshape(-1, 4)
    return {f"step_{name}": rows[:, i] for i, name in enumerate(("places", "symbols", "counts", "origins"))}
