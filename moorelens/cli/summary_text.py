"""The lines that a job ends with on the terminal, from what `summary.json` holds: ten of at most 80 columns.

Atari policies get one more, about the papers' game.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moorelens.cli.printing import plain
from moorelens.reports.format import MISSING, count, number, share, signed

WIDTH = 80
_PLAYERS = ("machine", "reduced", "folded")


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """Return the lines about a summary (the keys of design 3): what was not measured is said so, never 0."""
    lines = [
        _subject(summary),
        f"{'':10}{'return':>9}  {'95 % interval':<19} {'games':>5}  {'loss':>7}  recorded steps",
        _player(summary, "policy"),
        *(_player(summary, name) for name in _PLAYERS),
        *_published(summary["returns_published"]),
        f"Faithful  {_fidelity(summary['fidelity'])}",
        f"Sizes     {_sizes(summary['sizes'])}",
        f"Decisions {_decisions(summary)}",
        f"Memory    {_memory(summary['memory'])}",
    ]
    return [_fit(plain(line)) for line in lines]


def _subject(summary: Mapping[str, Any]) -> str:
    loss = summary["loss"].get("machine")
    policy = summary["returns"].get("policy")
    kept = "return not measured"
    if loss is not None and policy is not None:
        kept = f"the machine loses {number(loss['mean'])} of {number(policy['mean'])}"
    return f"{summary['policy']} in {summary['env']}: {kept}"


def _player(summary: Mapping[str, Any], name: str) -> str:
    score = summary["returns"].get(name)
    if score is None:
        return f"{name:10}{MISSING}"
    loss = summary["loss"].get(name)
    lost = "" if loss is None else number(loss["mean"])
    decided = "" if score.get("decided") is None else share(score["decided"])
    interval = _interval(score["low"], score["high"])
    return f"{name:10}{number(score['mean']):>9}  {interval:<19} {count(score['n']):>5}  {lost:>7}  {decided}"


def _published(returns: Mapping[str, Any]) -> list[str]:
    """Return the line about the papers' game, which has no sticky actions and is one and the same each time."""
    found = [(name, returns[name]["mean"], number) for name in ("policy", *_PLAYERS) if returns.get(name)]
    if not found:
        return []
    line = f"Published {_listed(found)}"
    return [line + meant if len(line + (meant := ", in the papers' game")) <= WIDTH else line]


def _interval(low: float | None, high: float | None) -> str:
    return "one game" if low is None or high is None else f"{number(low)} to {number(high)}"


def _fidelity(values: Mapping[str, Any]) -> str:
    return _listed(
        (
            ("own traces", values.get("replay"), share),
            ("policy", values.get("teacher_forced_policy"), share),
            ("closed loop", values.get("closed_loop"), share),
            ("novel", values.get("symbol_novelty"), share),
        )
    )


def _sizes(values: Mapping[str, Any]) -> str:
    parts: list[str] = []
    for name in _PLAYERS:
        size = values.get(name)
        if size is not None:
            states, symbols = count(size["states"]), count(size["symbols"])
            parts.append(f"{name} {states}, {symbols}" if parts else f"{name} {states} states, {symbols} symbols")
    return "; ".join(parts) or MISSING


def _decisions(summary: Mapping[str, Any]) -> str:
    values = summary["decisions"]
    names = [name for name in ("structural", "action", "semantic", "dwell") if values.get(name) is not None]
    kinds = [f"{count(values[name])} {name}" for name in names]
    flips = summary["saliency"].get("flip_salient")
    if flips is not None:
        kinds.append(f"salient parts flip {share(flips)}")
    return ", ".join(kinds) or MISSING


def _memory(values: Mapping[str, Any]) -> str:
    return _listed(
        (
            ("reactivity", values.get("reactivity"), number),
            ("gain", values.get("memory_gain"), signed),
            ("open loop", values.get("open_loop_index"), number),
            ("best tree", values.get("best_tree"), number),
        )
    )


def _listed(parts: Sequence[tuple[str, float | None, Any]]) -> str:
    return ", ".join(f"{name} {shape(value)}" for name, value, shape in parts if value is not None) or MISSING


def _fit(line: str) -> str:
    return line.rstrip() if len(line) <= WIDTH else line[: WIDTH - 3].rstrip() + "..."
