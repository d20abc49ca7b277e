"""One page on how a policy's machine grew during a training: what was measured at each checkpoint, and what changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from moorelens.reports.figures import FONT, INK, RULE, SOFT
from moorelens.reports.format import count, number, share, signed
from moorelens.reports.html import environment
from moorelens.reports.shell import shell
from moorelens.reports.svg import clean_svg
from moorelens.reports.typesetting import Files, typeset
from moorelens.text import escape

_COLUMN = 620.0  # units of a drawing that fit side by side on the page
PLOTS = ("States and decision points", "Return on held-out games", "Use of memory")
COLOURS = ("#4477aa", "#b4432f", "#228833", "#aa7700")


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of a policy's machine after `steps` steps of training; None where nothing could be.

    `policy`, `machine`: mean held-out returns; `loss`: their paired difference. `gain`, `reactivity`, `open_loop`: the
    memory indices of a run's summary. `note`: why there is no machine.
    """

    steps: int
    states: int | None = None
    symbols: int | None = None
    decisions: int | None = None
    policy: float | None = None
    machine: float | None = None
    loss: float | None = None
    gain: float | None = None
    reactivity: float | None = None
    open_loop: float | None = None
    seconds: float | None = None
    note: str = ""


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """`growth.json`: what was measured at each checkpoint of a training, and of what; `settings` is a sentence."""

    format: Literal["moorelens.growth/1"] = "moorelens.growth/1"
    policy: str
    env: str
    settings: str
    checkpoints: tuple[Growth, ...]


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint on the page: its numbers, its drawing (None where Graphviz is missing or gave up), its changes."""

    growth: Growth
    svg: str | None = None
    changes: str = ""


def render_growth(stages: Sequence[Stage], *, policy: str, env: str, settings: str) -> bytes:
    """Return the page as one self-contained HTML file without scripts, the same bytes for the same data."""
    around = shell()
    drawings = [None if stage.svg is None else _drawing(stage.svg) for stage in stages]
    content = _content(stages, policy=policy, env=env, settings=settings)
    text = environment().get_template("growth.html.j2").render(
        style=around["style"],
        policy_header=around["policy"],
        plots=plots(_measured(stages)),
        **{**content, "stages": [{**one, "svg": svg} for one, svg in zip(content["stages"], drawings, strict=True)]},
    )  # fmt: skip
    return text.encode("utf-8")


def render_growth_pdf(stages: Sequence[Stage], *, policy: str, env: str, settings: str) -> bytes:
    """Return the page as PDF, the same bytes for the same data, fonts and version of Typst.

    Raises MissingToolError where Typst is not installed.
    """
    files = Files()
    content = _content(stages, policy=policy, env=env, settings=settings)
    shown = []
    for place, svg in enumerate(plots(_measured(stages))):
        files[f"plot{place}.svg"] = svg.replace("<svg ", f'<svg font-family="{FONT}" ', 1).encode("utf-8")
        shown.append({"file": f"plot{place}.svg", "alt": PLOTS[place]})
    for place, (stage, entry) in enumerate(zip(stages, content["stages"], strict=True)):
        entry["file"] = None
        if stage.svg is not None:
            svg, size = clean_svg(stage.svg, font=FONT)
            files[f"machine{place}.svg"] = svg.encode("utf-8")
            entry |= {"file": f"machine{place}.svg", "width": size.width, "height": size.height}
    title = f"How the machine of {policy} grew"
    return typeset("growth.typ", {**content, "title": title, "plots": shown}, files)


def _measured(stages: Sequence[Stage]) -> list[Growth]:
    return [stage.growth for stage in stages if stage.growth.states is not None]


def _content(stages: Sequence[Stage], *, policy: str, env: str, settings: str) -> dict[str, Any]:
    """Return what both forms of the page place, drawings apart."""
    return {
        "policy": policy,
        "env": env,
        "settings": settings,
        "headline": headline(_measured(stages)),
        "columns": [title for title, _ in _COLUMNS],
        "rows": [_row(stage.growth) for stage in stages],
        "stages": [
            {"steps": count(stage.growth.steps), "note": stage.growth.note, "changes": stage.changes.splitlines()}
            for stage in stages
        ],
    }


def _drawing(svg: str) -> str:
    clean, size = clean_svg(svg, role="img")
    # At its own size, if the column has room: a machine of two states is not to fill the page.
    return clean.replace("<svg ", f'<svg width="{min(size.width * 4 / 3, _COLUMN):g}" ', 1)


def headline(measured: Sequence[Growth]) -> str:
    """Return in one sentence how the machine grew."""
    if not measured:
        return "No machine could be extracted in this training."
    first, last = measured[0], measured[-1]
    if first is last:
        return f"After {count(last.steps)} steps the machine has {count(last.states)} states."
    return (
        f"From {count(first.steps)} to {count(last.steps)} steps the machine went from {count(first.states)} to "
        f"{count(last.states)} states and from {count(first.decisions)} to {count(last.decisions)} decision points, "
        f"and the policy's return from {number(first.policy)} to {number(last.policy)}."
    )


_COLUMNS: tuple[tuple[str, Callable[[Growth], str]], ...] = (
    ("steps", lambda g: count(g.steps)),
    ("states", lambda g: count(g.states)),
    ("symbols", lambda g: count(g.symbols)),
    ("decision points", lambda g: count(g.decisions)),
    ("policy", lambda g: number(g.policy)),
    ("machine", lambda g: number(g.machine)),
    ("loss", lambda g: number(g.loss)),
    ("memory gain", lambda g: signed(g.gain)),
    ("reactivity", lambda g: share(g.reactivity)),
    ("open loop", lambda g: share(g.open_loop)),
)


def _row(growth: Growth) -> list[str]:
    return [words(growth) for _, words in _COLUMNS]


def plots(measured: Sequence[Growth]) -> list[str]:
    """Return what is drawn over the steps: sizes, returns and memory indices; nothing of a single checkpoint."""
    if len(measured) < 2:
        return []
    steps = [growth.steps for growth in measured]

    def series(*names: str) -> dict[str, list[float | None]]:
        return {name.replace("_", " "): [getattr(growth, name) for growth in measured] for name in names}

    return [
        plot(PLOTS[0], steps, series("states", "decisions")),
        plot(PLOTS[1], steps, series("policy", "machine")),
        plot(PLOTS[2], steps, series("gain", "reactivity", "open_loop")),
    ]


def plot(title: str, steps: Sequence[int], series: dict[str, list[float | None]]) -> str:
    """Return lines over steps as SVG text, each with its name and last value at its end."""
    known = [value for values in series.values() for value in values if value is not None]
    low, high = min([0.0, *known]), max(known, default=1.0)
    span, last = (high - low) or 1.0, max(steps) or 1
    left, width, top, height = 44.0, 420.0, 26.0, 120.0

    def at(step: float, value: float) -> tuple[float, float]:
        return left + width * step / last, top + height * (1.0 - (value - low) / span)

    parts = [f'<text x="0" y="12" font-size="12" font-weight="600" fill="{INK}">{escape(title)}</text>']
    for value in (low, high):
        y = at(0, value)[1]
        parts.append(f'<path d="M{left} {y:.1f}H{left + width}" stroke="{RULE}" stroke-width="1"/>')
        parts.append(_label(left - 6, y + 4, number(value), SOFT, "end"))
    for step in (0, last):
        parts.append(_label(at(step, low)[0], top + height + 16, count(step), SOFT, "middle"))
    parts += _lines(steps, series, at, right=left + width, middle=top + height / 2)
    told = [f"{name.replace('_', ' ')} {_ends(values)}" for name, values in series.items() if _known(values)]
    label = f'role="img" aria-label="{escape(title)}: {escape("; ".join(told), quote=True)}."'
    box = f"0 0 {left + width + 150:g} {top + height + 22:g}"
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" {label}>{"".join(parts)}</svg>'


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _ends(values: Sequence[float | None]) -> str:
    """Return from which to which value a line goes."""
    known = _known(values)
    return f"from {number(known[0])} to {number(known[-1])}"


def _lines(
    steps: Sequence[int],
    series: dict[str, list[float | None]],
    at: Callable[[float, float], tuple[float, float]],
    *,
    right: float,
    middle: float,
) -> list[str]:
    parts: list[str] = []
    taken: list[float] = []
    for colour, (name, values) in zip(COLOURS, series.items(), strict=False):
        points = [at(step, value) for step, value in zip(steps, values, strict=True) if value is not None]
        if not points:
            continue
        parts.append(
            f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" fill="none" stroke="{colour}" '
            'stroke-width="1.8"/>'
        )
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour}"/>' for x, y in points]
        y = points[-1][1] + 4
        # Names at the ends of lines that meet are set one above or below the other, away from the axis.
        away = -1.0 if y > middle else 1.0
        while any(abs(y - other) < 13 for other in taken):
            y += away
        taken.append(y)
        found = next(value for value in reversed(values) if value is not None)
        parts.append(_label(right + 8, y, f"{name} {number(found)}", colour, "start"))
    return parts


def _label(x: float, y: float, text: str, colour: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>'
