"""How long a report takes to lay out, to write and to open, and how smoothly it pans, by the size of its machine.

    python benchmarks/report_speed.py [--states 60 500 2000] [--steps 20000]

Machines are random walks with a few decisions. Opening is measured in headless Chromium, from `goto` to the first state
drawn; `whole s` from asking for all states to the map of them; panning by the length of 60 animation frames while that
map, or the drawing where there is none, moves. Needs Playwright and Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from moorelens.fsm.automata.build import build_machine
from moorelens.fsm.automata.reductions import reduce
from moorelens.fsm.automata.traces import previous_states
from moorelens.fsm.drawing import draw_machine, draw_reduced
from moorelens.fsm.drawing_sources import graph_of_machine, graph_of_reduced
from moorelens.fsm.drawing_style import action_styles
from moorelens.graphviz import render
from moorelens.pipelines.films import code_texts
from moorelens.pipelines.reductions import heads
from moorelens.pipelines.visits import Recording, with_visits
from moorelens.reports.build import action_marks, machine_view, whole_view
from moorelens.reports.data import Episode, Picture, ReportData, Subject
from moorelens.reports.html import render_html
from moorelens.reports.summary import RunSummary

NAMES = ("stay", "left", "right", "up")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
PAN = """() => new Promise((done) => {
  const view = document.querySelector('.view.current .viewport'), gaps = [];
  let last = performance.now();
  const frame = (now) => {
    gaps.push(now - last);
    last = now;
    const key = gaps.length % 8 < 4 ? 'ArrowRight' : 'ArrowLeft';
    view.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
    if (gaps.length < 60) requestAnimationFrame(frame); else done(gaps.slice(5).sort((a, b) => a - b));
  };
  requestAnimationFrame(frame);
})"""


def walked(states: int, steps: int) -> tuple[Any, Any]:
    """Return a machine of `states` states and its traces: a ring with shortcuts, one state in five decides."""
    rng = np.random.default_rng(0)
    shortcuts = rng.integers(0, states, size=states)
    symbols = rng.integers(0, 2, size=steps)
    codes = np.empty(steps, dtype=np.int64)
    state = 0
    for step in range(steps):
        jumps = state % 5 == 4 and symbols[step] == 1
        state = int(shortcuts[state]) if jumps else (state + 1) % states
        codes[step] = state
    digits = np.stack([codes // 100, codes % 100], axis=1)
    return build_machine(
        start_codes=np.full((1, 2), -1), state_codes=digits, symbol_codes=symbols[:, None], actions=codes % len(NAMES),
        offsets=np.array([0, steps]), terminated=np.zeros(1, dtype=bool), truncated=np.ones(1, dtype=bool),
        action_names=NAMES,
    )  # fmt: skip


def report_of(states: int, steps: int) -> tuple[ReportData, float, int]:
    """Return a report on such a machine, the seconds its layouts took, and how many states the machine has."""
    machine, traces = walked(states, steps)
    reduced = reduce(machine, traces=traces).reduced
    styles = action_styles(NAMES)
    drawings = {
        "reduced": draw_reduced(reduced, styles=styles, legend=False, prefix="r-"),
        "machine": draw_machine(machine, styles=styles, legend=False, prefix="u-"),
    }
    began = time.perf_counter()
    pictures = {key: render(drawing.dot) for key, drawing in drawings.items()}
    layout = time.perf_counter() - began
    recording = Recording(
        before=previous_states(traces, start=machine.start), states=traces.states, offsets=traces.offsets,
        frames=traces.symbols[:, None].astype(float), frame_index=np.arange(steps), feature_names=("x",),
    )  # fmt: skip
    shown: dict[str, Picture] = {}
    forms = [machine_view(drawing, pictures[key], key=key, title=key) for key, drawing in drawings.items()]
    if drawings["reduced"].detail == "top":
        forms.append(whole_view(graph_of_reduced(reduced, prefix="reduced-whole-")[0], of="reduced", title="reduced"))
    if drawings["machine"].detail == "top":
        forms.append(whole_view(graph_of_machine(machine, prefix="machine-whole-")[0], of="machine", title="machine"))
    views = tuple(
        with_visits(view, recording, pictures=shown, heads=heads(reduced) if "reduced" in view.key else None)
        for view in forms
    )
    return _data(machine, traces, views, styles, steps), layout, machine.n_states


def _data(machine: Any, traces: Any, views: Any, styles: Any, steps: int) -> ReportData:
    home = {member: place for place, state in enumerate(views[0].states) for member in state.members}
    length = min(steps, 2000)
    episode = Episode(
        seed=0, protocol="fit", player="mmn", total=0.0, ended="truncated", view=views[0].key,
        nodes=tuple(home.get(state, 0) for state in traces.states[:length].tolist()),
        symbols=tuple(f"o{symbol}" for symbol in traces.symbols[:length].tolist()),
        actions=tuple(traces.actions[:length].tolist()), rewards=(0.0,) * length,
        states=tuple(traces.states[:length].tolist()),
    )  # fmt: skip
    return ReportData(
        subject=Subject(policy="bench", policy_name="bench", identity="sha256:0", env="none", env_kind="custom",
                        action_names=NAMES),
        summary=RunSummary(policy="bench", env="none"), actions=action_marks(styles), views=views,
        codes=code_texts(machine.state_codes), episodes=(episode,),
    )  # fmt: skip


def opened(browser: Any, file: Path) -> tuple[float, float, float, float]:
    """Return the seconds until a page answers and until its largest machine is drawn whole, and how its frames go.

    Of the frames while that machine is moved: the median and the 95th percentile in ms.
    """
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    began = time.perf_counter()
    page.goto(file.as_uri())
    page.locator(".view.current .node").first.wait_for()
    seconds = time.perf_counter() - began
    page.get_by_role("tab", name="machine").click()
    extent, whole = page.locator(".extent:not([hidden]) button"), 0.0
    if extent.count():
        began = time.perf_counter()
        extent.nth(1).click()
        page.locator(".view.current .node").first.wait_for()
        whole = time.perf_counter() - began
    gaps = page.evaluate(PAN)
    page.close()
    return seconds, whole, gaps[len(gaps) // 2], gaps[int(len(gaps) * 0.95)]


def main() -> None:
    """Print one row a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", type=int, nargs="+", default=[60, 500, 2000])
    parser.add_argument("--steps", type=int, default=20_000)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    heads_of = {
        "states": 7,
        "drawn": 7,
        "layout s": 10,
        "write s": 9,
        "MB": 7,
        "open s": 8,
        "whole s": 9,
        "frame ms": 10,
    }
    print("".join(f"{name:>{width}}" for name, width in heads_of.items()) + f"{'95 %':>7}")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        for states in options.states:
            data, layout, found = report_of(states, options.steps)
            began = time.perf_counter()
            page = render_html(data)
            write = time.perf_counter() - began
            file = Path(folder) / "report.html"
            file.write_bytes(page)
            seconds, whole, median, slow = min(opened(browser, file) for _ in range(3))
            drawn = len(data.views[1].states)
            made = f"{layout:>10.2f}{write:>9.2f}{len(page) / 1e6:>7.2f}"
            print(f"{found:>7}{drawn:>7}{made}{seconds:>8.2f}{whole:>9.2f}{median:>10.1f}{slow:>7.1f}")
        browser.close()


if __name__ == "__main__":
    main()
