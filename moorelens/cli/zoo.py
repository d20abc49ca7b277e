"""`zoo list` and `zoo show`: the bundled policies and what they score."""

from __future__ import annotations

import msgspec

from moorelens.cli.config import ShowConfig, ZooListConfig
from moorelens.cli.parsing import parse
from moorelens.cli.printing import plain, print_json
from moorelens.errors import OptionError
from moorelens.reports.format import count, number, span


def zoo(arguments: list[str]) -> int:
    """Run `moorelens zoo list` or `moorelens zoo show NAME`."""
    action, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if action == "list":
        return _list(rest)
    if action == "show":
        return _show(rest)
    if action in ("--help", "-h"):
        print("usage: moorelens zoo list [--json | --markdown]\n       moorelens zoo show NAME [--json]\n")
        print("The bundled policies.")
        return 0
    raise OptionError(f"The zoo is asked to `list` or to `show NAME`, not {action!r}; see `moorelens zoo --help`.")


def _list(arguments: list[str]) -> int:
    config, output = parse(ZooListConfig, arguments, verb="zoo list", description="The bundled policies.")
    from moorelens.pipelines.zoo import list_zoo, zoo_table

    if config.markdown:
        if output.json:
            raise OptionError("`zoo list` prints one document, and --json and --markdown ask for two: leave one out.")
        print(zoo_table(), end="")
        return 0
    rows = list_zoo()
    if output.json:
        print_json(msgspec.json.encode(rows))
        return 0
    names, envs = (2 + max(len(row[key]) for row in rows) for key in ("name", "env"))
    print(f"{'NAME':<{names}}{'ENVIRONMENT':<{envs}}{'CELL':<5}{'SCORE':>7}  95 % INTERVAL")
    for row in rows:
        score = row["score"]
        line = f"{row['name']:<{names}}{row['env']:<{envs}}{row['cell']:<5}{number(score['mean']):>7}"
        print(plain(f"{line}  {span(score['low'], score['high'])}"))
    return 0


def _show(arguments: list[str]) -> int:
    config, output = parse(ShowConfig, arguments, verb="zoo show", description="One bundled policy.")
    from moorelens.pipelines.zoo import show

    card = show(config.name)
    if output.json:
        print_json(msgspec.json.encode(card))
        return 0
    score = card.held_out.score
    lines = [
        f"{card.name}: {card.algorithm} with {card.units} {card.cell.upper()} units, for {card.env}",
        f"reads      {card.preprocessing}",
        f"scores     {number(score.mean)} on {score.n} held-out games ({span(score.low, score.high)})",
        f"trained    {count(card.steps)} steps, seed {card.seed}, {number(card.seconds)} s: {card.command}",
        *card.words,
        f"explain it with: moorelens explain zoo:{card.name}",
    ]
    print("\n".join(plain(line) for line in lines))
    return 0
