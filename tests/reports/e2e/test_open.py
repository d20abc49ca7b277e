"""The report opened from disk in a real browser: no error, no request, and the machine answers mouse and keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moorelens.reports.data import ReportData
from moorelens.reports.html import render_html

pytestmark = pytest.mark.e2e
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on the PATH: apt-get install chromium")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield opened
        opened.close()


class Visit:
    """A page opened from disk, with what it complained about and what it asked for."""

    def __init__(self, browser: Any, data: ReportData, folder: Path, **options: Any) -> None:
        file = folder / "report.html"
        file.write_bytes(render_html(data))
        self.page = browser.new_context(**options).new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())

    def quiet(self) -> bool:
        outside = [url for url in self.requests if not url.startswith(("file:", "data:"))]
        return not self.complaints and not outside


@pytest.mark.parametrize("name", ["cart_pole", "pong", "hostile"])
@pytest.mark.parametrize("width", [390, 1300])
def test_it_opens_without_a_complaint_a_request_or_a_sideways_scroll(
    browser: Any, request: pytest.FixtureRequest, tmp_path: Path, name: str, width: int
) -> None:
    visit = Visit(browser, request.getfixturevalue(name), tmp_path, viewport={"width": width, "height": 900})
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    assert visit.quiet(), (visit.complaints, visit.requests)


def test_a_state_answers_mouse_and_keyboard(browser: Any, cart_pole: ReportData, tmp_path: Path) -> None:
    visit = Visit(browser, cart_pole, tmp_path)
    page, states = visit.page, cart_pole.views[0].states
    page.locator(f"#{states[0].node}").click()
    detail = page.locator(".detail")
    assert states[0].label in detail.inner_text()
    page.locator(f"#{states[1].node}").focus()
    page.keyboard.press("Enter")
    assert states[1].label in detail.locator("h3").inner_text()
    page.keyboard.press("Escape")
    assert not detail.is_visible()
    assert visit.quiet()


def test_the_other_machine_is_a_tab_away(browser: Any, cart_pole: ReportData, tmp_path: Path) -> None:
    page = Visit(browser, cart_pole, tmp_path).page
    page.get_by_role("tab").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab").nth(1).get_attribute("aria-selected") == "true"
    assert page.locator(f"#{cart_pole.views[1].states[0].node}").is_visible()
    assert not page.locator(f"#{cart_pole.views[0].states[0].node}").is_visible()


def test_zoom_and_fit_and_the_link_from_a_decision(browser: Any, pong: ReportData, tmp_path: Path) -> None:
    page = Visit(browser, pong, tmp_path).page
    box = "document.querySelector('#view-0 svg').getAttribute('viewBox')"
    begun = page.evaluate(box)
    page.get_by_role("button", name="Show all").click()
    whole = page.evaluate(box)
    page.get_by_role("button", name="Zoom in").click()
    assert len({begun, whole, page.evaluate(box)}) == 3
    page.locator("[data-show]").first.click()
    decision = pong.decisions[0]
    assert decision.label in page.locator(".detail h3").inner_text()
    assert page.locator(f"#{decision.node}").is_visible()


def test_a_link_to_a_state_opens_it(browser: Any, cart_pole: ReportData, tmp_path: Path) -> None:
    visit = Visit(browser, cart_pole, tmp_path)
    state = cart_pole.views[1].states[2]
    visit.page.goto(f"{visit.page.url.split('#')[0]}#state=machine%3A{state.node}")
    assert state.label in visit.page.locator(".detail h3").inner_text()


def test_names_from_outside_run_nothing(browser: Any, hostile: ReportData, tmp_path: Path) -> None:
    visit = Visit(browser, hostile, tmp_path)
    dialogs: list[str] = []
    visit.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    visit.page.locator(f"#{hostile.views[0].states[0].node}").click()
    assert hostile.views[0].states[0].word in visit.page.locator(".detail h3").inner_text()
    assert not dialogs
    assert visit.page.locator("img").count() == 0
