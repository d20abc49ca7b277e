"""The page of one explained picture: one HTML file with everything in it, nothing loaded, nothing sent."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import msgspec

from moorelens.reports.format import listed, number, share
from moorelens.reports.html import environment
from moorelens.reports.image import Explanation
from moorelens.reports.image_svg import SCORES, curve_places, curves_svg, scored
from moorelens.reports.image_words import (
    METHODS,
    answers,
    cost,
    facts,
    lede,
    limits,
    map_caption,
    method_name,
    picture_caption,
    taken_for_granted,
    title_of,
)
from moorelens.reports.shell import shell

DOUBTFUL = 0.4  # opacity of a map that explains nothing
_SHOWN = 360  # pixels of the page that a picture's longer side takes at least


@dataclass(frozen=True, kw_only=True)
class PageLayers:
    """PNGs of one size: the picture, the baseline, the map in colours, and each pixel's step as 256 red + green.

    `outline`: of what is known to decide the class, on nothing.
    """

    picture: bytes
    hidden: bytes
    heat: bytes
    steps: bytes
    outline: bytes | None = None


def render_image(found: Explanation, layers: PageLayers, *, up: str | None = None) -> bytes:
    """Return `report.html`, the same bytes for the same data; `up`: the page that leads here.

    Every string is escaped; a Content-Security-Policy admits this file's own script and style by hash and no more.
    """
    longest = max(found.picture.shown_width, found.picture.shown_height)
    factor = max(1.0, _SHOWN / longest)
    text = environment().get_template("image.html.j2").render(
        **shell("image.css", script="image.js"),
        up=up,
        found=found,
        title=title_of(found),
        lede=lede(found),
        granted=taken_for_granted(found.model.name, found.model.assumed),
        facts=facts(found),
        answers=answers(found),
        picture={name: _base64(getattr(layers, name)) for name in ("picture", "hidden", "heat", "steps")},
        outline=None if layers.outline is None else _base64(layers.outline),
        width=round(found.picture.shown_width * factor),
        height=round(found.picture.shown_height * factor),
        coarse=factor > 1,
        captions={"picture": picture_caption(found), "map": map_caption(found)},
        curves=curves_svg(found, paper=False),
        lines=[
            ("deletion", "while hidden", scored(found.deletion.auc), scored(found.random.deletion_mean)),
            ("insertion", "while shown", scored(found.insertion.auc), scored(found.random.insertion_mean)),
        ],
        strength=100 if found.explainable else round(100 * DOUBTFUL),
        score=SCORES[found.score],
        top=[(one.name, share(one.probability), one.index == found.target.index) for one in found.top],
        tables=tables(found),
        method=(method_name(found.method), METHODS.get(found.method, ("", ""))[1]),
        limits=limits(found),
        payload=_payload(found),
    )  # fmt: skip
    return text.encode("utf-8")


def tables(found: Explanation) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Return tables of two columns: key, title, rows."""
    curve = [
        ("area while hidden", f"{scored(found.deletion.auc)} (random {scored(found.random.deletion_mean)})"),
        ("area while shown", f"{scored(found.insertion.auc)} (random {scored(found.random.insertion_mean)})"),
        (
            "the same from 0 (all hidden) to 1 (whole picture)",
            _scaled(found),
        ),
        ("hidden until the answer changes", share(found.flip_area) if found.flip_area is not None else "it does not"),
        ("shown until 0.9 of the gap is back", share(found.keep_area)),
        ("score of the picture, of the baseline, gap", _three(found)),
    ]
    settings = [(name.replace("_", " "), _value(value)) for name, value in sorted(found.settings.items())]
    model = found.model
    size = "any" if model.height is None else f"{model.width} × {model.height}"
    about = [
        ("file", found.picture.file),
        ("in the file", f"{found.picture.width} × {found.picture.height}, {found.picture.mode}"),
        ("model", f"{model.name}, {model.classes} classes, {model.channels} channels, {size} pixels"),
        ("mean and deviation of its input", f"{_numbers(model.mean)} and {_numbers(model.std)}"),
        ("hash of its weights and settings", model.identity[:16]),
        ("seed", str(found.seed)),
        ("through the model", cost(found)),
    ]
    own = [(name.replace("_", " "), _value(value)) for name, value in sorted(found.diagnostics.items())]
    made = [("numbers", "The map tried out", curve), ("settings", "Settings of the method", settings)]
    made += [("own", "What the method says of itself", own)] if own else []
    return [*made, ("subject", "Picture and model", about)]


def _payload(found: Explanation) -> dict[str, Any]:
    """Return what the script shows at each step, all texts formatted."""
    return {
        "places": curve_places(found.deletion.area),
        "areas": [share(area) for area in found.deletion.area],
        "scores": {
            "hide": [scored(score) for score in found.deletion.score],
            "show": [scored(score) for score in found.insertion.score],
        },
    }


def _three(found: Explanation) -> str:
    return listed([scored(value) for value in (found.f_x, found.f_b, found.gap)], last="and")


def _scaled(found: Explanation) -> str:
    both = (found.deletion.auc_norm, found.insertion.auc_norm)
    if None in both:
        return "left out, as the gap is too small to scale by"
    return listed([scored(value) for value in both], last="and")


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.6g}" for value in values[:4]) + (", …" if len(values) > 4 else "")


def _value(value: Any) -> str:
    if value is None:
        return "by itself"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
