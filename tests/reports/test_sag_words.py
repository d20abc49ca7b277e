"""An attention graph in sentences: a hidden input that outdoes the whole is said in scores, not as a share."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import msgspec

from moorelens.reports.sag_html import render_sag
from moorelens.reports.sag_svg import loses, sag_svg
from moorelens.reports.sag_words import SAGSubject, findings, lede
from moorelens.saliency.patches import PatchGrid
from moorelens.saliency.sets.graph import build_sag, sag_grid
from moorelens.saliency.sets.sag import SAG
from moorelens.saliency.sets.search import find_mse
from moorelens.saliency.sets.text import set_name
from tests.saliency.sets.set_functions import of

SUBJECT = SAGSubject(title="disc in a.png", answer="probability of disc", said="net says cross.", hidden="black")


def graph(whole: float, hidden: float) -> SAG:
    v = of(lambda patches: whole if len(patches) == 4 else hidden, count=4)
    grid = sag_grid(PatchGrid.regular(2, 2, (4, 4)))
    return msgspec.structs.replace(build_sag(v, find_mse(v)), grid=grid)


def drawn(sag: SAG) -> str:
    root = ET.fromstring(sag_svg(sag, None, title=SUBJECT.title, answer=SUBJECT.answer))
    return " ".join([root.get("aria-label", ""), *(text.text or "" for text in root.iter() if text.text)])


def test_a_hidden_picture_that_is_likelier_than_the_whole_is_said_in_probabilities() -> None:
    sag = graph(1.3e-5, 0.681)
    assert sag.vacuous
    [found] = findings(sag, SUBJECT)
    for text in (lede(sag, SUBJECT), found.text, drawn(sag), render_sag(sag, None, SUBJECT).decode()):
        assert "higher for the hidden picture (0.681) than for the picture itself (1.30e\u221205)" in text
        assert "nothing is to be explained under this baseline" in text
        assert "keeps" not in text.split("<main>")[-1].split("What this means")[0]


def test_a_hidden_picture_that_does_about_as_well_is_said_as_a_share() -> None:
    sag = graph(0.5, 0.48)
    assert "keeps 96.0\u202f% of the probability of disc" in lede(sag, SUBJECT)


def named(*names: str) -> SAG:
    v = of(lambda patches: 1.0 if patches >= {0, 1} else 0.77 if 0 in patches else 0.2, count=3)
    return msgspec.structs.replace(build_sag(v, find_mse(v)), grid=sag_grid(PatchGrid.features(3), names=names))


def test_names_of_several_words_do_not_run_together() -> None:
    sag = named("at the fork", "in the corridor", "speed")
    needed = next(one for one in findings(sag, SUBJECT) if one.question.startswith("What if"))
    assert "at the fork & in the corridor loses most without \u201cat the fork\u201d" in needed.text
    assert needed.word == "loses 80 points"
    assert set_name((0, 2), sag.grid) == "at the fork & speed"
    assert set_name((0, 2), named("a", "b", "c").grid) == "a c"


def test_what_a_removal_does_is_a_verb() -> None:
    assert [loses(drop) for drop in (0.23, 0.01, -0.03, 0.001)] == [
        "loses 23 points", "loses 1 point", "gains 3 points", "loses nothing"
    ]  # fmt: skip


def test_a_page_names_its_file_and_asks_nobody_to_point_at_nothing() -> None:
    subject = replace(SUBJECT, advice="Ask for the memory.")
    empty = render_sag(graph(0.5, 0.5), None, subject, source="S1-S2-sag.json").decode()
    assert "<code>S1-S2-sag.json</code>" in empty and "<code>sag.json</code>" not in empty
    assert "Ask for the memory." in empty and "another class" not in empty
    assert "Point at a set" not in empty
    assert "Point at a set" in render_sag(named("a", "b", "c"), None, SUBJECT).decode()


def test_a_graph_wider_than_its_page_says_so_and_shades_its_sides() -> None:
    text = render_sag(named("a", "b", "c"), None, SUBJECT).decode()
    assert 'id="beyond" hidden>The graph is wider than this page: scroll it sideways' in text
    assert ".hidden = sheet.scrollWidth" in text and "no-repeat local" in text


def test_a_drawing_of_its_own_lies_on_white_and_one_of_a_page_on_the_page() -> None:
    sag = graph(0.9, 0.1)
    alone, within = (sag_svg(sag, None, title="t", answer="a", paper=paper) for paper in (True, False))
    root = ET.fromstring(alone)
    ground = root[0]
    assert ground.tag.endswith("rect") and ground.get("fill") == "#ffffff"
    assert (ground.get("width"), ground.get("height")) == tuple((root.get("viewBox") or "").split()[2:])
    assert "#ffffff" not in within
