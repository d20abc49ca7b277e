"""The page of several explained pictures: what they share, and a row for each that leads to its own page."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from moorelens.reports.format import count, listed, plural, share
from moorelens.reports.html import environment
from moorelens.reports.image import ImageRow, ImagesSummary
from moorelens.reports.image_svg import column_share, fixed, scored
from moorelens.reports.image_words import BASELINES, method_name, taken_for_granted
from moorelens.reports.shell import shell


def render_index(summary: ImagesSummary, thumbs: Mapping[str, bytes]) -> bytes:
    """Return `index.html`, without scripts; `thumbs`: a small PNG for each row's folder."""
    text = environment().get_template("image-index.html.j2").render(
        **shell("image.css"),
        method=method_name(summary.method),
        summary=summary,
        lede=headline(summary),
        granted=taken_for_granted(summary.model.name, summary.model.assumed),
        findings=findings(summary),
        known=any(row.truth_area is not None for row in summary.rows),
        rows=[_row(row) for row in summary.rows],
        thumbs={key: base64.b64encode(data).decode("ascii") for key, data in thumbs.items()},
        facts=[
            ("Method", method_name(summary.method)),
            ("Pictures", count(summary.pictures)),
            ("Baseline", BASELINES.get(summary.baseline, summary.baseline)),
            ("Model", summary.model.name),
        ],
    )  # fmt: skip
    return text.encode("utf-8")


def headline(summary: ImagesSummary) -> str:
    """Return what came out, in a sentence or two."""
    done = f"{plural(summary.pictures, 'picture')} explained by {method_name(summary.method)}."
    missing = summary.pictures - summary.explainable
    if missing == 0:
        return done
    if summary.explainable == 0:
        return f"{done} With this baseline none of them can be explained: hiding everything does not lower the score."
    return f"{done} {count(missing)} of them cannot be explained with this baseline and count in no mean."


def findings(summary: ImagesSummary) -> list[tuple[str, str]]:
    """Return the means, in words."""
    means = summary.means
    made: list[tuple[str, str]] = []
    if means.deletion is not None and means.insertion is not None:
        made.append(
            (
                "Does hiding it take the answer away?",
                f"The score averages {scored(means.deletion)} while the most salient pixels are hidden, and "
                f"{scored(means.random_deletion)} in random order (less is better).",
            )
        )
        made.append(
            (
                "Is it enough by itself?",
                f"It averages {scored(means.insertion)} while they are shown, and {scored(means.random_insertion)} in "
                "random order (more is better).",
            )
        )
    if means.truth_mass is not None:
        made.append(
            (
                "Is it where the cause is?",
                f"What was planted covers {share(means.truth_area)} of a picture and holds {share(means.truth_mass)} "
                f"of the saliency; the most salient pixel lies there in {share(means.truth_hit)} of them.",
            )
        )
    if summary.left_out:
        names = [one.file for one in summary.left_out]
        shown = listed([*names[:3], *([f"{len(names) - 3} more"] if len(names) > 3 else [])])
        what = "1 file that cannot" if len(names) == 1 else f"{count(len(names))} files that cannot"
        made.append(("What was left out?", f"{what} be read as a picture: {shown}."))
    return made


def _row(row: ImageRow) -> dict[str, Any]:
    return {
        "folder": row.folder,
        "file": row.file,
        "target": row.target,
        "predicted": None if row.predicted == row.target else row.predicted,
        "probability": column_share(row.probability),
        "gap": fixed(row.gap),
        "explainable": row.explainable,
        "deletion": fixed(row.deletion),
        "random_deletion": fixed(row.random_deletion),
        "insertion": fixed(row.insertion),
        "random_insertion": fixed(row.random_insertion),
        "flip": "\u2013" if row.flip_area is None else share(row.flip_area),
        "truth": "\u2013" if row.truth_mass is None else share(row.truth_mass),
    }
