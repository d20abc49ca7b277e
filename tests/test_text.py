"""A name from outside is shown and never acts: not on a terminal, in a table, on a page or in a drawing."""

from __future__ import annotations

import io
import unicodedata
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorelens.cli.printing import plain
from moorelens.fsm.automata import to_dot, to_graphml, to_kiss2, to_mermaid, to_prism
from moorelens.fsm.automata.build import from_edges
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.notebook import table
from moorelens.fsm.drawing import draw_machine
from moorelens.reports.html import environment
from moorelens.reports.paper_tables import latex, text
from moorelens.reports.typesetting import made_printable
from moorelens.runs.progress import PlainProgress
from moorelens.text import escape, one_line, printable
from tests.cli.support import refused, run

# A colour and a title for the terminal, text that runs backwards, an isolate, a mark, a line end of Unicode's own.
EVIL = "a\x1b[31m\x1b]0;x\x07b\u202egnp.exe\u202c\u2066\u200f\u2028\x9b2J\x00"
BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
ACTING = set(EVIL) - set("ab[31m]0;xgnp.exe2J")


@given(st.text(st.characters(codec=None)))
def test_what_is_printable_acts_on_nothing(given_text: str) -> None:
    shown = printable(given_text)
    kinds = {unicodedata.category(sign) for sign in shown if sign not in "\n\t"}
    assert not kinds & {"Cc", "Cs", "Zl", "Zp"}
    assert not {sign for sign in shown if unicodedata.bidirectional(sign) in BIDI}
    assert printable(shown) == shown
    assert len(shown) == len(given_text)
    shown.encode()
    ET.fromstring(f"<p>{escape(given_text)}</p>")


def test_words_of_all_languages_stay_as_they_are() -> None:
    for words in (
        "left, 100 % – ok",
        "שלום",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "左へ",
        "👩\u200d🚀",
        "x²\u202f−3",
    ):
        assert printable(words) == one_line(words) == words
    assert printable("a\n\tb") == "a\n\tb"
    assert one_line("a\n\tb") == "a\ufffd\ufffdb"


def harmless(shown: str | bytes) -> bool:
    found = shown.decode() if isinstance(shown, bytes) else shown
    return not ACTING & set(found)


def machine() -> MooreMachine:
    return from_edges([(0, 0, 1), (1, 0, 1), (1, 1, 2), (2, 0, 1)], actions=[-1, 0, 1], action_names=[EVIL, "right"])


def test_drawings_and_graphs() -> None:
    assert harmless(draw_machine(machine()).dot)
    for export in (to_dot, to_mermaid, to_graphml, to_kiss2, to_prism):
        assert harmless(export(machine()))  # type: ignore[operator]
    assert harmless(table(machine()))


def test_pages_tables_and_print() -> None:
    page = environment().from_string("<p>{{ name }}</p>").render(name=EVIL)
    assert harmless(page)
    assert harmless(text(EVIL))
    assert harmless(latex(EVIL))
    assert harmless(str(made_printable({"name": EVIL})["name"]))


def test_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert harmless(plain(EVIL))
    said = io.StringIO()
    with PlainProgress(said, quiet_s=0.0).task("playing") as task:
        task.note(EVIL)
    assert harmless(said.getvalue())
    assert harmless(refused(run(capsys, EVIL)))
