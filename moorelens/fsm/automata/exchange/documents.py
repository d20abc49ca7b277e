"""What the JSON files of machines hold, as msgspec structs: the source of the shipped JSON Schemas."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from moorelens.errors import MachineFileError, RequestError
from moorelens.fsm.automata.reduced import ChainMode, Step

Id = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Width = Annotated[int, Meta(ge=0, le=2**20)]
Origin = Literal["observed", "network"]
Labels = dict[Id, Count]

ORIGINS: tuple[Origin, ...] = ("observed", "network")
T = TypeVar("T")
_KEY = re.compile(rb'"[^"\\]*"\s*:')


class CodeNotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one kind of code is written: base-3 digits (value + 1), or integers joined by commas."""

    width: Width
    notation: Literal["ternary", "integers"]


class CodeNotations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How codes are written in this file."""

    states: CodeNotation
    symbols: CodeNotation


class SymbolRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A symbol: a quantised observation."""

    id: Id
    code: str


class StateRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A state; its action is a position in `action_names`, or null for the silent start."""

    id: Id
    code: str
    action: Id | None
    visits: Count
    terminal: Count
    truncated: Count


class EdgeRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All transitions from one state to another: how often each symbol led there."""

    src: Id
    dst: Id
    symbols: Labels
    origin: Origin


class MachineDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A partial Moore machine with counts; ids are positions, the action is emitted after the symbol."""

    format: Literal["moorelens.machine/1"]
    action_names: list[str]
    codes: CodeNotations
    alphabet: list[SymbolRow]
    states: list[StateRow]
    edges: list[EdgeRow]
    start: Id
    meta: dict[str, Any]


class ClassedSymbolRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A symbol and the class of symbols that the machine does not tell apart from it."""

    id: Id
    code: str
    symbol_class: Id = msgspec.field(name="class")


class ExitRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many episodes ended at a place of a macro-state, by the task or by a time limit."""

    place: Id
    terminal: Count
    truncated: Count


class PassageRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often each symbol led from a place of a macro-state on to the next place."""

    place: Id
    symbols: Labels
    origin: Origin


class MacroRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A macro-state: states always passed in this order, and its word as (action, length) runs.

    The silent start contributes nothing to the word of its macro-state. A loop goes back to its first place; `dwell`
    says how often a stay in a state that leads to itself had which length.
    """

    id: Id
    members: list[Id]
    codes: list[str]
    visits: list[Count]
    word: list[tuple[Id | None, Annotated[int, Meta(ge=1, le=2**31 - 1)]]]
    exits: list[ExitRow]
    passages: list[PassageRow]
    loop: bool
    tag: Literal["recurrent", "transient", "ending"]
    dwell: dict[Id, Count] | None


class ReducedDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reduced machine: macro-states and the edges between them, by machine symbol.

    `states` leads from each state of the machine to its (macro-state, place), or to null where it was trimmed.
    """

    format: Literal["moorelens.reduced/1"]
    action_names: list[str]
    steps: list[Step]
    mode: ChainMode
    codes: CodeNotations
    alphabet: list[ClassedSymbolRow]
    macros: list[MacroRow]
    edges: list[EdgeRow]
    start: Id
    states: list[tuple[Id, Id] | None]
    meta: dict[str, Any]


def read_document(data: bytes, *, kind: type[T], what: str) -> T:
    """Decode JSON `data` as `kind`; MachineFileError says in one sentence what is wrong with it and where."""
    try:
        document = msgspec.json.decode(data, type=kind)
        # A key that is written twice would silently win over the first; what is read must be all there is.
        if len(_KEY.findall(data)) > len(_KEY.findall(msgspec.json.encode(document))):
            raise msgspec.ValidationError("Some key is written twice in one object")
        return document
    except msgspec.ValidationError as problem:
        raise MachineFileError(
            f"A {what} file must follow its schema, but {problem}; it was written by another version or edited by "
            "hand, so write it again."
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise MachineFileError(
            f"A {what} file must be JSON in UTF-8, but {problem}; it is cut short or is another kind of file."
        ) from None


def write_document(document: msgspec.Struct) -> bytes:
    """Encode `document` as JSON that ends in a newline."""
    return msgspec.json.encode(document) + b"\n"


def sorted_meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return `meta` with sorted keys, so that equal facts give equal bytes; RequestError where it is not JSON-able."""
    try:
        result: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(meta, order="sorted"))
    except (TypeError, ValueError) as problem:
        raise RequestError(f"The meta of a machine must be JSON-able with string keys, but {problem}.") from None
    return result
