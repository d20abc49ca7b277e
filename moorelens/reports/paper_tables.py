"""The tables of a report as CSV and LaTeX, for papers: plain numbers in the one, typeset ones in the other."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from moorelens.reports.data import ReportData
from moorelens.reports.evaluation import Evaluation, PlayerResult
from moorelens.reports.format import number, share, span
from moorelens.reports.pruning import Pruning
from moorelens.reports.summary import Score
from moorelens.reports.tables import Cell, Table, tables
from moorelens.text import printable

FOLDER = "tables/"
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "\u2212": "$-$", "\u2264": r"$\leq$", "\u2265": r"$\geq$", "\u00d7": r"$\times$", "\u2192": r"$\rightarrow$",
    "\u203a": r"$\rangle$", "\u202f": r"\,", "\u00a0": "~", "\u2013": "--", "\u2014": "---", "\u2026": r"\ldots{}",
    "\u00b1": r"$\pm$", "\u03b8": r"$\theta$",
}  # fmt: skip
_ESCAPED = re.compile("|".join(map(re.escape, _LATEX)))


def paper_tables(data: ReportData) -> dict[str, bytes]:
    """Return `tables/KEY.csv` and `tables/KEY.tex` for every table of the report, and the returns seed by seed.

    LaTeX tables need the package booktabs.
    """
    files: dict[str, bytes] = {}
    for key, table in tables(data).items():
        files[f"{FOLDER}{key}.csv"] = table_csv(table)
        files[f"{FOLDER}{key}.tex"] = table_latex(table)
    if data.seed_returns:
        files[f"{FOLDER}seeds.csv"] = _rows(
            ["protocol", "player", "seed", "return"],
            (
                [entry.protocol, entry.player, seed, _plain(value)]
                for entry in data.seed_returns
                for seed, value in zip(entry.seeds, entry.values, strict=True)
            ),
        )
    return files


def evaluation_csv(found: Evaluation) -> bytes:
    """Return every episode of an evaluation, one row each; what was not measured is empty."""
    head = ["condition", "player", "fallback", "seed", "return", "steps", "unseen", "undefined", "agrees"]
    return _rows(
        [*head, "teacher_forced", "diverged", "stopped"],
        (
            [
                condition.key, player.player, player.fallback or "", row.seed, _plain(row.total), row.steps, 
                *(_plain(value) for value in (row.unseen, row.undefined, row.agrees, row.teacher_forced)),
                *(_plain(value) for value in (row.diverged, row.stopped)),
            ]
            for condition in found.conditions
            for player in condition.players
            for row in player.episodes
        ),
    )  # fmt: skip


def evaluation_latex(found: Evaluation) -> bytes:
    """Return the players of an evaluation, and the rivals of the machine, as LaTeX tables."""
    parts = []
    for condition in found.conditions:
        rows = [_player_cells(player) for player in condition.players]
        head = ["player", "return", "95 \\% interval", "loss", "unseen", "undefined", "agrees"]
        caption = f"{condition.title}: {condition.detail}."
        parts.append(_tabular(head, rows, align="lrrrrrr", caption=caption, label=f"evaluation-{condition.key}"))
    if found.rivals:
        rows = [
            [rival.title, rival.sees, number(rival.gain.mean), _between(rival.gain), number(rival.policy_gain.mean)]
            for rival in found.rivals
        ]
        head = ["rival", "sees", "machine gains", "95 \\% interval", "policy gains"]
        parts.append(_tabular(head, rows, align="llrrr", caption=found.finding, label="evaluation-rivals"))
    return "\n".join(parts).encode()


def pruning_csv(found: Pruning) -> bytes:
    """Return every forced branch of a decision of the original machine, and what it costs, one row each."""
    return _rows(
        ["state", "branch", "share", "cost", "low", "high", "games", "decision_kept"],
        (
            [row.state, row.target, _plain(row.share), _plain(row.cost.mean), _plain(row.cost.low),
             _plain(row.cost.high), row.cost.n, int(row.kept)]
            for row in found.effects
        ),
    )  # fmt: skip


def pruning_latex(found: Pruning) -> bytes:
    """Return the original and the pruned machine, and what each decision is worth, as LaTeX tables."""
    held_out = found.held_out
    rows = [
        ["machine", str(found.states[0]), str(found.decisions[0]), number(found.machine.mean),
         number(held_out.machine.mean), _between(held_out.machine), "\u2013"],
        ["pruned", str(found.states[1]), str(found.decisions[1]), number(found.pruned.mean),
         number(held_out.pruned.mean), _between(held_out.pruned), number(held_out.cost.mean)],
    ]  # fmt: skip
    head = ["", "states", "decisions", "pruning games", "held-out games", "95 \\% interval", "cost"]
    caption = f"Functional pruning ({found.mode}), at most {number(found.tolerance)} of return lost."
    parts = [_tabular(head, rows, align="lrrrrrr", caption=caption, label="pruning")]
    if found.effects:
        rows = [
            [f"S{row.state}", f"S{row.target}", share(row.share), number(row.cost.mean), _between(row.cost),
             "kept" if row.kept else "pruned"]
            for row in found.effects
        ]  # fmt: skip
        head = ["decision", "always to", "taken", "cost", "95 \\% interval", ""]
        caption = "What a decision is worth: return lost when it always takes one branch, all else left as it is."
        parts.append(_tabular(head, rows, align="llrrrl", caption=caption, label="pruning-effects"))
    return "\n".join(parts).encode()


def _player_cells(player: PlayerResult) -> list[str]:
    name = player.title if player.fallback in (None, "nearest") else f"{player.title} ({player.fallback})"
    loss = "\u2013" if player.loss is None else number(player.loss.mean)
    rates = ["\u2013" if value is None else share(value) for value in (player.unseen, player.undefined, player.agrees)]
    return [name, number(player.score.mean), _between(player.score), loss, *rates]


def _between(score: Score) -> str:
    return span(score.low, score.high)


def table_csv(table: Table) -> bytes:
    """Return a table as CSV: plain numbers where a cell holds one."""
    noted = any(cell.note for row in table.rows for cell in row)
    head = [column.title for column in table.columns]
    rows = ([_value(cell) for cell in row] + _notes(row, noted) for row in table.rows)
    return _rows([*head, *(["note"] if noted else [])], rows)


def _notes(row: Sequence[Cell], noted: bool) -> list[str]:
    return [text("; ".join(cell.note for cell in row if cell.note))] if noted else []


def _value(cell: Cell) -> str:
    if cell.missing:
        return ""
    return _plain(cell.value) if cell.value is not None else text(cell.text)


def _plain(value: float | int | None) -> str:
    return "" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)


def text(words: str) -> str:
    """Return words of a report in characters that every program reads."""
    return printable(words).translate({0x202F: " ", 0xA0: " ", 0x2212: "-", 0x2013: "-", 0x2264: "<=", 0x203A: ">"})


def _rows(head: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for row in (head, *rows):
        writer.writerow([printable(cell) if isinstance(cell, str) else cell for cell in row])
    return buffer.getvalue().encode()


def table_latex(table: Table) -> bytes:
    """Return a table as LaTeX, which needs the package booktabs."""
    head = [latex(column.title) for column in table.columns]
    align = "".join("l" if column.align == "left" else "r" for column in table.columns)
    rows = [[cell.text for cell in row] for row in table.rows]
    caption = f"{table.title}. {table.note}".rstrip()
    return _tabular(head, rows, align=align, caption=caption, label=table.key).encode()


def _tabular(head: Sequence[str], rows: Iterable[Sequence[str]], *, align: str, caption: str, label: str) -> str:
    body = [" & ".join(latex(cell) for cell in row) + r" \\" for row in rows]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex(caption)}}}",
            rf"\label{{tab:moorelens-{label}}}",
            rf"\begin{{tabular}}{{{align}}}",
            r"\toprule",
            " & ".join(head) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def latex(words: str) -> str:
    """Return words as LaTeX shows them literally."""
    return _ESCAPED.sub(lambda match: _LATEX[match[0]], printable(words))
