"""The committed gallery: reports of bundled policies, small enough to clone, safe to open."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reports.test_html import Page

FOLDER = Path(__file__).parents[2] / "reports"
PAGES = sorted(FOLDER.glob("*.html"))


def test_the_gallery_has_reports_and_at_most_12_megabytes() -> None:
    assert PAGES
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= 12 * 1024 * 1024


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_report_of_the_gallery_loads_nothing(path: Path) -> None:
    page = Page(path.read_bytes())
    policy = [a["content"] or "" for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy
    assert policy[0].startswith("default-src 'none'")
    assert all(source.startswith("data:image/png;base64,") for source in page.values("src"))
