"""`evaluate`, `prune`, `check` and `verify`: questions to a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from moorelens.cli.parsing import parse
from moorelens.cli.printing import open_progress, plain, print_json
from moorelens.cli.run_text import check_lines, evaluation_lines, pruning_lines
from moorelens.pipelines.run_config import CheckConfig, EvaluateConfig, PruneConfig, VerifyConfig
from moorelens.reports.summary import encode_record

_MARKS = {"holds": "ok", "fails": "FAILED", "not checked": "-"}


def evaluate(arguments: list[str]) -> int:
    """Run `moorelens evaluate`; a poor score is a result."""
    description = "Play a run's machine with every fallback, disturbed, and against rivals."
    config, output = parse(EvaluateConfig, arguments, verb="evaluate", description=description)
    from moorelens.pipelines.evaluate import CSV, EVALUATION, LATEX, run_evaluate

    with open_progress(quiet=output.quiet) as progress:
        found = run_evaluate(config, progress=progress)
    if output.json:
        print_json(b"null" if found is None else encode_record(found))
    elif found is None:
        print(f"Time was up before {config.run} was evaluated; the same command goes on.")
    else:
        files = [str(Path(config.run) / name) for name in (EVALUATION, CSV, LATEX)]
        print("\n".join([*evaluation_lines(found), "", *files]))
    return 0


def prune(arguments: list[str]) -> int:
    """Run `moorelens prune`; a machine from which nothing can be taken away is a result."""
    description = "Take away the decisions of a run's machine that the return does not need."
    config, output = parse(PruneConfig, arguments, verb="prune", description=description)
    from moorelens.pipelines.prune import CSV, SVG, run_prune
    from moorelens.pipelines.reporting import PRUNED

    with open_progress(quiet=output.quiet) as progress:
        found = run_prune(config, progress=progress)
    if output.json:
        print_json(b"null" if found is None else encode_record(found))
    elif found is None:
        print(f"Time was up before {config.run} was pruned; the same command goes on.")
    else:
        files = [str(Path(config.run) / name) for name in (PRUNED, SVG, CSV)]
        print("\n".join([*pruning_lines(found), "", *files]))
    return 0


def check(arguments: list[str]) -> int:
    """Run `moorelens check`; exit code 1 where a recorded episode breaks the property."""
    description = "Say whether the recorded episodes of a run have a property, or show one."
    config, output = parse(CheckConfig, arguments, verb="check", description=description)
    from moorelens.pipelines.check import run_check

    found = run_check(config)
    if output.json:
        print_json(msgspec.json.encode(found))
    else:
        print("\n".join(check_lines(msgspec.to_builtins(found))))
    return 0 if found.holds else 1


def verify(arguments: list[str]) -> int:
    """Run `moorelens verify`."""
    description = "Compute every number of a run again, and say which one moved."
    config, output = parse(VerifyConfig, arguments, verb="verify", description=description)
    from moorelens.pipelines.verify import run_verify

    with open_progress(quiet=output.quiet) as progress:
        found = run_verify(config, progress=progress)
    if output.json:
        print_json(msgspec.json.encode(found))
    else:
        lines = [f"{_MARKS[check.result]:<7}{check.name:<10}{check.detail}" for check in found.checks]
        for moved in found.moved:
            lines.append(f"  {moved.file} {moved.path}: stored {_told(moved.stored)}, now {_told(moved.recomputed)}")
        lines += [f"  made with {name} {then}, verified with {now}" for name, then, now in found.versions]
        lines.append("Every number holds." if found.holds else "This run does not hold.")
        print(plain("\n".join(lines)))
    return 0 if found.holds else 1


def _told(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)
