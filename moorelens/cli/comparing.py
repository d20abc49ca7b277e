"""`compare`: quantisers side by side, then one table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec

from moorelens.cli.parsing import parse
from moorelens.cli.printing import open_progress, plain, print_json
from moorelens.pipelines.compare_config import CompareConfig
from moorelens.pipelines.config import default_out
from moorelens.reports.format import count, number, share

if TYPE_CHECKING:
    from moorelens.pipelines.compare import CompareResult
    from moorelens.pipelines.compare_table import Row

SHOWN = ("compare.md", "compare.csv", "compare.json")


def compare(arguments: list[str]) -> int:
    """Run `moorelens compare`."""
    description = "Compare quantisers, and learning without a memory, on episodes of a policy."
    config, output = parse(CompareConfig, arguments, verb="compare", description=description)
    if not config.out:
        config = msgspec.structs.replace(config, out=default_out("compare", config.policy))
    from moorelens.pipelines.compare import run_compare

    with open_progress(quiet=output.quiet) as progress:
        result = run_compare(config, progress=progress)
    for part in result.left_out:
        print(f"left out for want of time: {part}", file=sys.stderr)
    if output.json:
        print_json(msgspec.json.encode(document(result)))
    else:
        print(plain("\n".join(lines(result))))
    return 0


def document(result: CompareResult) -> dict[str, Any] | None:
    """Return `compare.json` with the seconds of each row, which stand in no file but the log."""
    if result.comparison is None:
        return None
    found: dict[str, Any] = msgspec.to_builtins(result.comparison)
    found["rows"] = [{**row, "seconds": result.seconds[row["name"]]} for row in found["rows"]]
    return found


def lines(result: CompareResult) -> list[str]:
    """Return the table for a terminal, what its columns mean, and where the files are."""
    found = result.comparison
    if found is None:
        return [f"Nothing is finished in {result.folder} yet; the same command goes on."]
    from moorelens.pipelines.compare_table import note

    width = max(len("quantiser"), *(len(_name(row)) for row in found.rows)) + 1
    heads = f"{'quantiser':<{width}}{'tuned':<5}{'loss':>8}{'fidelity':>10}{'decided':>9}"
    table = [
        f"{found.policy} in {found.env}: return {number(found.returns.mean)} on {found.returns.n} held-out games",
        f"{heads}{'states':>8}{'folded':>7}{'symbols':>8}{'seconds':>8}",
        *(_line(row, width, result.seconds[row.name]) for row in found.rows),
        "",
        note(found),
        "",
    ]
    files = [str(result.folder / name) for name in SHOWN]
    return [plain(line) for line in table] + files


def _line(row: Row, width: int, seconds: float) -> str:
    scores = f"{number(row.loss.mean):>8}{share(row.fidelity.mean):>10}{share(row.decided.mean):>9}"
    sizes = f"{count(row.states):>8}{count(row.folded):>7}{count(row.symbols):>8}"
    return f"{_name(row):<{width}}{'yes' if row.tuned else 'no':<5}{scores}{sizes}{number(seconds):>8}"


def _name(row: Row) -> str:
    return f"{row.name} on {row.symbols_of}" if row.symbols_of else row.name
