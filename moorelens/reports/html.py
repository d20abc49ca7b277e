"""The report as one HTML file: style, script, drawings and pictures inside, nothing loaded, nothing sent."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import jinja2

from moorelens.reports.data import MachineView, ReportData
from moorelens.reports.figures import action_mark, share_bar
from moorelens.reports.format import printable, share
from moorelens.reports.map import draw_map
from moorelens.reports.page import Page, build_page
from moorelens.reports.payload import payload, whole_payloads
from moorelens.reports.shell import shell
from moorelens.reports.svg import clean_svg
from moorelens.reports.viewing import ViewEntry


def render_html(data: ReportData) -> bytes:
    """Return `report.html`: one self-contained file, the same bytes for the same data.

    Every string of `data` is escaped; drawings are rebuilt from an allow-list; a Content-Security-Policy admits this
    file's own script and style by hash and forbids the rest.
    """
    page = build_page(data)
    views = tuple(_with_svg(entry, view, data) for entry, view in zip(page.views, data.views, strict=True))
    text = environment().get_template("report.html.j2").render(
        data=data,
        page={**_fields(replace(page, views=views)), "payload": payload(data), "wholes": whole_payloads(data)},
        **shell(script="report.js"),
        action_mark=action_mark,
        share_bar=share_bar,
        base64=lambda png: base64.b64encode(png).decode("ascii"),
        played={episode.number for episode in data.episodes if episode.states},
    )  # fmt: skip
    return text.encode("utf-8")


def _with_svg(entry: ViewEntry, view: MachineView, data: ReportData) -> ViewEntry:
    if view.whole_of is not None:
        return replace(entry, svg=draw_map(view, data.actions))
    if view.svg is None:
        return entry
    labels = {state.node: f"{state.word}, {state.label}, {share(state.share)} of steps" for state in view.states}
    svg, _ = clean_svg(view.svg, labels=labels, role="group")
    return replace(entry, svg=svg)


def _fields(page: Page) -> dict[str, Any]:
    return {name: getattr(page, name) for name in page.__dataclass_fields__}


def environment() -> jinja2.Environment:
    """Return what fills the templates of reports: everything escaped, nothing undefined."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("moorelens.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        # Only plain strings: what is already markup has been made here, from clean parts.
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The order of a mapping is the order in which a reader meets its parts.
    made.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    return made
