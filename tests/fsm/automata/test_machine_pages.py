"""The pages on machines tell the truth: their examples run, and the comments beside them are what comes out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = ("machine", "reductions", "tiny-machines")


@pytest.mark.parametrize("page", PAGES)
def test_examples_give_what_is_written_beside_them(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    names: dict = {}
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(block, names)
        for line in block.splitlines():
            found = re.fullmatch(r"(?!from |import )(.*?\S)\s{2,}# (.*)", line)
            if found and "(N, K)" not in line and not line.startswith(" "):
                code, expected = found.groups()
                value = names[code.split(" = ")[0]] if " = " in code else eval(code, names)
                assert expected.startswith(repr(value)) or not re.match(r"[\d\[(A-Z]|None|True", expected), line


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_exist(page):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert (ROOT / "docs" / target).exists(), target


def test_pages_cite_papers_that_are_listed():
    listed = (ROOT / "docs" / "references.bib").read_text(encoding="utf-8")
    sources = [*(ROOT / "docs" / f"{page}.md" for page in PAGES), *(ROOT / "moorelens/fsm/automata").rglob("*.py")]
    for source in sources:
        for key in re.findall(r"\b[a-z]+(?:19|20)\d\d[a-z]+\b", source.read_text(encoding="utf-8")):
            assert f"{{{key}," in listed, (source.name, key)
