"""`reproduce`: a published table made again; the table on stdout, or its rows as JSON."""

from __future__ import annotations

from moorelens.cli.parsing import parse
from moorelens.cli.printing import open_progress, print_json
from moorelens.pipelines.reproduce_config import ReproduceConfig


def reproduce(arguments: list[str]) -> int:
    """Run `moorelens reproduce`."""
    description = "Make a published table again: its numbers beside ours, a run folder a row."
    config, output = parse(ReproduceConfig, arguments, verb="reproduce", description=description)
    from moorelens.pipelines.reproduce import run_reproduce
    from moorelens.pipelines.reproduce_output import rows_json

    with open_progress(quiet=output.quiet) as progress:
        result = run_reproduce(config, progress=progress)
    if output.json:
        print_json(rows_json(result.rows))
        return 0
    print((result.folder / "table.md").read_text(encoding="utf-8"))
    print("\n".join(str(result.folder / name) for name in ("table.csv", "table.tex", "states.svg")))
    return 0
