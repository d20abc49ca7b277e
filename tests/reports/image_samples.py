"""Explanations made by hand, one of each kind that a page must be able to show."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from moorelens.reports.image import (
    Calls,
    ClassProbability,
    Curve,
    Explanation,
    ImageRow,
    ImagesSummary,
    LeftOut,
    MapFacts,
    Means,
    ModelFacts,
    PictureFacts,
    RandomMaps,
    Truth,
)
from moorelens.reports.image_html import PageLayers

SIDE, STEPS = 12, 8


def model(name: str = "a model") -> ModelFacts:
    return ModelFacts(
        name=name, identity="0" * 64, classes=3, channels=3, height=SIDE, width=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3
    )


def curve(start: float, end: float) -> Curve:
    area = tuple(step / STEPS for step in range(STEPS + 1))
    scores = tuple(start if step == 0 else end for step in range(STEPS + 1))
    return Curve(area=area, score=scores, auc=float(np.trapezoid(scores, area)), auc_norm=0.06)


def explanation(**changes: Any) -> Explanation:
    """The cause found: hiding the first eighth ends the answer."""
    top = (
        ClassProbability(index=1, name="disc", probability=0.96),
        ClassProbability(index=0, name="cross", probability=0.04),
    )
    made = Explanation(
        method="igos++",
        explainer="igos++",
        settings={"size": 7, "variant": "ours", "l1_schedule": [1.0], "min_gap": 0.1, "noise": None},
        seed=0,
        picture=PictureFacts(file="cat.png", width=SIDE, height=SIDE, mode="RGB", shown_width=SIDE, shown_height=SIDE),
        model=model(),
        top=top,
        predicted=top[0],
        target=top[0],
        asked=False,
        score="prob",
        baseline="blur",
        f_x=0.96,
        f_b=0.05,
        gap=0.91,
        explainable=True,
        map=MapFacts(kind="keep_mask", low=0.0, high=1.0, flat=False, height=7, width=7, half_area=0.07),
        deletion=curve(0.96, 0.05),
        insertion=curve(0.05, 0.96),
        random=RandomMaps(
            cells=7,
            deletion=(0.4, 0.6),
            insertion=(0.3, 0.5),
            deletion_score=tuple(0.9 - 0.1 * step for step in range(STEPS + 1)),
            insertion_score=tuple(0.1 + 0.1 * step for step in range(STEPS + 1)),
            deletion_mean=0.5,
            insertion_mean=0.4,
        ),
        flip_area=0.125,
        flips_to="cross",
        keep_area=0.125,
        diagnostics={"iterations": 15, "converged": True},
        calls=Calls(forward=1234, backward=800, curves=612),
        truth=Truth(label="disc", right=True, area=0.05, mass=0.7, hit=True),
    )
    return msgspec.structs.replace(made, **changes)


def unexplainable() -> Explanation:
    """Hiding everything changes next to nothing."""
    return explanation(f_b=0.95, gap=0.01, explainable=False, flip_area=None, flips_to=None, truth=None)


def flat() -> Explanation:
    """No pixel matters more than another."""
    nothing = MapFacts(kind="signed", low=0.0, high=0.0, flat=True, height=SIDE, width=SIDE, half_area=None)
    return explanation(map=nothing, method="ig", truth=None)


def named(text: str) -> Explanation:
    """Every string that comes from outside is `text`."""
    found = ClassProbability(index=1, name=text, probability=0.96)
    picture = PictureFacts(file=text, width=1, height=1, mode=text, shown_width=SIDE, shown_height=SIDE, notes=(text,))
    return explanation(
        picture=picture,
        model=model(text),
        top=(found,),
        predicted=found,
        target=found,
        flips_to=text,
        settings={text: text},
        diagnostics={text: text},
    )


def layers() -> PageLayers:
    """A picture that goes from black to red, its baseline, a map, and steps column by column."""
    ramp = np.linspace(0, 255, SIDE).astype(np.uint8)
    red = np.zeros((SIDE, SIDE, 3), np.uint8)
    red[..., 0] = ramp
    hidden = np.full((SIDE, SIDE, 3), 90, np.uint8)
    heat = np.zeros((SIDE, SIDE, 4), np.uint8)
    heat[3:6, 3:6] = (255, 120, 0, 220)
    steps = np.zeros((SIDE, SIDE, 3), np.uint8)
    steps[..., 1] = 1 + np.arange(SIDE) * STEPS // SIDE
    return PageLayers(picture=png(red), hidden=png(hidden), heat=png(heat), steps=png(steps), outline=png(heat))


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def summary(text: str = "cat.png") -> ImagesSummary:
    """Two pictures, one of which cannot be explained, and a file that is none."""
    common: dict[str, Any] = {
        "predicted": text, "target": text, "probability": 0.9, "f_x": 0.9, "deletion": 0.1, "insertion": 0.8,
        "random_deletion": 0.5, "random_insertion": 0.4, "keep_area": None,
    }  # fmt: skip
    one = ImageRow(
        folder="one", file=text, f_b=0.1, gap=0.8, explainable=True, flip_area=0.1, truth_mass=0.6, truth_area=0.1,
        truth_hit=True, **common,
    )  # fmt: skip
    two = ImageRow(
        folder="two", file="two.png", f_b=0.89, gap=0.01, explainable=False, flip_area=None, **{**common, "target": "b"}
    )
    means = Means(
        deletion=0.1, insertion=0.8, random_deletion=0.5, random_insertion=0.4, flip_area=0.1, keep_area=None,
        truth_mass=0.6, truth_area=0.1, truth_hit=1.0,
    )  # fmt: skip
    return ImagesSummary(
        method="igos++",
        model=model(text),
        score="prob",
        baseline="blur",
        pictures=2,
        explainable=1,
        means=means,
        rows=(one, two),
        left_out=(LeftOut(file=text, reason="is no picture"),),
    )


def thumbs() -> dict[str, bytes]:
    """A thumbnail a row."""
    return {"one": layers().picture, "two": layers().hidden}
