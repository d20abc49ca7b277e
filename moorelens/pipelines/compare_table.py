"""The table of a comparison: one row a quantiser, as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from moorelens.errors import RunFolderError
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.pipelines.compare_config import MERGING, RAW, symbol_source
from moorelens.pipelines.compare_play import GAMES, POLICY_GAMES
from moorelens.pipelines.job import Job
from moorelens.pipelines.machines import MACHINE, QUANTISE_REPORT, SIZES, quantise_report
from moorelens.pipelines.summarise import reference_of
from moorelens.reports.format import MISSING, count, number, share, span
from moorelens.runs.arrays import decode_arrays
from moorelens.runs.stages import Stage, StageContext
from moorelens.stats import Estimate, estimate, paired_difference, share_of

Array = npt.NDArray[Any]

COMPARISON, COMPARISON_CSV, COMPARISON_MD = "compare.json", "compare.csv", "compare.md"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What one way of quantising came to; all scores are of the held-out seeds.

    `tuned`: fine-tuned through the policy. `symbols_of`: whose symbols it read (state merging), else None. `size`: the
    chosen digits or clusters of state and observation. `kept`: the return was kept on the selection seeds. `returns`
    and `loss` (policy minus machine, paired) are the machine's, `network_loss` that of the quantised network before a
    machine was read off. `fidelity`: share of steps in which the policy would have done what the machine did, with the
    machine in control. `decided`: share of steps taken by a recorded transition. `folded`: states after `fold`.
    """

    name: str
    tuned: bool
    symbols_of: str | None
    size: tuple[int, int] | None
    kept: bool | None
    returns: Estimate
    loss: Estimate
    network_loss: Estimate | None
    fidelity: Estimate
    decided: Estimate
    states: int
    symbols: int
    transitions: int
    folded: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """`compare.json`. `copies`: held-out games that only replay a fit game, and count nowhere."""

    format: Literal["moorelens.compare/1"] = "moorelens.compare/1"
    policy: str
    env: str
    seeds: dict[str, tuple[int, ...]]
    returns: Estimate
    copies: int
    rows: tuple[Row, ...]


def table_stage(job: Job, names: tuple[str, ...]) -> Stage:
    """What the games of all rows come to, in one table."""

    def run(context: StageContext) -> Mapping[str, bytes]:
        games = decode_arrays(context.read(POLICY_GAMES))
        new = ~games["policy/copies"]
        if not new.any():
            # Nothing new was played; the scores are of the replayed games, and `copies` says so.
            new = np.ones_like(new)
        policy = games["policy/returns"][new]
        found = Comparison(
            policy=reference_of(job),
            env=job.request.id,
            seeds={"fit": job.seeds("fit"), "selection": job.seeds("selection"), "held_out": job.seeds("held_out")},
            returns=estimate(policy),
            copies=int(games["policy/copies"].sum()),
            rows=tuple(_row(context, name, names, policy=policy, new=new) for name in names),
        )
        return {
            COMPARISON: msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n",
            COMPARISON_CSV: as_csv(found),
            COMPARISON_MD: as_markdown(found),
        }

    return Stage(
        name="table",
        run=run,
        config={"rows": names, "policy": reference_of(job)},
        needs=(POLICY_GAMES, *(f"{name}/{file}" for name in names for file in _files(name))),
        outputs=(COMPARISON, COMPARISON_CSV, COMPARISON_MD),
    )


def decode_comparison(data: bytes) -> Comparison:
    """Read `compare.json`; raises `RunFolderError` where it is none."""
    try:
        return msgspec.json.decode(data, type=Comparison)
    except msgspec.MsgspecError as error:
        raise RunFolderError(
            f"A comparison follows moorelens.compare/1 and this one does not ({error}): it was changed by hand, so run "
            "the job again with --force."
        ) from error


def as_csv(found: Comparison) -> bytes:
    """Return the rows as CSV: plain numbers, nothing where there is none."""
    buffer = io.StringIO()
    rows = [flat(row) for row in found.rows]
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()


def flat(row: Row) -> dict[str, str]:
    """Return a row as plain text by column."""
    sizes = row.size or (None, None)
    values: dict[str, float | str | None] = {
        "name": row.name,
        "tuned": row.tuned,
        "symbols_of": row.symbols_of,
        "state_size": sizes[0],
        "observation_size": sizes[1],
        "kept": row.kept,
        "return": row.returns.mean,
        "loss": row.loss.mean,
        "loss_low": row.loss.low,
        "loss_high": row.loss.high,
        "network_loss": row.network_loss.mean if row.network_loss else None,
        "fidelity": row.fidelity.mean,
        "decided": row.decided.mean,
        "states": row.states,
        "folded": row.folded,
        "symbols": row.symbols,
        "transitions": row.transitions,
    }
    return {name: _plain(value) for name, value in values.items()}


HEADINGS = (
    *("quantiser", "tuned", "loss", "95 % interval", "network", "fidelity", "decided"),
    *("states", "folded", "symbols"),
)


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as it is printed, in the order of `HEADINGS`."""
    interval = MISSING if row.loss.low is None else span(row.loss.low, row.loss.high)
    lost = number(row.network_loss.mean) if row.network_loss else MISSING
    states = (count(row.states), count(row.folded), count(row.symbols))
    name = f"{row.name} on {row.symbols_of}" if row.symbols_of else row.name
    return (
        *(name, "yes" if row.tuned else "no", number(row.loss.mean), interval, lost),
        *(share(row.fidelity.mean), share(row.decided.mean), *states),
    )


def as_markdown(found: Comparison) -> bytes:
    """Return the table as Markdown, with what its columns mean below it."""
    lines = [
        f"{found.policy} in {found.env}: return {number(found.returns.mean)} on {found.returns.n} held-out games.",
        "",
        f"| {' | '.join(HEADINGS)} |",
        "|---|---|" + "---:|" * (len(HEADINGS) - 2),
        *(f"| {' | '.join(cells(row))} |" for row in found.rows),
        "",
        note(found),
    ]
    return "\n".join([*lines, ""]).encode()


def note(found: Comparison) -> str:
    """Say what the columns mean, and which rows did not keep the return on the selection seeds."""
    lost = [row.name for row in found.rows if row.kept is False]
    said = f" No size of {', '.join(lost)} kept the return on the selection seeds." if lost else ""
    copies = f" {found.copies} held-out games replay a fit game and are left out." if found.copies else ""
    return (
        "Loss: policy minus machine on equal seeds; network: before a machine was read off. Fidelity: the policy would "
        "have done the same. Tuned: fine-tuned through the policy; without, as it was fitted." + said + copies
    )


def _files(name: str) -> tuple[str, ...]:
    return (MACHINE, GAMES) if name in MERGING else (MACHINE, GAMES, SIZES, QUANTISE_REPORT)


def _row(context: StageContext, name: str, names: tuple[str, ...], *, policy: Array, new: Array) -> Row:
    machine = decode_machine(context.read(f"{name}/{MACHINE}"))
    games = {key: array[new] for key, array in decode_arrays(context.read(f"{name}/{GAMES}")).items()}
    merging = name in MERGING
    report = None if merging else quantise_report(context.read(f"{name}/{QUANTISE_REPORT}"))
    folded = machine.n_states if merging else _folded(context.read(f"{name}/{SIZES}"))
    steps = games["machine/steps"]
    return Row(
        name=name,
        tuned=_tuned(name, names),
        symbols_of=symbol_source(names) if merging else None,
        size=None if report is None else report.size,
        kept=None if report is None else report.chosen.kept,
        returns=estimate(games["machine/returns"]),
        loss=paired_difference(policy, games["machine/returns"]),
        network_loss=None if merging else paired_difference(policy, games["network/returns"]),
        fidelity=share_of(games["machine/agrees"], steps),
        decided=share_of(games["machine/decided"], steps),
        states=machine.n_states,
        symbols=machine.n_symbols,
        transitions=machine.n_transitions,
        folded=folded,
    )


def _tuned(name: str, names: tuple[str, ...]) -> bool:
    """State merging reads the symbols of another row, tuned or not."""
    return not (symbol_source(names) if name in MERGING else name).endswith(RAW)


def _folded(sizes: bytes) -> int:
    return int(msgspec.json.decode(sizes)["folded"]["states"])


def _plain(value: float | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{float(value):.6g}"
