"""Every table of the report, filled once for HTML and PDF; each number knows the path in the summary it comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from moorelens.reports.data import DecisionPoint, Interval, Named, ReductionStep, ReportData
from moorelens.reports.format import MEMORYLESS, MISSING, NO_MEMORY, count, number, seed_range, share, signed, span
from moorelens.reports.summary import MachineScore, Returns, Score

Align = Literal["left", "right"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one cell says; `path` and `value` where it shows a number of the summary, `bar` (0..1) a length."""

    text: str
    path: str | None = None
    value: float | None = None
    missing: bool = False
    note: str = ""
    bar: float | None = None


@dataclass(frozen=True, kw_only=True)
class Column:
    """A heading and how its cells are set."""

    title: str
    align: Align = "right"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A numbered table; `note` says below it what the columns mean."""

    key: str
    number: int
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class _Draft:
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


def tables(data: ReportData) -> dict[str, Table]:
    """Return the tables that have something to say, by key, numbered in the order in which the report shows them."""
    makers: tuple[tuple[str, Callable[[ReportData], _Draft | None]], ...] = (
        ("decisions", _decisions),
        ("returns", _returns),
        ("published", _published),
        ("assisted", _assisted),
        ("fidelity", _fidelity),
        ("sizes", _sizes),
        ("memory", _memory),
        ("stability", _stability),
        ("saliency", _saliency),
        ("subject", _subject),
        ("settings", lambda data: _named("What it was run with", data.settings)),
        ("versions", lambda data: _named("Versions", data.versions)),
    )
    drafts = [(key, draft) for key, make in makers if (draft := make(data)) is not None and draft.rows]
    return {
        key: Table(key=key, number=place, title=draft.title, columns=draft.columns, rows=draft.rows, note=draft.note)
        for place, (key, draft) in enumerate(drafts, start=1)
    }


def _words(text: str, *, note: str = "") -> Cell:
    return Cell(text=text, note=note)


def _value(
    value: float | None,
    *,
    path: str | None = None,
    shape: Callable[[float | None], str] = number,
    bar: float | None = None,
) -> Cell:
    return Cell(text=shape(value), path=path, value=value, missing=value is None, bar=bar)


def _columns(first: str, *rest: str) -> tuple[Column, ...]:
    return (Column(title=first, align="left"), *(Column(title=title) for title in rest))


_PLAYERS = (
    ("policy", "Policy"),
    ("policy_stochastic", "Policy, sampling its actions"),
    ("mmn", "Quantised network"),
    ("machine", "Machine"),
    ("reduced", "Reduced machine"),
    ("folded", "Folded machine"),
    ("pruned", "Pruned machine"),
)


def _returns(data: ReportData) -> _Draft | None:
    returns, loss = data.summary.returns, data.summary.loss
    rows = []
    for key, title in _PLAYERS:
        score: Score | None = getattr(returns, key)
        lost: Score | None = getattr(loss, key, None)
        if score is not None:
            rows.append((*_score_cells(f"returns.{key}", title, score), *_loss_cells(f"loss.{key}", lost)))
    return _Draft(
        title="Return on held-out games",
        columns=_columns("player", "mean", "95 % interval", "games", "decided", "loss", "95 % interval"),
        rows=tuple(rows),
        note=(
            "Every player meets the same seeds, none of which was used for fitting or selection. Decided: share of "
            "steps taken by a recorded transition. Loss: paired difference, policy minus player, in units of return."
        ),
    )


def _score_cells(path: str, title: str, score: Score) -> tuple[Cell, ...]:
    decided = score.decided if isinstance(score, MachineScore) else None
    return (
        _words(title),
        _value(score.mean, path=f"{path}.mean"),
        _words(_bounded(score)),
        _value(score.n, path=f"{path}.n", shape=count),
        _value(decided, path=f"{path}.decided", shape=share) if decided is not None else _words("\u2013"),
    )


def _loss_cells(path: str, loss: Score | None) -> tuple[Cell, ...]:
    if loss is None:
        return _words("\u2013"), _words("\u2013")
    return _value(loss.mean, path=f"{path}.mean"), _words(_bounded(loss))


def _bounded(score: Score | Interval, *, as_share: bool = False) -> str:
    """Return the interval, or "all equal" and the share that may still differ where it has no width."""
    if score.bound is not None:
        return f"all equal (\u2264\u202f{share(score.bound)} may differ)"
    return span(score.low, score.high, as_share=as_share)


def _interval(interval: Interval | None, *, points: bool) -> str:
    if interval is None:
        return "\u2013"
    if points and interval.low is not None and interval.high is not None:
        return f"{signed(round(100 * interval.low, 1))} to {signed(round(100 * interval.high, 1))}"
    return _bounded(interval, as_share=True)


def _plain_returns(data: ReportData, returns: Returns, *, block: str, title: str, note: str) -> _Draft | None:
    scores = [(key, name, getattr(returns, key)) for key, name in _PLAYERS]
    rows = tuple(_score_cells(f"{block}.{key}", name, score) for key, name, score in scores if score is not None)
    return _Draft(
        title=title, columns=_columns("player", "mean", "95 % interval", "games", "decided"), rows=rows, note=note
    )


def _published(data: ReportData) -> _Draft | None:
    return _plain_returns(
        data,
        data.summary.returns_published,
        block="returns_published",
        title="Return by the papers' protocol",
        note="One greedy game of the deterministic environment: no interval, and no test of anything but that game.",
    )


def _assisted(data: ReportData) -> _Draft | None:
    return _plain_returns(
        data,
        data.summary.returns_assisted,
        block="returns_assisted",
        title="Return with the network helping out",
        note="Without a recorded transition the network takes the step; the machine rejoins when it can.",
    )


_FIDELITY = (
    ("replay", "Machine on the traces it was built from", "must be 100 %"),
    ("teacher_forced_policy", "Machine and policy, shown the same observations", "same action"),
    ("teacher_forced_mmn", "Machine and quantised network, shown the same", "same action"),
    ("closed_loop", "Machine in control, policy asked at every step", "same action"),
    ("symbol_novelty", "Observations whose symbol was never seen before", "lower is better"),
    ("undefined_rate", "Steps without a recorded transition", "lower is better"),
)


def _fidelity(data: ReportData) -> _Draft | None:
    return _share_rows(
        data,
        "fidelity",
        _FIDELITY,
        title="Agreement",
        note="Shares of steps on held-out games; the first row is on the traces the machine was built from.",
    )


_MEMORY = (
    ("reactivity", "Steps whose symbol alone settles the action", "reactivity"),
    ("memory_gain", "Agreement of the machine minus that of the best table from symbol to action", "memory gain"),
    ("open_loop_index", "Actions guessed from the time step alone", "open-loop index"),
    ("best_tree", "Agreement of the best decision tree on single observations", "best tree"),
)


def _memory(data: ReportData) -> _Draft | None:
    return _share_rows(
        data,
        "memory",
        _MEMORY,
        title="Use of memory",
        note=(
            "A machine with few states does not show that memory is unused, nor one with many that it is used; these "
            "four numbers do."
        ),
    )


def _share_rows(
    data: ReportData, block: str, measures: Sequence[tuple[str, str, str]], *, title: str, note: str
) -> _Draft | None:
    record = getattr(data.summary, block)
    rows = []
    for key, words, remark in measures:
        path = f"{block}.{key}"
        interval = data.intervals.get(path)
        value = getattr(record, key)
        shape = signed_share if key == "memory_gain" else share
        rows.append(
            (
                _words(words, note=remark),
                _value(value, path=path, shape=shape),
                _words(_interval(interval, points=key == "memory_gain")),
                _words(count(interval.n) if interval is not None else "\u2013"),
            )
        )
    if all(row[1].missing for row in rows):
        return None
    return _Draft(
        title=title, columns=_columns("measure", "value", "95 % interval", "games"), rows=tuple(rows), note=note
    )


def signed_share(value: float | None) -> str:
    """Return a difference of two shares in percentage points, with its sign."""
    return MISSING if value is None else f"{signed(round(100 * value, 1))} points"


def _sizes(data: ReportData) -> _Draft | None:
    steps = data.reductions
    most = max((step.states or 0 for step in steps), default=0)
    return _Draft(
        title="Size after each step",
        columns=(Column(title="step", align="left"), Column(title="states"), Column(title="symbols"),
                 Column(title="edges"), Column(title="decision points"), Column(title="what it does", align="left")),
        rows=tuple(_size_cells(step, most=most) for step in steps),
        note="The silent start is not counted as a state. Folding is a different machine, not a further step: it joins "
        "all states that no recorded observation tells apart.",
    )  # fmt: skip


def _size_cells(step: ReductionStep, *, most: int) -> tuple[Cell, ...]:
    bar = step.states / most if step.states is not None and most else None
    return (
        _words(step.title),
        _value(step.states, shape=count, bar=bar),
        _dash(step.symbols),
        _dash(step.edges),
        _dash(step.decisions),
        _words(step.merged),
    )


def _dash(value: int | None) -> Cell:
    return _words("\u2013") if value is None else _value(value, shape=count)


def _decisions(data: ReportData) -> _Draft | None:
    ruled = any(decision.rule_accuracy is not None for decision in data.decisions)
    return _Draft(
        title="Decision points, heaviest first",
        columns=(
            Column(title="state", align="left"), Column(title="does", align="left"), Column(title="kind", align="left"),
            Column(title="visits"), Column(title="share of steps"), Column(title="branches"),
            Column(title="weight, bits"), *((Column(title="rule is right"),) if ruled else ()),
        ),
        rows=tuple(_decision_cells(decision, ruled=ruled) for decision in data.decisions),
        note=(
            "Weight: visits times the entropy of the branch taken. Kinds: action, the very next action depends on it; "
            "semantic, some later action does; cosmetic, none does; dwell, stay or leave."
            + (" The last column is how often the rules name the branch that is taken." if ruled else "")
        ),
    )  # fmt: skip


def _decision_cells(decision: DecisionPoint, *, ruled: bool) -> tuple[Cell, ...]:
    accuracy = decision.rule_accuracy
    return (
        _words(decision.label),
        _words(decision.word),
        _words(kinds(decision)),
        _value(decision.visits, shape=count),
        _value(decision.share, shape=share),
        _value(len(decision.branches), shape=count),
        _value(decision.weight_bits),
        *((_words("\u2013") if accuracy is None else _value(accuracy, shape=share),) if ruled else ()),
    )


def kinds(decision: DecisionPoint) -> str:
    """Return the kinds of a decision point that say more than "structural", or "cosmetic" where there is none."""
    known = [flag for flag in ("action", "semantic", "dwell", "stochastic") if flag in decision.flags]
    if "action" in known:
        known = [flag for flag in known if flag != "semantic"]
    return ", ".join(known) or "cosmetic"


def _stability(data: ReportData) -> _Draft | None:
    if data.stability is None:
        return None
    rows = tuple(
        (
            _value(row.repeat, shape=count), _value(row.states, shape=count), _value(row.decisions, shape=count),
            _value(row.recurring, shape=share), _value(row.deciding, shape=share), _value(row.agreement, shape=share),
            _value(row.score),
        )
        for row in data.stability.rows
    )  # fmt: skip
    columns = _columns("repeat", "states", "decision points", "recurring", "deciding", "agreement", "return")
    return _Draft(title="Repeated extractions", columns=columns, rows=rows, note=data.stability.note)


def _saliency(data: ReportData) -> _Draft | None:
    if data.saliency is None:
        return None
    labels = {decision.key: decision.label for decision in data.decisions}
    rows = tuple(
        (
            _words(labels.get(row.decision, row.decision)), _value(row.pairs, shape=count),
            _value(row.skipped, shape=count), _value(row.flip_salient, shape=share),
            _value(row.flip_other, shape=share),
        )
        for row in data.saliency.rows
    )  # fmt: skip
    columns = _columns("decision point", "pairs", "skipped", "flips, salient part", "flips, other part")
    return _Draft(title="Intervention test", columns=columns, rows=rows, note=data.saliency.note)


def _subject(data: ReportData) -> _Draft | None:
    subject, seeds = data.subject, data.summary.seeds
    facts: list[tuple[str, str | None]] = [
        ("policy", subject.policy),
        ("identity", subject.identity),
        ("environment", subject.env),
        ("algorithm", subject.algorithm),
        ("memory", _memory_words(subject.cell, subject.memory_units)),
        ("parameters", None if subject.parameters is None else count(subject.parameters)),
        ("actions", ", ".join(subject.action_names)),
        ("features", ", ".join(subject.feature_names) if subject.feature_names else None),
        ("step limit", None if subject.max_steps is None else count(subject.max_steps)),
        ("counts as solved at", None if subject.reward_threshold is None else number(subject.reward_threshold)),
        ("preset", subject.preset),
        ("seeds to fit", seed_range(seeds.fit)),
        ("seeds to select", seed_range(seeds.selection)),
        ("seeds held out", seed_range(seeds.held_out)),
    ]
    rows = tuple((_words(name), _words(value)) for name, value in facts if value is not None)
    return _Draft(title="What was analysed", columns=_two_columns(), rows=rows)


def _memory_words(cell: str | None, units: int | None) -> str | None:
    if cell == MEMORYLESS:
        return NO_MEMORY
    words = [cell or "", f"{count(units)} units" if units is not None else ""]
    return ", ".join(word for word in words if word) or None


def _named(title: str, entries: Sequence[Named]) -> _Draft | None:
    groups = {entry.group for entry in entries}
    rows = tuple(
        (
            _words(f"{entry.group} \u203a {entry.name}" if len(groups) > 1 else entry.name, note=entry.note),
            _words(entry.value),
        )
        for entry in entries
    )
    return _Draft(title=title, columns=_two_columns(), rows=rows)


def _two_columns() -> tuple[Column, ...]:
    return Column(title="", align="left"), Column(title="", align="left")
