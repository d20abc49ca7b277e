"""Pictures come from whatever Graphviz there is, in time or not at all, and foreign text stays text."""

from __future__ import annotations

import os
import subprocess
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import graphviz as builder
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorelens import graphviz
from moorelens.errors import InvariantError, LayoutTimeout, MissingToolError

DOT = 'digraph { a [label="one"]; b [label="two"]; a -> b }'
SLOW = (
    "digraph {"
    + ";".join(f'{i}->{(i * i * 7 + j * 13) % 80} [label="edge {j}"]' for i in range(80) for j in range(6))
    + "}"
)


def texts(svg: bytes) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def only(monkeypatch: pytest.MonkeyPatch, route: graphviz.Route) -> None:
    monkeypatch.setattr(graphviz, "routes", lambda: (route,))


def fake_dot(tmp_path: Path, script: str) -> graphviz.Route:
    path = tmp_path / "dot"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return graphviz.Route(kind="dot", path=str(path))


def test_an_svg_holds_the_labels() -> None:
    assert texts(graphviz.render(DOT)) == ["one", "two"]


@pytest.mark.parametrize(("image_format", "magic"), [("pdf", b"%PDF"), ("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_every_format_is_what_it_says(image_format: graphviz.Format, magic: bytes) -> None:
    assert graphviz.render(DOT, format=image_format).startswith(magic)


def test_equal_text_gives_equal_bytes() -> None:
    assert graphviz.render(DOT) == graphviz.render(DOT)


def test_nothing_on_the_path_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert texts(graphviz.render(DOT)) == ["one", "two"]


def test_a_layout_that_takes_too_long_is_stopped() -> None:
    began = time.monotonic()
    with pytest.raises(LayoutTimeout, match="1 s"):
        graphviz.render(SLOW, timeout_s=1.0)
    assert time.monotonic() - began < 60  # far above the limit: the machine may be busy


def test_text_that_is_not_dot_is_refused() -> None:
    with pytest.raises(InvariantError, match="refused"):
        graphviz.render("digraph {")


@pytest.mark.skipif(os.name != "posix", reason="a shell script stands for dot")
class TestASystemDot:
    def test_is_used_where_pygraphviz_cannot_be_imported(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        broken = tmp_path / "packages"
        (broken / "pygraphviz").mkdir(parents=True)
        (broken / "pygraphviz/__init__.py").write_text("raise ImportError('no library')")
        monkeypatch.setenv("PYTHONPATH", str(broken))
        monkeypatch.setenv("MOORELENS_DOT", str(fake_dot(tmp_path, 'echo "<svg>$1</svg>"').path))
        assert graphviz.render(DOT) == b"<svg>-Tsvg</svg>\n"

    def test_gets_the_text_on_stdin(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        only(monkeypatch, fake_dot(tmp_path, "cat"))
        assert graphviz.render(DOT) == DOT.encode()

    def test_that_fails_is_quoted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        only(monkeypatch, fake_dot(tmp_path, "echo 'syntax error in line 1' >&2; exit 1"))
        with pytest.raises(InvariantError, match="syntax error in line 1"):
            graphviz.render(DOT)

    def test_that_is_not_there_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        only(monkeypatch, graphviz.Route(kind="dot", path=str(tmp_path / "none")))
        with pytest.raises(MissingToolError, match="MOORELENS_DOT"):
            graphviz.render(DOT)


def test_without_any_graphviz_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphviz, "routes", lambda: ())
    with pytest.raises(MissingToolError, match="pip install pygraphviz"):
        graphviz.render(DOT)


def test_routes_name_pygraphviz_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORELENS_DOT", "/somewhere/dot")
    assert [route.kind for route in graphviz.routes()] == ["pygraphviz", "dot"]
    assert graphviz.routes()[1].path == "/somewhere/dot"


HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "<<b>bold</b>>",
    '<<img src="/etc/passwd"/>>',
    "a\\nb \\N \\",
    '"]; evil [label="',
    "&lt;i&gt; & &#65;",
    "nul \x00 bell \x07",
    "",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_shown_as_they_are(text: str) -> None:
    graph = builder.Digraph()
    graph.node("n", label=graphviz.escape(text), tooltip=graphviz.escape(text))
    svg = graphviz.render(graph.source)
    assert "".join(texts(svg)) == text.replace("\x00", "\ufffd").replace("\x07", "\ufffd").strip()


@settings(max_examples=15, deadline=None)
@given(st.text(st.characters(codec=None), max_size=12))
def test_no_name_breaks_a_drawing(text: str) -> None:
    graph = builder.Digraph()
    graph.node("n", label=graphviz.escape(text))
    ET.fromstring(graphviz.render(graph.source))


def test_a_layout_ends_by_itself_when_its_caller_was_killed() -> None:
    pytest.importorskip("resource")
    process = subprocess.Popen(
        graphviz._command(graphviz.Route(kind="pygraphviz"), "svg", 0.0), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    process.communicate(SLOW.encode(), timeout=300)
    assert process.returncode < 0
