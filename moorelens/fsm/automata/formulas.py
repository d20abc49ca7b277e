"""Temporal properties on finite traces: a small language, its parser, and formulas as plain data (docs/checking.md)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from moorelens.errors import OptionError

Operator = Literal["not", "and", "or", "implies", "always", "eventually", "next", "previous", "until", "within"]
Relation = Literal["<", "<=", ">", ">=", "=", "!="]

_TOKEN = re.compile(
    r"\s*(?:(?P<quoted>`[^`]*`|\"[^\"]*\")|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<sign>->|<=|>=|==|!=|<|>|=|&&?|\|\|?|!|\(|\)|,)|(?P<word>[A-Za-z_]\w*))"
)
_KEYWORDS = {
    "not", "and", "or", "implies", "always", "never", "eventually", "next", "previous", "until", "within", "after",
    "steps", "step",
}  # fmt: skip
_SHORT = {"G": "always", "F": "eventually", "X": "next", "Y": "previous", "U": "until"}
_SIGNS = {"!": "not", "&": "and", "&&": "and", "|": "or", "||": "or", "->": "implies"}
_WIDE = ("always", "never", "eventually", "after")


@dataclass(frozen=True, kw_only=True)
class Names:
    """What a property may speak of: `flags` are true or false in a step, `numbers` are compared.

    Names are matched without regard to case where that is unambiguous; spaces may be written as underscores.
    """

    flags: Collection[str]
    numbers: Collection[str]


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A column that is true or false in each step."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A number column against a constant."""

    name: str
    relation: Relation
    value: float


@dataclass(frozen=True, kw_only=True)
class Node:
    """An operator on its parts; `steps` where it is bounded."""

    operator: Operator
    parts: tuple[Formula, ...]
    steps: int | None = None


Formula = Flag | Comparison | Node


def parse_property(text: str, names: Names, *, definitions: Mapping[str, str] | None = None) -> Formula:
    """Read a property; `definitions` gives names to other properties.

    Raises `OptionError` that points at the first character that cannot be understood.
    """
    return _Parser(text, names, dict(definitions or {}), (), _Budget()).whole()


def write_formula(formula: Formula) -> str:
    """Return a formula with every bracket, as it was understood."""
    if isinstance(formula, Flag):
        return _written(formula.name)
    if isinstance(formula, Comparison):
        return f"{_written(formula.name)} {formula.relation} {formula.value:g}"
    parts = [write_formula(part) for part in formula.parts]
    if len(parts) == 2:
        return f"({parts[0]} {formula.operator} {parts[1]})"
    bound = f" {formula.steps} steps" if formula.steps is not None else ""
    return f"{formula.operator}{bound} ({parts[0]})" if parts[0][0] != "(" else f"{formula.operator}{bound} {parts[0]}"


def _written(name: str) -> str:
    """Return a name as a property has it: in backticks where it is more than a word."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else f"`{name}`"


# A property of more words, definitions written out, is no longer one that a person reads.
LONGEST, MOST_STEPS = 300, 1_000_000
# An error that lists more names would be longer than the rest of it.
SHOWN_NAMES = 12


@dataclass
class _Budget:
    """How many words, numbers and signs have been read, definitions included each time they are used."""

    used: int = 0

    def take(self, count: int) -> None:
        """Count more; raises `OptionError` above the limit."""
        self.used += count
        if self.used > LONGEST:
            raise OptionError(
                f"A property has at most {LONGEST} words and signs with its definitions written out, and this one has "
                "more: check it in parts."
            )


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


class _Parser:
    def __init__(
        self, text: str, names: Names, definitions: dict[str, str], inside: tuple[str, ...], budget: _Budget
    ) -> None:
        self._text, self._names, self._definitions, self._inside = text, names, definitions, inside
        self._budget = budget
        self._tokens = self._read()
        self._place = 0

    def whole(self) -> Formula:
        """Read all of the text."""
        formula = self._implication()
        token = self._peek()
        if token.kind != "end":
            raise self._wrong(token, "one property, and this is left over")
        return formula

    def _read(self) -> list[_Token]:
        tokens: list[_Token] = []
        at = 0
        while self._text[at:].strip():
            match = _TOKEN.match(self._text, at)
            if match is None:
                start = at + len(self._text[at:]) - len(self._text[at:].lstrip())
                raise self._wrong(_Token("?", self._text[start], start), "names, numbers, words and brackets")
            kind = str(match.lastgroup)
            text = match[kind]
            if kind == "word" and (text.lower() in _KEYWORDS or text in _SHORT):
                kind, text = "keyword", _SHORT.get(text, text.lower())
            elif kind == "sign" and text in _SIGNS:
                kind, text = "keyword", _SIGNS[text]
            self._budget.take(1)
            tokens.append(_Token(kind, text, match.start(str(match.lastgroup))))
            at = match.end()
        return [*tokens, _Token("end", "", len(self._text))]

    def _peek(self) -> _Token:
        return self._tokens[self._place]

    def _take(self, *texts: str) -> _Token | None:
        token = self._peek()
        if token.kind in ("keyword", "sign") and token.text in texts:
            self._place += 1
            return token
        return None

    def _need(self, text: str) -> None:
        if self._take(text) is None:
            raise self._wrong(self._peek(), f"{text!r} here")

    def _implication(self) -> Formula:
        left = self._disjunction()
        if self._take("implies"):
            return Node(operator="implies", parts=(left, self._implication()))
        return left

    def _disjunction(self) -> Formula:
        left = self._conjunction()
        while self._take("or"):
            left = Node(operator="or", parts=(left, self._conjunction()))
        return left

    def _conjunction(self) -> Formula:
        left = self._until()
        while self._take("and"):
            left = Node(operator="and", parts=(left, self._until()))
        return left

    def _until(self) -> Formula:
        left = self._bounded()
        if self._take("until"):
            return Node(operator="until", parts=(left, self._until()))
        return left

    def _bounded(self) -> Formula:
        formula = self._unary()
        while self._take("within"):
            formula = Node(operator="within", parts=(formula,), steps=self._count())
        return formula

    def _unary(self) -> Formula:
        token = self._peek()
        if token.kind == "keyword" and token.text in _WIDE:
            self._place += 1
            return self._wide(token.text)
        for operator in ("not", "next", "previous"):
            if self._take(operator):
                return Node(operator=operator, parts=(self._unary(),))
        if self._take("within"):
            steps = self._count()
            return Node(operator="within", parts=(self._unary(),), steps=steps)
        if self._take("("):
            formula = self._implication()
            self._need(")")
            return formula
        return self._atom()

    def _wide(self, word: str) -> Formula:
        """These words reach as far to the right as they can."""
        first = self._implication()
        if word == "after":
            self._need(",")
            then = Node(operator="implies", parts=(first, self._implication()))
            return Node(operator="always", parts=(then,))
        if word == "never":
            return Node(operator="always", parts=(Node(operator="not", parts=(first,)),))
        return Node(operator=word, parts=(first,))  # type: ignore[arg-type]

    def _count(self) -> int:
        token = self._peek()
        if token.kind != "number" or not token.text.isdigit():
            raise self._wrong(token, "a whole number of steps here")
        if len(token.text) > len(str(MOST_STEPS)) or int(token.text) > MOST_STEPS:
            raise self._wrong(token, f"at most {MOST_STEPS} steps here")
        self._place += 1
        self._take("steps", "step")
        return int(token.text)

    def _atom(self) -> Formula:
        token = self._peek()
        if token.kind not in ("word", "quoted"):
            raise self._wrong(token, "a name or a bracket here")
        self._place += 1
        name = token.text.strip('`"')
        if name in self._definitions:
            return self._defined(name, token)
        relation = self._take("<", "<=", ">", ">=", "=", "==", "!=")
        if relation is not None:
            return self._comparison(name, token, relation.text)
        flag = _matching(name, self._names.flags)
        if flag is not None:
            return Flag(name=flag)
        if _matching(name, self._names.numbers) is not None:
            raise self._wrong(token, f"a comparison: {name} is a number, as in `{name} > 0`")
        raise self._unknown(token, name, [*self._names.numbers, *self._names.flags])

    def _comparison(self, name: str, token: _Token, relation: str) -> Formula:
        number = self._peek()
        if number.kind != "number":
            raise self._wrong(number, "a number to compare with here")
        self._place += 1
        column = _matching(name, self._names.numbers)
        if column is None:
            if _matching(name, self._names.flags) is not None:
                raise self._wrong(token, f"no comparison: {name} is true or false")
            raise self._unknown(token, name, list(self._names.numbers))
        sign: Relation = "=" if relation == "==" else relation  # type: ignore[assignment]
        return Comparison(name=column, relation=sign, value=float(number.text))

    def _defined(self, name: str, token: _Token) -> Formula:
        if name in self._inside:
            raise self._wrong(token, "no definition that needs itself")
        inside = (*self._inside, name)
        return _Parser(self._definitions[name], self._names, self._definitions, inside, self._budget).whole()

    def _unknown(self, token: _Token, name: str, known: list[str]) -> OptionError:
        near = difflib.get_close_matches(name.lower(), [one.lower() for one in [*known, *self._definitions]], n=1)
        hint = f"; did you mean {near[0]}?" if near else f", which are {_some([*self._definitions, *known])}"
        return self._wrong(token, f"names that the run knows{hint}")

    def _wrong(self, token: _Token, rule: str) -> OptionError:
        where = f"character {token.at + 1} ({token.text!r})" if token.kind != "end" else "its end"
        shown = self._text if len(self._text) <= 200 else f"{self._text[:200]}..."
        return OptionError(
            f"The property {shown!r} cannot be read at {where}: a property has {rule}; correct it there "
            "(docs/checking.md has the language)."
        )


def _some(names: list[str]) -> str:
    """Return the first names in a row, those of numbered states and symbols last, and how many are left."""
    ordered = sorted(dict.fromkeys(names), key=lambda name: re.fullmatch(r"[So]\d+", name) is not None)
    left = len(ordered) - SHOWN_NAMES
    return ", ".join(map(_written, ordered[:SHOWN_NAMES])) + (f" and {left} more" if left > 0 else "")


def _matching(name: str, known: Collection[str]) -> str | None:
    """Return the known name that is meant: exactly, or the only one without regard to case and underscores."""
    if name in known:
        return name
    plain = _plain(name)
    found = [one for one in known if _plain(one) == plain]
    return found[0] if len(found) == 1 else None


def _plain(name: str) -> str:
    return name.lower().replace("_", " ")
