"""Turns arguments into a config struct with tyro, and tyro's boxed complaints into one sentence."""

from __future__ import annotations

import contextlib
import difflib
import io
import itertools
import json
import math
import os
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
import tyro

from moorelens.errors import OptionError

T = TypeVar("T", bound=msgspec.Struct)

_LARGEST: dict[type, float] = {int: 2**63 - 1, float: 3.4e38}  # 64 bits, and float32
_METAVARS: dict[type, str] = {str: "TEXT", int: "N", float: "X"}


@dataclass(frozen=True, kw_only=True)
class Output:
    """How a command speaks: `json` one document alone on stdout, `quiet` without progress."""

    json: bool
    quiet: bool


def parse(config: type[T], arguments: Sequence[str], *, verb: str, description: str) -> tuple[T, Output]:
    """Read `arguments` into `config`, whose required fields are positional, plus `--json` and `--quiet`.

    Raises: OptionError for what cannot be read; SystemExit(0) after printing the help.
    """
    _check_out(arguments, verb)
    options = _with_output_options(config)
    with _complaints(verb), _width(arguments):
        found: Any = tyro.cli(
            options,
            args=list(arguments),
            prog=f"moorelens {verb}",
            description=description,
            config=(tyro.conf.PositionalRequiredArgs, tyro.conf.FlagCreatePairsOff),
            registry=_registry(),
        )
    values = {name: getattr(found, name) for name in config.__struct_fields__}
    _check_numbers(values, verb)
    return config(**values), Output(json=found.json, quiet=found.quiet)


def _check_out(arguments: Sequence[str], verb: str) -> None:
    """Refuse an empty name for what is written, which would stand for the usual place, or for this folder."""
    for word, following in itertools.pairwise([*arguments, "-"]):
        option, equals, value = word.partition("=")
        if option == "--out" and not (value if equals else following).strip():
            raise OptionError(
                "--out names what to write to, and this name is empty: give one, or leave the option out for the usual "
                f"place; see `moorelens {verb} --help`."
            )


def _check_numbers(values: Mapping[str, object], verb: str) -> None:
    """Refuse numbers that nothing can be computed with, before anything else looks at them."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        if (isinstance(value, float) and not math.isfinite(value)) or abs(value) > _LARGEST[type(value)]:
            option = name.removesuffix("_").replace("_", "-")
            raise OptionError(
                f"A number is finite and of a size that can be computed with, and --{option} {value} is not: correct "
                f"it; see `moorelens {verb} --help`."
            )


def _with_output_options(config: type[T]) -> type[msgspec.Struct]:
    """Extend `config` by `--json` and `--quiet`, call its positional fields by their names, and `class_` `--class`."""
    positional = [
        (field.encode_name, Annotated[field.type, tyro.conf.arg(metavar=field.encode_name.upper())])
        for field in msgspec.structs.fields(config)
        if field.required
    ]
    keywords = [
        (field.name, Annotated[field.type, tyro.conf.arg(name=field.name.rstrip("_"))], field.default)
        for field in msgspec.structs.fields(config)
        if field.name.endswith("_")
    ]
    options = [
        *keywords,
        ("quiet", Annotated[bool, tyro.conf.arg(help="No progress.", aliases=["-q"])], False),
        ("json", Annotated[bool, tyro.conf.arg(help="Print one JSON document on stdout.")], False),
    ]
    return msgspec.defstruct(config.__name__, [*positional, *options], bases=(config,), frozen=True, kw_only=True)


def _registry() -> tyro.constructors.ConstructorRegistry:
    registry = tyro.constructors.ConstructorRegistry()
    registry.primitive_rule(_optional)
    registry.primitive_rule(_json_object)
    return registry


def _optional(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[Any] | None:
    """`int | None` is an integer that may be left out, not a word that may be `None`."""
    if info.type_origin not in (types.UnionType, typing.Union):
        return None
    kinds = [kind for kind in typing.get_args(info.type) if kind is not types.NoneType]
    if len(kinds) != 1 or kinds[0] not in _METAVARS:
        return None
    kind = kinds[0]
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=_METAVARS[kind],
        instance_from_str=lambda words: kind(words[0]),
        is_instance=lambda value: value is None or isinstance(value, kind),
        str_from_instance=lambda value: ["none" if value is None else str(value)],
    )


def _json_object(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[Any] | None:
    if info.type_origin is not dict:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="JSON",
        instance_from_str=lambda words: _read_object(words[0]),
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [json.dumps(value)],
    )


def _read_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        shown = text if len(text) <= 80 else f"{text[:80]}..."
        raise ValueError(f"{shown!r} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f'{text!r} is not a JSON object such as {{"key": 1}}')
    return value


@contextlib.contextmanager
def _complaints(verb: str) -> Iterator[None]:
    """Catch what tyro prints when it refuses arguments: its boxes are more than one sentence."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            yield
    except SystemExit as stop:
        if not stop.code:
            raise
        raise OptionError(f"{_sentence(printed.getvalue())}; see `moorelens {verb} --help`.") from None


@contextlib.contextmanager
def _width(arguments: Sequence[str]) -> Iterator[None]:
    """Keep tyro from breaking the lines of its complaints; a help page keeps the terminal's width."""
    before = os.environ.get("COLUMNS")
    if not {"-h", "--help"} & set(arguments):
        os.environ["COLUMNS"] = "10000"
    try:
        yield
    finally:
        os.environ.pop("COLUMNS", None)
        if before is not None:
            os.environ["COLUMNS"] = before


def _sentence(box: str) -> str:
    """Return the first part of a box as one line, and the option that it says was perhaps meant."""
    rows = [line.strip("│╭╰╮╯ ") for line in box.splitlines()]
    parts = re.split(r"[─-]{3,}", " ".join(rows))
    body = [" ".join(part.split()) for part in parts if part.strip()]
    text = (body[1] if len(body) > 1 else "These arguments cannot be read").rstrip(".")
    text = re.sub(r"^Missing from [^:]*: (\S+).*", r"\1 is missing", text)
    meant = re.search(r"Perhaps you meant: (--?[\w-]+)", " ".join(body[2:]))
    return f"{text} (did you mean {meant.group(1)}?)" if meant else _with_nearest_choice(text)


def _with_nearest_choice(text: str) -> str:
    """Add which of a closed list of values was perhaps meant."""
    choice = re.match(r"invalid choice '([^']*)' .*Expected one of \((.*)\)$", text)
    near = difflib.get_close_matches(choice[1], re.findall(r"'([^']*)'", choice[2]), n=1) if choice else []
    return f"{text} (did you mean {near[0]}?)" if near else text
