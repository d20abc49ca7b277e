"""`saliency`: what one decision of a finished run looked at."""

from __future__ import annotations

from typing import Any

import msgspec

from moorelens.cli.parsing import parse
from moorelens.cli.printing import open_progress, plain, print_json
from moorelens.pipelines.saliency_config import SaliencyConfig


def saliency(arguments: list[str]) -> int:
    """Run `moorelens saliency`; a map that the intervention does not confirm is a result."""
    description = "Say what one decision of a run looked at, and try it out."
    config, output = parse(SaliencyConfig, arguments, verb="saliency", description=description)
    from moorelens.pipelines.asked_saliency import run_saliency

    with open_progress(quiet=output.quiet) as progress:
        found = run_saliency(config, progress=progress)
    if output.json:
        print_json(msgspec.json.encode(found))
    else:
        lines = _graph_lines(found.branch) if found.method == "sag" else _lines(found.branch)
        print("\n".join([*(plain(line) for line in lines), *found.files]))
    return 0


def _graph_lines(graphs: Any) -> list[str]:
    """What is enough for each of two branches."""
    return [line for branch in graphs.branches for line in (*branch.text.splitlines(), "")]


def _lines(branch: Any) -> list[str]:
    targets = " or ".join(f"S{target}" for target in branch.targets)
    lines = [f"S{branch.state} goes on to {targets}; {branch.pairs} observations compared"]
    if branch.skipped:
        lines.append(f"{branch.skipped} of them show no difference and were left out")
    if branch.compared:
        lines.append(_flips_line(branch))
    if branch.on_objects is not None:
        lines.append(f"{branch.on_objects:.0%} of the saliency is on objects that cover {branch.object_area:.1%}")
    return lines


def _flips_line(branch: Any) -> str:
    taken = f"the other branch is taken by {branch.flips_salient} of {branch.compared} with the"
    if branch.flips_other is None:
        return f"{taken} only feature of the other's observation; there is no other feature to compare with"
    return f"{taken} most salient part of the other's observation, by {branch.flips_other} with as much of the rest"
