"""The report opened from disk in a real browser: no error, no request, and it answers mouse, keyboard and search."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moorelens.reports.comparison import render_comparison
from moorelens.reports.data import ReportData
from moorelens.reports.growth import Growth, Stage, render_growth
from moorelens.reports.html import render_html

pytestmark = pytest.mark.e2e
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def missing(what: str) -> None:
    """Skip where a part for these tests is missing; a failure where they must run (`MOORELENS_E2E=1`, `.ci/run`)."""
    if os.environ.get("MOORELENS_E2E") == "1":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        from playwright import sync_api as api
    except ImportError:
        missing("playwright is not installed: pip install playwright")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        missing("no chromium on the PATH: apt-get install chromium")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield opened
        opened.close()


class Visit:
    """A page opened from disk, with what it complained about and what it asked for."""

    def __init__(self, browser: Any, shown: ReportData | bytes, folder: Path, **options: Any) -> None:
        file = folder / "report.html"
        file.write_bytes(shown if isinstance(shown, bytes) else render_html(shown))
        self.page = browser.new_context(**options).new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())

    @property
    def panel(self) -> Any:
        return self.page.locator("#panel")

    def quiet(self) -> bool:
        outside = [url for url in self.requests if not url.startswith(("file:", "data:"))]
        return not self.complaints and not outside

    def opens(self, width: int) -> bool:
        """Say whether the page needs no sideways scroll, asks for nothing and complains of nothing."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth") <= width) and self.quiet()

    def barriers(self) -> str:
        """Return what axe finds that keeps somebody out; empty where there is nothing."""
        try:
            from axe_playwright_python.sync_playwright import Axe
        except ImportError:
            missing("axe is not installed: pip install axe-playwright-python")
        found = Axe().run(self.page)
        return str(found.generate_report()) if found.violations_count else ""


@pytest.mark.parametrize("name", ["cart_pole", "pong", "hostile"])
@pytest.mark.parametrize("width", [390, 1300])
def test_it_opens_without_a_complaint_a_request_or_a_sideways_scroll(
    browser: Any, request: pytest.FixtureRequest, tmp_path: Path, name: str, width: int
) -> None:
    visit = Visit(browser, request.getfixturevalue(name), tmp_path, viewport={"width": width, "height": 900})
    assert visit.opens(width), (visit.complaints, visit.requests)


def test_the_slider_stays_in_its_column_on_a_phone(browser: Any, cart_pole: ReportData, tmp_path: Path) -> None:
    """Its ends reach over those of the strip by half a thumb, so that the thumb's middle is at the step."""
    page = Visit(browser, cart_pole, tmp_path, viewport={"width": 400, "height": 900}).page
    deck, slider, strip = (page.locator(name).bounding_box() for name in (".deck", "#scrubber", ".timeline .strip"))
    assert slider["x"] >= deck["x"] and slider["x"] + slider["width"] <= deck["x"] + deck["width"]
    assert (strip["x"] - slider["x"], slider["width"] - strip["width"]) == pytest.approx((8, 16))


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[3] / "reports").glob("*.html")), ids=lambda p: p.stem)
def test_a_report_of_the_gallery_opens_and_plays(browser: Any, path: Path) -> None:
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    page.locator("[data-play=next]").click()
    assert len(lit(page)) <= 1
    for tab in page.get_by_role("tab").all():
        tab.click()
    page.close()
    assert not complaints
    assert all(url.startswith(("file:", "data:")) for url in requests)


@pytest.mark.parametrize("name", ["cart_pole", "large"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(
    browser: Any, request: pytest.FixtureRequest, tmp_path: Path, name: str, scheme: str
) -> None:
    data = request.getfixturevalue(name)
    visit = Visit(browser, data, tmp_path, bypass_csp=True, color_scheme=scheme)
    decision = data.decisions[0]
    visit.page.locator(f"#{decision.node}").dispatch_event("click")
    visit.page.locator("[data-play=next]").click()
    assert not visit.barriers()


def test_axe_finds_no_barrier_in_a_comparison(
    browser: Any, cart_pole: ReportData, pong: ReportData, tmp_path: Path
) -> None:
    both = render_comparison(cart_pole, pong)
    visit = Visit(browser, both, tmp_path, bypass_csp=True, viewport={"width": 390, "height": 900})
    assert not visit.barriers()
    assert visit.opens(390)


def test_a_training_report_opens_on_a_phone_without_a_barrier(
    browser: Any, cart_pole: ReportData, tmp_path: Path
) -> None:
    stages = [
        Stage(growth=Growth(steps=100 * place, states=place, symbols=2, policy=9.0, machine=8.0), svg=view.svg)
        for place, view in enumerate(cart_pole.views, start=1)
    ]
    page = render_growth(stages, policy="PPO", env="CartPole-v1", settings="")
    visit = Visit(browser, page, tmp_path, bypass_csp=True, viewport={"width": 390, "height": 900})
    assert not visit.barriers()
    assert visit.opens(390)


def test_a_state_answers_mouse_and_keyboard(browser: Any, cart_pole: ReportData, tmp_path: Path) -> None:
    visit = Visit(browser, cart_pole, tmp_path)
    page, states = visit.page, cart_pole.views[0].states
    page.locator(f"#{states[0].node}").click()
    assert states[0].label in visit.panel.locator("h3").inner_text()
    for heading in ("Leads to", "Features while here", "Stays", "Where in the episodes"):
        assert heading in visit.panel.inner_text()
    page.locator(f"#{states[1].node}").focus()
    page.keyboard.press("Enter")
    assert states[1].label in visit.panel.locator("h3").inner_text()
    page.keyboard.press("Escape")
    assert cart_pole.views[0].title in visit.panel.locator("h3").inner_text()
    assert visit.quiet()


def test_the_machine_is_walked_by_keyboard_alone(browser: Any, large: ReportData, tmp_path: Path) -> None:
    visit = Visit(browser, large, tmp_path, viewport={"width": 1300, "height": 900})
    page = visit.page
    page.get_by_role("searchbox").focus()
    page.keyboard.type("m5")
    page.keyboard.press("Enter")
    assert "(M5)" in visit.panel.locator("h3").inner_text()
    # From the search through the zoom buttons, the switch and the drawing into the panel, and on to another state.
    for _ in range(300):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#panel .ways') !== null"):
            break
    label = page.evaluate("document.activeElement.textContent").split()[0]
    page.keyboard.press("Enter")
    assert f"({label})" in visit.panel.locator("h3").inner_text()
    assert page.evaluate("document.activeElement.id") == "panel"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "close"
    page.keyboard.press("Enter")
    assert "Choose a state" in visit.panel.inner_text()
    assert visit.quiet()


def test_an_arrow_says_its_symbols_and_counts(browser: Any, cart_pole: ReportData, tmp_path: Path) -> None:
    visit = Visit(browser, cart_pole, tmp_path)
    edge = max(cart_pole.views[0].edges, key=lambda edge: edge.count)
    visit.page.locator(".bench").scroll_into_view_if_needed()
    # In the middle of the arrow, beside the line: the wide unseen line takes the click.
    spot = visit.page.evaluate(
        "(id) => { const p = document.querySelector(`#${id} path`), m = p.getPointAtLength(p.getTotalLength() / 2)"
        ".matrixTransform(p.getScreenCTM()); return [m.x, m.y]; }",
        edge.edge,
    )
    visit.page.mouse.click(spot[0] + 2, spot[1])
    text = visit.panel.inner_text()
    assert f"{edge.count:,}".replace(",", "\u202f") in text
    assert all(item.symbol in text for item in edge.symbols[:3])
    assert "Examples" in text
    assert visit.quiet()


def test_a_decision_shows_its_branches_side_by_side(browser: Any, cart_pole: ReportData, tmp_path: Path) -> None:
    visit = Visit(browser, cart_pole, tmp_path)
    decision = cart_pole.decisions[0]
    visit.page.locator(f"#{decision.node}").click()
    branches = visit.panel.locator(".branch")
    assert branches.count() == min(len(decision.branches), 4)
    left, right = branches.nth(0).bounding_box(), branches.nth(1).bounding_box()
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    for place, branch in enumerate(decision.branches[:2]):
        assert branch.rule is None or branch.rule.text in branches.nth(place).inner_text()
    visit.panel.get_by_role("link", name="compare its branches").click()
    assert visit.page.locator("#decision-1").is_visible()
    assert visit.quiet()


def test_the_other_machine_is_a_tab_away(browser: Any, cart_pole: ReportData, tmp_path: Path) -> None:
    page = Visit(browser, cart_pole, tmp_path).page
    page.get_by_role("tab", selected=True).focus()
    page.keyboard.press("ArrowLeft")
    assert page.get_by_role("tab", selected=True).inner_text().startswith("As extracted")
    assert page.locator(f"#{cart_pole.views[1].states[0].node}").is_visible()
    assert not page.locator(f"#{cart_pole.views[0].states[0].node}").is_visible()


def test_pointing_at_a_reduction_shows_what_it_merged(browser: Any, cart_pole: ReportData, tmp_path: Path) -> None:
    page = Visit(browser, cart_pole, tmp_path).page
    page.get_by_role("tab", name="As extracted").click()
    page.get_by_role("tab", name="Reduced").hover()
    assert "Join chains" in page.locator("#tip").inner_text()
    members = {state.members[0]: state.node for state in cart_pole.views[1].states}
    touched = {node.get_attribute("id") for node in page.locator("#view-1 .touched").all()}
    assert touched == {members[state] for state in (0, 1) if state in members}


def test_search_finds_states_symbols_and_rules(browser: Any, cart_pole: ReportData, tmp_path: Path) -> None:
    visit = Visit(browser, cart_pole, tmp_path)
    search = visit.page.get_by_role("searchbox")
    state = cart_pole.views[0].states[3]
    search.fill(state.label.lower())
    assert visit.panel.locator("li").first.inner_text().startswith(state.label)
    visit.page.keyboard.press("Enter")
    assert state.label in visit.panel.locator("h3").inner_text()
    symbol = cart_pole.views[0].edges[0].symbols[0].symbol
    search.fill(symbol)
    assert visit.page.locator("#view-0 .edge.hit").count() >= 1
    search.fill("nothing like it")
    assert "0 found" in visit.panel.inner_text()
    assert visit.quiet()


def test_zoom_and_fit_and_the_link_from_a_decision(browser: Any, pong: ReportData, tmp_path: Path) -> None:
    visit = Visit(browser, pong, tmp_path)
    page = visit.page
    box = (
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done("
        "document.querySelector('#view-0 svg').getAttribute('viewBox')))))"
    )
    begun = page.evaluate(box)
    page.get_by_role("button", name="Actual size").click()
    actual = page.evaluate(box)
    page.get_by_role("button", name="Zoom in").click()
    assert len({begun, actual, page.evaluate(box)}) == 3
    page.get_by_role("button", name="Show all").click()
    assert page.evaluate(box) == begun
    page.locator("[data-show]").first.click()
    decision = pong.decisions[0]
    assert decision.label in visit.panel.locator("h3").inner_text()
    assert page.locator(f"#{decision.node}").is_visible()


@pytest.mark.parametrize("width", [390, 800, 1100, 1600])
def test_a_drawing_opens_as_a_whole_and_goes_to_its_actual_size(
    browser: Any, pong: ReportData, tmp_path: Path, width: int
) -> None:
    page = Visit(browser, pong, tmp_path, viewport={"width": width, "height": 900}).page
    window = page.locator("#view-0 .viewport").bounding_box()
    for node in page.locator("#view-0 .node").all():
        box = node.bounding_box()
        assert window["x"] - 1 <= box["x"] and box["x"] + box["width"] <= window["x"] + window["width"] + 1
        assert window["y"] - 1 <= box["y"] and box["y"] + box["height"] <= window["y"] + window["height"] + 1
    fit, full = page.get_by_role("button", name="Show all"), page.get_by_role("button", name="Actual size")
    assert fit.get_attribute("aria-pressed") == "true"
    full.click()
    until(page, lambda: full.get_attribute("aria-pressed") == "true")
    assert fit.get_attribute("aria-pressed") == "false"
    svg = "document.querySelector('#view-0 svg')"
    assert page.evaluate(f"{svg}.clientWidth / {svg}.viewBox.baseVal.width") == pytest.approx(4 / 3, rel=0.01)


def test_a_large_machine_is_explored_beyond_what_is_drawn(browser: Any, large: ReportData, tmp_path: Path) -> None:
    visit = Visit(browser, large, tmp_path, viewport={"width": 1300, "height": 900})
    page, places = visit.page, {view.key: place for place, view in enumerate(large.views)}
    base, whole = (next(view for view in large.views if view.key == key) for key in ("machine", "machine-whole"))
    page.get_by_role("tab", name="As extracted").click()
    assert page.locator(f"#view-{places['machine-whole']} .node").count() == 0
    drawn = {state.label for state in base.states}
    hidden = next(state for state in whole.states if state.label not in drawn)
    search = page.get_by_role("searchbox")
    search.fill(hidden.label)
    page.keyboard.press("Enter")
    assert f"({hidden.label})" in visit.panel.locator("h3").inner_text()
    node = page.locator(f"#{hidden.node}")
    until(page, lambda: "chosen" in (node.get_attribute("class") or "") and node.is_visible())
    assert page.locator(f"#view-{places['machine-whole']} .edge.near").count() >= 1
    for heading in ("Leads to", "Comes from", "Stands for"):
        assert heading in visit.panel.inner_text()
    # From state to state by what it leads to.
    edge = max((edge for edge in whole.edges if edge.source == hidden.node), key=lambda edge: edge.count)
    target = next(state for state in whole.states if state.node == edge.target)
    visit.panel.get_by_role("button", name=f"{target.label} {target.word}", exact=True).first.click()
    assert f"({target.label})" in visit.panel.locator("h3").inner_text()
    page.get_by_role("button", name="most visited").locator("visible=true").click()
    assert page.locator(f"#{base.states[0].node}").is_visible()
    assert visit.quiet()


def test_the_player_lights_a_map_too(browser: Any, large: ReportData, tmp_path: Path) -> None:
    visit = Visit(browser, large, tmp_path, viewport={"width": 1300, "height": 900})
    whole = next(view for view in large.views if view.key == "machine-whole")
    visit.page.get_by_role("tab", name="As extracted").click()
    visit.page.locator(".extent:not([hidden]) button").nth(1).click()
    visit.page.get_by_role("slider").fill("40")
    state = large.episodes[0].states[40]
    assert lit(visit.page) == {next(one.node for one in whole.states if state in one.members)}
    assert visit.quiet()


def test_a_link_to_a_state_that_only_the_map_shows_opens_it(browser: Any, large: ReportData, tmp_path: Path) -> None:
    visit = Visit(browser, large, tmp_path)
    whole = next(view for view in large.views if view.key == "machine-whole")
    visit.page.goto(f"{visit.page.url.split('#')[0]}#state=machine-whole%3A{whole.states[-1].node}")
    visit.page.reload()
    assert f"({whole.states[-1].label})" in visit.panel.locator("h3").inner_text()


def test_a_link_to_a_state_opens_it(browser: Any, cart_pole: ReportData, tmp_path: Path) -> None:
    visit = Visit(browser, cart_pole, tmp_path)
    state = cart_pole.views[1].states[2]
    visit.page.goto(f"{visit.page.url.split('#')[0]}#state=machine%3A{state.node}")
    assert state.label in visit.panel.locator("h3").inner_text()


def until(page: Any, holds: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Wait until something holds; the page's own policy forbids Playwright's way of asking."""
    for _ in range(int(seconds * 20)):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not come to pass")


def lit(page: Any) -> set[str]:
    return {node.get_attribute("id") for node in page.locator(".view.current .node.lit").all()}


def test_an_episode_plays_with_the_current_state_lit(browser: Any, cart_pole: ReportData, tmp_path: Path) -> None:
    visit = Visit(browser, cart_pole, tmp_path)
    page, episode, view = visit.page, cart_pole.episodes[0], cart_pole.views[0]
    readout = page.locator("#readout")
    slider = page.get_by_role("slider")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert lit(page) == {view.states[episode.nodes[1]].node}
    assert readout.locator(".state dd").inner_text().startswith(f"S{episode.states[1]}")
    assert view.states[episode.nodes[1]].label in readout.locator(".state dd").inner_text()
    assert readout.locator(".symbol dd").inner_text() == episode.symbols[1]
    assert cart_pole.actions[episode.actions[1]].name in readout.locator(".action dd").inner_text()
    code = cart_pole.codes[episode.states[1]].replace("-", "\u2212")
    assert code in (readout.locator(".code").get_attribute("aria-label") or "")
    page.keyboard.press("n")
    following = next(step for step in episode.decisions if step > 1)
    assert slider.input_value() == str(following)
    page.keyboard.press("p")
    assert int(slider.input_value()) < following
    page.locator("#speed").select_option("60")
    page.get_by_role("button", name="Play").click()
    until(page, lambda: int(slider.input_value()) > 20)
    page.get_by_role("button", name="Pause").click()
    step = int(slider.input_value())
    assert lit(page) == {view.states[episode.nodes[step]].node}
    assert page.locator(".trace").count() == len(episode.traces)
    assert visit.quiet()


def test_frames_of_a_game_are_shown_as_they_were_seen(browser: Any, pong: ReportData, tmp_path: Path) -> None:
    visit = Visit(browser, pong, tmp_path)
    page = visit.page
    page.get_by_role("slider").fill("200")  # in the second strip
    x, y = 12 + 200 % 50, 10 + 200 % 60
    pixel = f"[...document.querySelector('.screen').getContext('2d').getImageData({x}, {y}, 1, 1).data].slice(0, 3)"
    until(page, lambda: page.evaluate(pixel) == [236, 236, 236])
    assert visit.quiet()


def test_an_example_plays_from_where_it_was_recorded(browser: Any, pong: ReportData, tmp_path: Path) -> None:
    page = Visit(browser, pong, tmp_path).page
    page.locator("#decisions [data-episode]").first.click()
    example = pong.decisions[0].branches[0].example
    assert example is not None
    assert page.get_by_role("slider").input_value() == str(example.place.step)


def test_it_is_a_readable_document_without_scripts(browser: Any, cart_pole: ReportData, tmp_path: Path) -> None:
    visit = Visit(browser, cart_pole, tmp_path, java_script_enabled=False)
    for view in cart_pole.views:
        assert visit.page.locator(f"#{view.states[0].node}").is_visible()
    assert not visit.page.locator("#player").is_visible()
    assert not visit.page.locator(".tabs").is_visible()
    assert visit.quiet()


def test_names_from_outside_run_nothing(browser: Any, hostile: ReportData, tmp_path: Path) -> None:
    visit = Visit(browser, hostile, tmp_path)
    dialogs: list[str] = []
    visit.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    visit.page.locator(f"#{hostile.views[0].states[0].node}").click()
    assert hostile.views[0].states[0].word in visit.panel.locator("h3").inner_text()
    visit.page.get_by_role("searchbox").fill("<script")
    visit.page.locator("[data-play=next]").click()
    assert not dialogs
    assert visit.page.locator("img").count() == 0
    assert visit.page.locator("script").count() == 3
