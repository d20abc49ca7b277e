"""`image igos`, `gradcam`, `ig`, `rise` and the like: pictures explained, then what came out and where it is."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from moorelens.cli.parsing import parse
from moorelens.cli.printing import open_progress, plain, print_json
from moorelens.errors import OptionError
from moorelens.pipelines.images.config import METHODS, image_out

if TYPE_CHECKING:
    from moorelens.pipelines.images.explain import ImageResult
    from moorelens.reports.image import Explanation, ImagesSummary

SHOWN_ROWS = 20
SHOWN_OF_ONE = ("report.html", "overlay.png", "curves.svg", "explanation.json")
SHOWN_OF_SEVERAL = ("index.html", "summary.csv", "summary.json")


def explain_images(arguments: list[str], *, method: str) -> int:
    """Run `moorelens image METHOD`; a picture that cannot be explained is a result."""
    description = "Show what in a picture a classifier's answer depends on, and try it out."
    _refuse_several_baselines(arguments)
    config, output = parse(METHODS[method][0], arguments, verb=f"image {method}", description=description)
    if config.out is None:
        config = msgspec.structs.replace(config, out=image_out(method, config))
    from moorelens.pipelines.images.explain import run_image
    from moorelens.reports.image import encode_image

    with open_progress(quiet=output.quiet) as progress:
        result = run_image(config, method=method, progress=progress)
    if output.json:
        found = result.explanation if result.explanation is not None else result.summary
        assert found is not None
        print_json(encode_image(found))
    else:
        print("\n".join(plain(line) for line in lines(result)))
    return 0


def _refuse_several_baselines(arguments: list[str]) -> None:
    """`image sag` takes several baselines at once, so that they are asked for here, too."""
    words = [word.partition("=")[2] or after for word, after in zip(arguments, [*arguments[1:], ""], strict=True)
             if word.partition("=")[0] == "--baseline"]  # fmt: skip
    several = next((word for word in words if "," in word), None)
    if several is not None:
        raise OptionError(
            f"--baseline of a map is one, and {several!r} are several: run the command once with each, which keeps a "
            "folder for each where --out is left out, or use moorelens image sag, which takes several at once."
        )


igos = partial(explain_images, method="igos")
igos_plus = partial(explain_images, method="igos+")
igos_plus_plus = partial(explain_images, method="igos++")
gradcam = partial(explain_images, method="gradcam")
ig = partial(explain_images, method="ig")
rise = partial(explain_images, method="rise")
smoothgrad = partial(explain_images, method="smoothgrad")
occlusion = partial(explain_images, method="occlusion")
perturbation = partial(explain_images, method="perturbation")


def lines(result: ImageResult) -> list[str]:
    """Return what came out, for a terminal, and where the files are."""
    if result.explanation is not None:
        return [*_one(result.explanation), "", *(str(result.folder / name) for name in SHOWN_OF_ONE)]
    assert result.summary is not None
    return [*_several(result.summary), "", *(str(result.folder / name) for name in SHOWN_OF_SEVERAL)]


def _one(found: Explanation) -> list[str]:
    from moorelens.reports.image_words import answers, lede, taken_for_granted

    said = [f"{answer.question} {answer.word}: {answer.text}" for answer in answers(found)]
    granted = taken_for_granted(found.model.name, found.model.assumed)
    return [lede(found), *([granted] if granted else []), "", *said]


def _several(summary: ImagesSummary) -> list[str]:
    from moorelens.reports.image_index import findings, headline
    from moorelens.reports.image_svg import column_share, fixed
    from moorelens.reports.image_words import taken_for_granted

    wide = max(7, *(len(row.file) for row in summary.rows[:SHOWN_ROWS]))
    named = max(5, *(len(row.target) for row in summary.rows[:SHOWN_ROWS]))
    cells = [
        (column_share(row.probability), fixed(row.gap), fixed(row.deletion), fixed(row.insertion))
        for row in summary.rows[:SHOWN_ROWS]
    ]
    width = max(7, *(len(cell) for line in cells for cell in line))
    heads = " ".join(f"{head:>{width}}" for head in ("prob.", "gap", "hidden", "shown"))
    table = [f"{'picture':<{wide}}  {'class':<{named}} {heads}"]
    for row, line in zip(summary.rows[:SHOWN_ROWS], cells, strict=True):
        numbers = " ".join(f"{cell:>{width}}" for cell in line)
        note = "" if row.explainable else "  cannot be explained"
        table.append(f"{row.file:<{wide}}  {row.target:<{named}} {numbers}{note}")
    if len(summary.rows) > SHOWN_ROWS:
        table.append(f"... and {len(summary.rows) - SHOWN_ROWS} more")
    said = [f"{question} {text}" for question, text in findings(summary)]
    granted = taken_for_granted(summary.model.name, summary.model.assumed)
    return [headline(summary), *([granted] if granted else []), "", *table, "", *said]
