"""`demo`, `explain` and `extract`: a job on a policy, then some lines about what came out and where it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from moorelens.cli.parsing import Output, parse
from moorelens.cli.printing import open_progress, print_json
from moorelens.cli.summary_text import summary_lines
from moorelens.pipelines.config import DemoConfig, ExplainConfig, default_out
from moorelens.pipelines.outcome import RunResult
from moorelens.reports.summary import encode_summary

C = TypeVar("C", ExplainConfig, DemoConfig)

SHOWN = ("report.html", "report.pdf", "reduced.svg", "machine.svg", "machine.json")


def explain(arguments: list[str]) -> int:
    """Run `moorelens explain`."""
    description = "Turn a policy into a machine, measure how faithful it is, and write a report."
    config, output = parse(ExplainConfig, arguments, verb="explain", description=description)
    from moorelens.pipelines.explain import run_explain

    return _job(run_explain, _with_out("explain", config), output)


def extract(arguments: list[str]) -> int:
    """Run `moorelens extract`."""
    description = "Turn a policy into machines and their drawings, without saliency and report."
    config, output = parse(ExplainConfig, arguments, verb="extract", description=description)
    from moorelens.pipelines.extract import run_extract

    return _job(run_extract, _with_out("extract", config), output)


def demo(arguments: list[str]) -> int:
    """Run `moorelens demo`."""
    description = "The whole job on a bundled policy; nothing is bundled but its weights."
    config, output = parse(DemoConfig, arguments, verb="demo", description=description)
    from moorelens.pipelines.demo import run_demo
    from moorelens.pipelines.zoo import demonstrated

    return _job(run_demo, _with_out("demo", demonstrated(config)), output)


def _with_out(verb: str, config: C) -> C:
    return config if config.out else msgspec.structs.replace(config, out=default_out(verb, config.policy))


def _job(run: Callable[..., RunResult], config: ExplainConfig | DemoConfig, output: Output) -> int:
    with open_progress(quiet=output.quiet) as progress:
        result = run(config, progress=progress)
    for part in result.left_out:
        print(f"left out for want of time: {part}", file=sys.stderr)
    if output.json:
        print_json(b"null" if result.summary is None else encode_summary(result.summary))
    else:
        print(_text(result))
    return _exit_code(result)


def _text(result: RunResult) -> str:
    lines: list[str] = []
    if result.summary is not None:
        lines = [*summary_lines(msgspec.to_builtins(result.summary)), ""]
    shown = [str(path) for name in SHOWN if (path := result.folder / name).is_file()]
    return "\n".join([*lines, *shown] or [f"Nothing is finished in {result.folder} yet; the same command goes on."])


def _exit_code(result: RunResult) -> int:
    replay: Any = None if result.summary is None else result.summary.fidelity.replay
    if replay is None or replay >= 1.0:
        return 0
    print(
        f"moorelens: A machine repeats its own traces, and this one repeats {replay:.4%} of them: "
        "this is a mistake in MooreLens, please report it with the run folder.",
        file=sys.stderr,
    )
    return 1
