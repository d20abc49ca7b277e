"""What was found of one picture (`explanation.json`) and of several (`summary.json` of `moorelens image`)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from moorelens.reports.summary import Record

IMAGE_FORMAT: Literal["moorelens.image/1"] = "moorelens.image/1"
IMAGES_FORMAT: Literal["moorelens.images/1"] = "moorelens.images/1"


class PictureFacts(Record, frozen=True, kw_only=True):
    """The file, and what was done to it; `shown_width`, `shown_height`: what the model read. Pixels."""

    file: str
    width: int
    height: int
    mode: str
    shown_width: int
    shown_height: int
    notes: tuple[str, ...] = ()


class ModelFacts(Record, frozen=True, kw_only=True):
    """The classifier; `height`, `width` are null where it reads any size; `mean`, `std` normalise its input.

    `assumed`: what nobody said of it and was taken for granted, in words.
    """

    name: str
    identity: str
    classes: int
    channels: int
    height: int | None
    width: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    assumed: tuple[str, ...] = ()


class ClassProbability(Record, frozen=True, kw_only=True):
    """A class, and the probability that the model gives it."""

    index: int
    name: str
    probability: float


class Curve(Record, frozen=True, kw_only=True):
    """The score at shares of the picture from 0 to 1; `auc` in units of the score, `auc_norm` 0 at f_b and 1 at f_x.

    `auc_norm` is null where the gap between the two is too small to scale anything by.
    """

    area: tuple[float, ...]
    score: tuple[float, ...]
    auc: float
    auc_norm: float | None


class RandomMaps(Record, frozen=True, kw_only=True):
    """The same curves of maps drawn at random, `cells` x `cells` and enlarged: the area under each, and mean scores."""

    cells: int
    deletion: tuple[float, ...]
    insertion: tuple[float, ...]
    deletion_score: tuple[float, ...]
    insertion_score: tuple[float, ...]
    deletion_mean: float
    insertion_mean: float


class MapFacts(Record, frozen=True, kw_only=True):
    """The map: its smallest and largest value and its own resolution; `flat`: no pixel differs from another.

    `half_area`: least share of the picture that holds half of the saliency in favour of the class.
    """

    kind: Literal["signed", "nonneg", "keep_mask"]
    low: float
    high: float
    flat: bool
    height: int
    width: int
    half_area: float | None


class Truth(Record, frozen=True, kw_only=True):
    """Against the pixels that are known to decide the class: their share of the picture and of the saliency.

    `hit`: the most salient pixel is one of them; `label`: the class that they make.
    """

    label: str
    right: bool
    area: float
    mass: float | None
    hit: bool | None


class Calls(Record, frozen=True, kw_only=True):
    """Pictures that went through the model: for the map, forwards and backwards, and for the curves."""

    forward: int
    backward: int
    curves: int


class Explanation(Record, frozen=True, kw_only=True):
    """`explanation.json`: what the answer of a classifier to one picture rests on, and how far that can be trusted.

    `asked`: the class was asked for; else it is the predicted one. `score`: what is explained of it; `f_x`, `f_b`: of
    the picture and of the baseline; `gap`: f_x - f_b; `explainable`: the gap is at least `min_gap` of |f_x| (else a map
    is noise). `flip_area`: least share whose deletion, most salient first, changes the answer. `keep_area`: least share
    that, inserted into the baseline, covers 0.9 of the gap. Not measured is null.
    """

    format: Literal["moorelens.image/1"] = IMAGE_FORMAT
    method: str
    explainer: str
    settings: dict[str, Any]
    seed: int
    picture: PictureFacts
    model: ModelFacts
    top: tuple[ClassProbability, ...]
    predicted: ClassProbability
    target: ClassProbability
    asked: bool
    score: Literal["prob", "logit", "logprob", "margin"]
    baseline: str
    f_x: float
    f_b: float
    gap: float
    explainable: bool
    map: MapFacts
    deletion: Curve
    insertion: Curve
    random: RandomMaps
    flip_area: float | None
    flips_to: str | None
    keep_area: float | None
    diagnostics: dict[str, float | int | bool | str]
    calls: Calls
    truth: Truth | None = None


class ImageRow(Record, frozen=True, kw_only=True):
    """One picture of several: the numbers of its `explanation.json` in `folder` that are compared."""

    folder: str
    file: str
    predicted: str
    target: str
    probability: float
    f_x: float
    f_b: float
    gap: float
    explainable: bool
    deletion: float
    insertion: float
    random_deletion: float
    random_insertion: float
    flip_area: float | None
    keep_area: float | None
    truth_mass: float | None = None
    truth_area: float | None = None
    truth_hit: bool | None = None


class LeftOut(Record, frozen=True, kw_only=True):
    """A file of the folder that is no picture, and why."""

    file: str
    reason: str


class Means(Record, frozen=True, kw_only=True):
    """Means over the pictures that can be explained; null where there are none, or nothing is known."""

    deletion: float | None
    insertion: float | None
    random_deletion: float | None
    random_insertion: float | None
    flip_area: float | None
    keep_area: float | None
    truth_mass: float | None
    truth_area: float | None
    truth_hit: float | None


class ImagesSummary(Record, frozen=True, kw_only=True):
    """`summary.json`: several pictures explained alike."""

    format: Literal["moorelens.images/1"] = IMAGES_FORMAT
    method: str
    model: ModelFacts
    score: Literal["prob", "logit", "logprob", "margin"]
    baseline: str
    pictures: int
    explainable: int
    means: Means
    rows: tuple[ImageRow, ...]
    left_out: tuple[LeftOut, ...] = ()


def encode_image(record: Record) -> bytes:
    """Write a record as indented JSON: the same record gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def decode_explanation(data: bytes) -> Explanation:
    """Read what `encode_image` wrote of an `Explanation`."""
    return msgspec.json.decode(data, type=Explanation)
