"""Several explained pictures as one table, with means over those that can be explained."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

import msgspec

from moorelens.pipelines.images.config import ImageConfig
from moorelens.reports.image import Explanation, ImageRow, ImagesSummary, LeftOut, Means, ModelFacts
from moorelens.text import one_line


def summary_of(
    method: str,
    model: ModelFacts,
    config: ImageConfig,
    found: Mapping[str, Explanation],
    left_out: Sequence[tuple[str, str]],
) -> ImagesSummary:
    """Return the summary of explanations by folder; a picture that cannot be explained counts in no mean."""
    rows = tuple(_row(folder, explanation) for folder, explanation in found.items())
    return ImagesSummary(
        method=method,
        model=model,
        score=config.score,
        baseline=config.baseline,
        pictures=len(rows),
        explainable=sum(row.explainable for row in rows),
        means=Means(**{name: _mean(rows, name) for name in Means.__struct_fields__}),
        rows=rows,
        left_out=tuple(LeftOut(file=file, reason=reason) for file, reason in left_out),
    )


def summary_csv(summary: ImagesSummary) -> bytes:
    """Return the rows as CSV, an empty cell where nothing was measured."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(ImageRow.__struct_fields__)
    for row in summary.rows:
        values = msgspec.structs.astuple(row)
        writer.writerow(["" if value is None else _plain(value) for value in values])
    return buffer.getvalue().encode("utf-8")


def _plain(value: object) -> object:
    """Return what a cell holds; text that a spreadsheet would run as a formula is quoted."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return value
    return one_line(f"'{value}" if value[:1] in "=+-@\t\r" else value)


def _row(folder: str, found: Explanation) -> ImageRow:
    truth = found.truth
    return ImageRow(
        folder=folder,
        file=found.picture.file,
        predicted=found.predicted.name,
        target=found.target.name,
        probability=found.target.probability,
        f_x=found.f_x,
        f_b=found.f_b,
        gap=found.gap,
        explainable=found.explainable,
        deletion=found.deletion.auc,
        insertion=found.insertion.auc,
        random_deletion=found.random.deletion_mean,
        random_insertion=found.random.insertion_mean,
        flip_area=found.flip_area,
        keep_area=found.keep_area,
        truth_mass=None if truth is None else truth.mass,
        truth_area=None if truth is None else truth.area,
        truth_hit=None if truth is None else truth.hit,
    )


def _mean(rows: Sequence[ImageRow], name: str) -> float | None:
    values = [getattr(row, name) for row in rows if row.explainable]
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None
