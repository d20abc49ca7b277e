"""`evaluate`, `prune`, `check` and `verify`: questions to a finished run."""

from __future__ import annotations

from typing import Any

import msgspec

from moorelens.cli.parsing import parse
from moorelens.cli.printing import open_progress, print_json
from moorelens.pipelines.run_config import VerifyConfig

_MARKS = {"holds": "ok", "fails": "FAILED", "not checked": "-"}


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
        print("\n".join(lines))
    return 0 if found.holds else 1


def _told(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)
