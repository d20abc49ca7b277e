"""`image sag`: the parts of a picture that are enough alone, then what was found and where it is."""

from __future__ import annotations

import msgspec

from moorelens.cli.parsing import parse
from moorelens.cli.printing import open_progress, plain, print_json
from moorelens.pipelines.images.sag_config import SAGConfig, sag_out

SHOWN = ("report.html", "sag.svg", "sag.json")


def sag(arguments: list[str]) -> int:
    """Run `moorelens image sag`; a picture without a sufficient set, or that needs none, is a result."""
    description = "Find small parts of a picture that alone keep a classifier's answer, and draw what each is worth."
    config, output = parse(SAGConfig, arguments, verb="image sag", description=description)
    if config.out is None:
        config = msgspec.structs.replace(config, out=sag_out(config))
    from moorelens.pipelines.images.sag import run_image_sag
    from moorelens.reports.sag_words import findings, lede
    from moorelens.saliency.sets.sag import encode_sag
    from moorelens.saliency.sets.text import sag_dnf

    with open_progress(quiet=output.quiet) as progress:
        result = run_image_sag(config, progress=progress)
    if output.json:
        print_json(encode_sag(result.sag))
        return 0
    said = [f"{one.question} {one.word}: {one.text}" for one in findings(result.sag, result.subject)]
    files = [str(result.folder / name) for name in SHOWN]
    granted = [result.subject.granted] if result.subject.granted else []
    text = [lede(result.sag, result.subject), *granted, f"As a formula: {sag_dnf(result.sag)}", "", *said, "", *files]
    print("\n".join(plain(line) for line in text))
    return 0
