"""report.html is one safe, self-contained page that shows the numbers of the data."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from moorelens.reports.data import ReportData
from moorelens.reports.html import render_html
from moorelens.reports.summary import walk_numbers
from moorelens.reports.verdicts import verdicts

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Elements, attributes and visible text of a page; complains where tags do not nest."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(data.decode("utf-8"))
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text.append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(name)) is not None]


@pytest.fixture(scope="module")
def pages(cart_pole: ReportData, pong: ReportData, hostile: ReportData) -> dict[str, tuple[ReportData, bytes, Page]]:
    made = {"cart_pole": cart_pole, "pong": pong, "hostile": hostile}
    rendered = {name: render_html(data) for name, data in made.items()}
    return {name: (data, rendered[name], Page(rendered[name])) for name, data in made.items()}


Pages = dict[str, tuple[ReportData, bytes, Page]]


def test_numbers_shown_are_the_numbers_of_the_summary(pages: Pages) -> None:
    for data, _, page in pages.values():
        numbers = dict(walk_numbers(data.summary))
        shown = [attributes for _, attributes in page.tags if "data-path" in attributes]
        assert len(shown) > 25
        for attributes in shown:
            assert float(attributes["data-value"] or "nan") == numbers[attributes["data-path"] or ""]


def test_every_finding_is_on_the_page_in_words(pages: Pages) -> None:
    for data, _, page in pages.values():
        text = "".join(page.text)
        assert all(verdict.answer in text for verdict in verdicts(data))


def test_the_same_data_gives_the_same_bytes(pages: Pages) -> None:
    for data, rendered, _ in pages.values():
        assert render_html(data) == rendered


def test_names_from_outside_stay_text(pages: Pages, hostile_names: tuple[str, ...]) -> None:
    _, rendered, page = pages["hostile"]
    text = "".join(page.text)
    assert all(name in text for name in hostile_names)
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert "img" not in {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert b"</script><img" not in rendered


def test_no_style_attribute_and_no_address_but_the_papers(pages: Pages) -> None:
    for _, rendered, page in pages.values():
        assert not page.values("style")
        assert all(source.startswith("data:image/png;base64,") for source in page.values("src"))
        outside = {address for address in page.values("href") if not address.startswith("#")}
        assert outside == {"https://arxiv.org/abs/1811.12530", "https://proceedings.mlr.press/v139/danesh21a.html"}
        assert not re.search(rb"url\(|@import|xlink", rendered)


def test_the_content_policy_admits_this_script_and_style_only(pages: Pages) -> None:
    _, rendered, page = pages["cart_pole"]
    policy = next(a["content"] or "" for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        bodies = re.findall(rf"<{tag}>(.*?)</{tag}>".encode(), rendered, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(body).digest()).decode() for body in bodies]
        assert bodies
        assert rules[directive] == " ".join(f"'sha256-{digest}'" for digest in digests)


def test_ids_are_unique_and_links_lead_somewhere(pages: Pages) -> None:
    for _, _, page in pages.values():
        ids = page.values("id")
        assert len(ids) == len(set(ids))
        targets = {value[1:] for value in page.values("href") if value.startswith("#")}
        named = {name for key in ("aria-controls", "aria-labelledby") for name in page.values(key)}
        assert targets | named <= set(ids)


def test_every_picture_has_words_and_every_drawn_state_a_name(pages: Pages) -> None:
    for data, _, page in pages.values():
        assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
        names = {a["id"]: a["aria-label"] for _, a in page.tags if a.get("role") == "button"}
        for view in data.views:
            assert all((names[state.node] or "").startswith(state.word) for state in view.states)


def test_the_data_block_cannot_end_early(pages: Pages) -> None:
    _, rendered, _ = pages["hostile"]
    block = re.search(rb'<script type="application/json" id="report-data">(.*?)</script>', rendered, re.DOTALL)
    assert block is not None
    views = json.loads(block[1])["views"]
    assert [view["key"] for view in views] == ["reduced", "machine"]


def test_the_script_is_given_the_heaviest_first(pages: Pages) -> None:
    for data, rendered, _ in pages.values():
        block = re.search(rb'<script type="application/json" id="report-data">(.*?)</script>', rendered, re.DOTALL)
        assert block is not None
        given = json.loads(block[1])
        assert list(given["decisions"]) == [decision.key for decision in data.decisions]
        shares = {edge.edge: edge.count for edge in data.views[0].edges}
        counts = [shares[edge] for edge in given["views"][0]["edges"]]
        assert counts == sorted(counts, reverse=True)


def test_frames_are_shown_with_their_difference(pages: Pages) -> None:
    data, rendered, page = pages["pong"]
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) >= 8
    first = data.pictures[data.decisions[0].branches[0].example.picture]  # type: ignore[union-attr, index]
    assert base64.b64encode(first.png) in rendered


def test_a_report_without_anything_measured_still_reads(cart_pole: ReportData) -> None:
    from moorelens.reports.data import ReportData as Data
    from moorelens.reports.summary import RunSummary

    bare = Data(subject=cart_pole.subject, summary=RunSummary(policy="p", env="e"), actions=())
    text = "".join(Page(render_html(bare)).text)
    assert "No machine was drawn in this run." in text
    assert "Not measured in this run." in text
