"""`image count` and `image crosstest`: several models compared over many pictures."""

from __future__ import annotations

import sys

from moorelens.cli.parsing import Output, parse
from moorelens.cli.printing import open_progress, plain, print_json
from moorelens.pipelines.images.study_config import CountConfig, CrosstestConfig

_SHOWN = ("report.html", "summary.json", "records.parquet")


def count(arguments: list[str]) -> int:
    """Run `moorelens image count`."""
    description = "Count what of each picture suffices for its class, and what is left of it, under several models."
    config, output = parse(CountConfig, arguments, verb="image count", description=description)
    return _study(config, output)


def crosstest(arguments: list[str]) -> int:
    """Run `moorelens image crosstest`."""
    description = "Show the regions of each model's heat maps to the others, and measure what they say of them."
    config, output = parse(CrosstestConfig, arguments, verb="image crosstest", description=description)
    return _study(config, output)


def _study(config: CountConfig | CrosstestConfig, output: Output) -> int:
    from moorelens.pipelines.images.study import run_count, run_crosstest
    from moorelens.reports.format import plural
    from moorelens.reports.study import encode_study
    from moorelens.reports.study_words import findings

    with open_progress(quiet=output.quiet) as progress:
        result = (
            run_count(config, progress=progress)
            if isinstance(config, CountConfig)
            else run_crosstest(config, progress=progress)
        )
    for part in result.left_out:
        print(f"left out for want of time: {part}", file=sys.stderr)
    summary = result.summary
    for name, reason in [] if summary is None else summary.head.skipped:
        print(f"left out: {name} {reason}", file=sys.stderr)
    if output.json:
        print_json(b"null" if summary is None else encode_study(summary))
    elif summary is None:
        print(f"Nothing is finished in {result.folder} yet; the same command goes on.")
    else:
        head = summary.head
        print(
            f"{plural(len(head.models), 'model')}, right together on {head.correct} of {head.pictures} pictures; "
            f"{summary.compared} compared"
        )
        print("\n".join(plain(f"{question} {answer}") for question, answer in findings(summary)))
        print("", *(str(path) for name in _SHOWN if (path := result.folder / name).is_file()), sep="\n")
    return 0
