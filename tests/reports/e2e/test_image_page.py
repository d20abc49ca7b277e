"""The page of an explained picture in a real browser: no complaint, no request, and its dials do what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moorelens.reports.image import Explanation
from moorelens.reports.image_html import render_image
from moorelens.reports.image_index import render_index
from tests.reports.conftest import HOSTILE
from tests.reports.e2e.test_open import Visit, browser, until
from tests.reports.image_samples import SIDE, STEPS, explanation, flat, layers, named, summary, thumbs, unexplainable

__all__ = ["browser"]
pytestmark = pytest.mark.e2e
PAGES: dict[str, Callable[[], bytes]] = {
    "explained": lambda: render_image(explanation(), layers(), up="../index.html"),
    "unexplainable": lambda: render_image(unexplainable(), layers()),
    "flat": lambda: render_image(flat(), layers()),
    "hostile": lambda: render_image(named(HOSTILE[1]), layers()),
    "index": lambda: render_index(summary(), thumbs()),
    "hostile index": lambda: render_index(summary(HOSTILE[1]), thumbs()),
}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [390, 1300])
def test_it_opens_without_a_complaint_a_request_or_a_sideways_scroll(
    browser: Any, tmp_path: Path, name: str, width: int
) -> None:
    visit = Visit(browser, PAGES[name](), tmp_path, viewport={"width": width, "height": 900})
    visit.page.wait_for_timeout(100)
    assert visit.opens(width), (visit.complaints, visit.requests)


@pytest.mark.parametrize("name", ["explained", "unexplainable", "index"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(browser: Any, tmp_path: Path, name: str, scheme: str) -> None:
    visit = Visit(browser, PAGES[name](), tmp_path, bypass_csp=True, color_scheme=scheme)
    assert not visit.barriers()


def pixel(page: Any, x: int, y: int) -> list[int]:
    script = f"[...document.getElementById('tried').getContext('2d').getImageData({x}, {y}, 1, 1).data].slice(0, 3)"
    found: list[int] = page.evaluate(script)
    return found


def opened(browser: Any, found: Explanation, folder: Path) -> Visit:
    visit = Visit(browser, render_image(found, layers()), folder)
    until(visit.page, lambda: visit.page.locator("#reading").inner_text() != "")
    return visit


def test_pixels_are_hidden_in_the_order_of_the_map(browser: Any, tmp_path: Path) -> None:
    """The columns of the picture move from left to right, by the keyboard."""
    visit = opened(browser, explanation(), tmp_path)
    page = visit.page
    assert pixel(page, SIDE - 1, 3) == [255, 0, 0]
    assert page.locator("#reading").inner_text() == "With 0\u202f% hidden the score is 0.960."
    page.get_by_role("slider", name="How much").focus()
    page.keyboard.press("ArrowRight")
    assert "12.5\u202f% hidden the score is 0.050" in page.locator("#reading").inner_text()
    assert pixel(page, 0, 3) == [90, 90, 90]
    assert pixel(page, SIDE - 1, 3) == [255, 0, 0]
    page.keyboard.press("End")
    assert all(pixel(page, x, 5) == [90, 90, 90] for x in (0, 5, SIDE - 1))
    assert page.locator(".curves .cursor.on").count() == 1
    page.get_by_label("shown alone").check()
    assert pixel(page, SIDE - 1, 3) == [255, 0, 0]
    page.keyboard.press("Tab")
    page.get_by_role("slider", name="How much").fill(str(STEPS // 2))
    assert pixel(page, 0, 3) == [0, 0, 0]
    assert pixel(page, SIDE - 1, 3) == [90, 90, 90]
    assert "shown the score is 0.960" in page.locator("#reading").inner_text()
    assert visit.quiet(), visit.complaints


def test_the_map_fades(browser: Any, tmp_path: Path) -> None:
    visit = opened(browser, explanation(), tmp_path)
    page = visit.page
    page.get_by_role("slider", name="Map over picture").fill("30")
    assert page.evaluate("getComputedStyle(document.getElementById('heat')).opacity") == "0.3"
    assert page.locator("#opacity-said").inner_text() == "30\u202f%"
    assert page.locator("#outline").is_visible()
    page.get_by_label("Outline of what was planted").uncheck()
    assert not page.locator("#outline").is_visible()
    faint = opened(browser, unexplainable(), tmp_path).page
    assert faint.evaluate("getComputedStyle(document.getElementById('heat')).opacity") == "0.4"


def test_it_is_a_readable_document_without_scripts(browser: Any, tmp_path: Path) -> None:
    visit = Visit(browser, PAGES["explained"](), tmp_path, java_script_enabled=False)
    assert visit.page.locator("#heat").is_visible()
    assert visit.page.locator(".curves").is_visible()
    assert not visit.page.locator("#try").is_visible()
    assert not visit.page.locator("#opacity").is_visible()
    assert visit.quiet()
