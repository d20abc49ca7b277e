"""What a study of several models over many pictures came to: `summary.json` of `image count` and `image crosstest`."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from moorelens.reports.summary import Record
from moorelens.saliency.studies.embedding import Landscape
from moorelens.saliency.studies.statistics import PairedTest, Spread
from moorelens.stats import Estimate

COUNT_FORMAT: Literal["moorelens.image-count/1"] = "moorelens.image-count/1"
CROSSTEST_FORMAT: Literal["moorelens.image-crosstest/1"] = "moorelens.image-crosstest/1"
MAPPED = 3  # models from which on a plane says more of their distances than the distances


class StudiedModel(Record, frozen=True, kw_only=True):
    """A compared model: its name in all tables, how it was named, what it is, and how many pictures it gets right."""

    name: str
    reference: str
    identity: str
    right: int


class StudyHead(Record, frozen=True, kw_only=True):
    """What was compared: of `pictures`, the `correct` that every model gets right; `skipped`: files that are none.

    `shown`: how many pictures there are of each class.

    `source`: the task of bundled pictures, or the name of the folder; `settings`: all that decided what was computed.
    """

    source: str
    bundled: bool
    models: tuple[StudiedModel, ...]
    classes: tuple[str, ...]
    shown: tuple[int, ...]
    pictures: int
    correct: int
    skipped: tuple[tuple[str, str], ...]
    settings: dict[str, Any]


class Measure(Record, frozen=True, kw_only=True):
    """One number of each picture: its spread under each model, and each pair of models tested on the same pictures."""

    key: str
    title: str
    unit: str
    models: tuple[Spread, ...]
    tests: tuple[PairedTest, ...]


class SearchFacts(Record, frozen=True, kw_only=True):
    """How the searches of one model went, in pictures of those that all models get right.

    `blind`: nothing shown already keeps the share of a sub-explanation; `none`: no MSE was found within the budget;
    `search_cut`, `count_cut`: ended by the budget; `capped`: at the largest number of MSEs; `evaluated`: sets, on
    average.
    """

    blind: int
    none: int
    search_cut: int
    count_cut: int
    capped: int
    evaluated: float


class TruthFacts(Record, frozen=True, kw_only=True):
    """Against what decides the class: share of MSEs' patches `on_truth`; shares of MSEs that meet any or all causes."""

    on_truth: Estimate
    meet_any: Estimate
    meet_all: Estimate


class CountSummary(Record, frozen=True, kw_only=True):
    """`summary.json` of `image count`; everything that follows `head` is in the order of its models.

    `compared`: pictures with an MSE and not blind under every model, on which the measures are taken, and `of_class`:
    how many of them show each class; `bins` (lower edges) and `histogram`: sub-explanations for each share of the full
    probability, mean over pictures; `truth`: null where the causes are not known.
    """

    format: Literal["moorelens.image-count/1"] = COUNT_FORMAT
    head: StudyHead
    compared: int
    of_class: tuple[int, ...]
    searches: tuple[SearchFacts, ...]
    measures: tuple[Measure, ...]
    bins: tuple[float, ...]
    histogram: tuple[tuple[Estimate, ...], ...]
    truth: tuple[TruthFacts, ...] | None


class Matrix(Record, frozen=True, kw_only=True):
    """Areas K[row, column]: the map of the row shown to, or hidden from, the model of the column; mean over pictures.

    `relative`: K[row, column] / K[column, column]; `curves`: mean probability at each share of the picture.
    """

    mode: Literal["insertion", "deletion"]
    area: tuple[tuple[Estimate, ...], ...]
    relative: tuple[tuple[float, ...], ...]
    curves: tuple[tuple[tuple[float, ...], ...], ...]


class Transfer(Record, frozen=True, kw_only=True):
    """For one judge: the area its own map gives minus that of another map, on the same pictures, by insertion."""

    judge: str
    map: str
    difference: Estimate
    median: float
    p: float
    p_holm: float


class CrosstestSummary(Record, frozen=True, kw_only=True):
    """`summary.json` of `image crosstest`: `rows`, whose maps (models, random, truth); `head.models`, the judges.

    `unexplainable`: pictures in which a model loses too little by the baseline for its map to mean anything;
    `compared`: those in which no model does, and `of_class`: how many of them show each class; `shares`: of the
    picture, for the curves; `landscape`: of the similarity by insertion. Without a compared picture `matrices` and
    `transfers` are empty; then, and for fewer than three
    models, `landscape` is null: two have a distance, but no arrangement.
    """

    format: Literal["moorelens.image-crosstest/1"] = CROSSTEST_FORMAT
    head: StudyHead
    compared: int
    of_class: tuple[int, ...]
    rows: tuple[str, ...]
    shares: tuple[float, ...]
    matrices: tuple[Matrix, ...]
    transfers: tuple[Transfer, ...]
    unexplainable: tuple[int, ...]
    landscape: Landscape | None


S = TypeVar("S", CountSummary, CrosstestSummary)


def encode_study(summary: CountSummary | CrosstestSummary) -> bytes:
    """Return `summary.json`: the same bytes for the same numbers."""
    return msgspec.json.format(msgspec.json.encode(summary), indent=1) + b"\n"


def decode_study(data: bytes, kind: type[S]) -> S:
    """Return the summary in the bytes of `summary.json`."""
    return msgspec.json.decode(data, type=kind)
