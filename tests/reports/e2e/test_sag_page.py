"""The page of an attention graph in a real browser: no complaint, no request, and it answers mouse and keyboard."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from moorelens.reports.sag_html import render_sag
from moorelens.reports.sag_svg import SAGPictures
from moorelens.reports.sag_words import SAGSubject
from moorelens.saliency.patches import PatchGrid
from moorelens.saliency.sets.graph import build_sag, sag_grid
from moorelens.saliency.sets.sag import SAG
from moorelens.saliency.sets.search import find_mse
from tests.reports.conftest import HOSTILE
from tests.reports.e2e.test_open import Visit, browser
from tests.saliency.sets.set_functions import alternatives, of

__all__ = ["browser"]
pytestmark = pytest.mark.e2e


def pictures(sag: SAG) -> SAGPictures:
    def png(shade: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (28, 28), (shade, 90, 160)).save(buffer, "PNG")
        return buffer.getvalue()

    return SAGPictures(whole=png(0), nothing=png(1), nodes=tuple(png(40 + index) for index in range(len(sag.nodes))))


def subject(name: str = "disc") -> SAGSubject:
    return SAGSubject(
        title=f"{name} in a.png", answer=f"probability of {name}", said=f"net says {name}.", hidden="black",
        facts=(("model", name),),
    )  # fmt: skip


def graph() -> SAG:
    """Four patches are needed, or any two of three others: 4 + 3 roots' worth of shared sets."""
    v = of(lambda p: max(len(p & {0, 1, 7, 8}) / 4, min(len(p & {20, 30, 40}), 2) / 2), count=49)
    return msgspec.structs.replace(
        build_sag(v, find_mse(v, max_roots=20), k_roots=4), grid=sag_grid(PatchGrid.regular(7, 7, (28, 28)))
    )


def features(names: list[str]) -> SAG:
    v = alternatives({0, 1}, {1, 2, 3}, count=4)
    return msgspec.structs.replace(build_sag(v, find_mse(v)), grid=sag_grid(PatchGrid.features(4), names=names))


def vacuous() -> SAG:
    v = of(lambda _: 0.5, count=49)
    return msgspec.structs.replace(build_sag(v, find_mse(v)), grid=sag_grid(PatchGrid.regular(7, 7, (28, 28))))


def none_found() -> SAG:
    v = of(lambda patches: float(len(patches) == 49), count=49)
    found = build_sag(v, find_mse(v, max_size=2))
    return msgspec.structs.replace(found, grid=sag_grid(PatchGrid.regular(7, 7, (28, 28))))


def pictured(sag: SAG, name: str = "disc") -> bytes:
    return render_sag(sag, pictures(sag), subject(name))


PAGES: dict[str, Callable[[], bytes]] = {
    "graph": lambda: pictured(graph()),
    "features": lambda: render_sag(features(["position", "velocity", "angle", "spin"]), None, subject()),
    "vacuous": lambda: pictured(vacuous()),
    "none found": lambda: pictured(none_found()),
    "hostile": lambda: render_sag(features([f"{HOSTILE[1]}{i}" for i in range(4)]), None, subject(HOSTILE[1])),
}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [390, 1300])
def test_it_opens_without_a_complaint_a_request_or_a_sideways_scroll(
    browser: Any, tmp_path: Path, name: str, width: int
) -> None:
    visit = Visit(browser, PAGES[name](), tmp_path, viewport={"width": width, "height": 900})
    assert visit.opens(width), (visit.complaints, visit.requests)


@pytest.mark.parametrize("name", ["graph", "features", "vacuous"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(browser: Any, tmp_path: Path, name: str, scheme: str) -> None:
    visit = Visit(browser, PAGES[name](), tmp_path, bypass_csp=True, color_scheme=scheme)
    assert not visit.barriers()


def test_pointing_at_a_set_shows_it_and_a_click_keeps_it(browser: Any, tmp_path: Path) -> None:
    sag = graph()
    visit = Visit(browser, pictured(sag), tmp_path, viewport={"width": 1300, "height": 1400})
    page, name = visit.page, visit.page.locator("#name")
    first = name.inner_text()
    edge = sag.edges[0]
    child = page.locator(f"#n{edge.child}")
    child.hover()
    assert name.inner_text() == " ".join(f"P{patch}" for patch in sag.nodes[edge.child].patches)
    assert f"without P{edge.patch}" in page.locator("#ways").inner_text()
    page.mouse.move(1, 1)
    assert name.inner_text() == first
    child.click()
    page.mouse.move(1, 1)
    assert name.inner_text() != first
    shown = page.locator("#large image").get_attribute("href")
    assert shown == page.locator(f"#n{edge.child} image").get_attribute("href")
    assert visit.quiet()


def test_arrow_keys_walk_the_graph(browser: Any, tmp_path: Path) -> None:
    sag = graph()
    visit = Visit(browser, pictured(sag), tmp_path, viewport={"width": 1300, "height": 1400})
    page, name = visit.page, visit.page.locator("#name")
    page.locator(f"#n{sag.roots[0]}").focus()
    at = name.inner_text()
    page.keyboard.press("ArrowDown")
    below = name.inner_text()
    assert len(below.split()) == len(at.split()) - 1
    page.keyboard.press("ArrowRight")
    beside = name.inner_text()
    assert beside != below and len(beside.split()) == len(below.split())
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    assert len(name.inner_text().split()) == len(at.split())
    assert page.evaluate("document.querySelectorAll('.node[tabindex=\"0\"]').length") == 1
    page.locator("#ways button").first.click()
    assert len(name.inner_text().split()) == len(at.split()) - 1
    assert visit.quiet()


def test_without_a_script_every_set_is_in_a_table(browser: Any, tmp_path: Path) -> None:
    sag = graph()
    visit = Visit(browser, pictured(sag), tmp_path, java_script_enabled=False)
    assert visit.page.locator("#list tbody tr").count() == len(sag.nodes)
    assert not visit.page.locator("#side").is_visible()
