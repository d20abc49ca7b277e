"""The report as it is read, once for HTML and PDF: figures and tables numbered, sentences made, numbers formatted."""

from __future__ import annotations

from dataclasses import dataclass

from moorelens.reports.data import (
    ActionMark,
    Branch,
    DecisionPoint,
    Episode,
    Example,
    FeatureValue,
    ReportData,
)
from moorelens.reports.figures import episode_strip, histogram, returns_plot, silent_mark
from moorelens.reports.format import MEMORYLESS, NO_MEMORY, count, feature, number, plural, share, span, times
from moorelens.reports.methods import SOURCES, Source, methods_text
from moorelens.reports.svg import clean_svg
from moorelens.reports.tables import Table, kinds, tables
from moorelens.reports.tabs import TabEntry, tabs_of
from moorelens.reports.verdicts import Verdict, headline, verdicts
from moorelens.reports.viewing import ViewEntry, view_entries

# More of these make a page nobody reads; the rest stays in report-data.json, and the page says how many.
DECISIONS_SHOWN = 12
DECISIONS_OPEN = 4
BRANCHES_SHOWN = 4
FEATURES_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class FeatureEntry:
    """One named feature of an example, formatted."""

    name: str
    value: str
    difference: str
    decisive: bool


@dataclass(frozen=True, kw_only=True)
class BranchEntry:
    """One branch as shown."""

    mark: ActionMark
    word: str
    label: str
    share: float
    share_text: str
    count_text: str
    rule: str | None
    rule_note: str
    features: tuple[FeatureEntry, ...]
    has_difference: bool
    pictures: tuple[tuple[str, str], ...]
    place: str | None
    at: tuple[int, int] | None
    forced: str | None


@dataclass(frozen=True, kw_only=True)
class DecisionEntry:
    """One decision point as shown."""

    view: str
    node: str
    mark: ActionMark
    label: str
    word: str
    meta: str
    branches: tuple[BranchEntry, ...]
    branches_left: str | None
    dwell: str | None
    note: str
    test: str | None
    saliency: str | None


@dataclass(frozen=True, kw_only=True)
class EpisodeEntry:
    """One recorded episode as a strip."""

    caption: str
    strip: str
    number: int


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything that both renderers place."""

    title: str
    name: str
    headline: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[tuple[str, str], ...]
    verdicts: tuple[Verdict, ...]
    tables: dict[str, Table]
    views: tuple[ViewEntry, ...]
    tabs: tuple[TabEntry, ...]
    machine_number: int
    returns_plot: str | None
    returns_number: int
    decisions: tuple[DecisionEntry, ...]
    decisions_open: int
    decisions_left: str | None
    no_decisions: str
    has_rules: bool
    episodes: tuple[EpisodeEntry, ...]
    episodes_text: str
    methods: tuple[str, ...]
    sources: tuple[Source, ...]


def build_page(data: ReportData) -> Page:
    """Return `data` as a page; figures are numbered in reading order."""
    marks = {mark.index: mark for mark in data.actions}
    plot = returns_plot(data)
    left = len(data.decisions) - DECISIONS_SHOWN
    shown = data.decisions[:DECISIONS_SHOWN]
    return Page(
        title=f"{data.subject.policy_name} on {data.subject.env}: policy report",
        name=data.subject.policy_name,
        headline=headline(data),
        facts=_facts(data),
        sections=_sections(data),
        verdicts=verdicts(data),
        tables=tables(data),
        views=view_entries(data),
        tabs=tabs_of(data),
        machine_number=1,
        returns_plot=plot,
        returns_number=2 if data.views else 1,
        decisions=tuple(decision_entry(decision, data) for decision in shown),
        # One more is not worth a fold.
        decisions_open=DECISIONS_OPEN if len(shown) > DECISIONS_OPEN + 1 else len(shown),
        decisions_left=f"{plural(left, 'lighter decision point')} are in the table only." if left > 0 else None,
        no_decisions=_no_decisions(data),
        has_rules=any(branch.rule for decision in shown for branch in decision.branches),
        episodes=tuple(_episode(episode, marks) for episode in data.episodes),
        episodes_text=_episodes_text(data),
        methods=methods_text(data),
        sources=SOURCES,
    )


def _no_decisions(data: ReportData) -> str:
    found = data.summary.decisions.structural
    if found is None:
        return "Decision points were not looked for in this run."
    return "There is none: what the policy does never depends on what it sees." if found == 0 else "None is described."


def _facts(data: ReportData) -> tuple[tuple[str, str], ...]:
    subject, seeds = data.subject, data.summary.seeds
    units = f"{count(subject.memory_units)} {subject.cell or ''} units".replace("  ", " ")
    memory = NO_MEMORY if subject.cell == MEMORYLESS else units
    facts = (
        ("Policy", subject.policy),
        ("Trained with", subject.algorithm),
        ("Memory", memory if subject.memory_units is not None else subject.cell),
        ("Held-out games", count(len(seeds.held_out)) if seeds.held_out else None),
        ("Preset", subject.preset),
    )
    return tuple((name, value) for name, value in facts if value)


def _sections(data: ReportData) -> tuple[tuple[str, str], ...]:
    optional = (
        ("episodes", "Episodes", bool(data.episodes)),
        ("stability", "Stability", data.stability is not None),
        ("saliency", "Saliency", data.saliency is not None),
    )
    return (
        ("findings", "In short"), ("machine", "The machine"), ("decisions", "Decisions"),
        ("faithfulness", "Faithfulness"), ("size", "Reductions"), ("memory", "Memory"),
        *((key, title) for key, title, there in optional if there),
        ("settings", "Settings"), ("methods", "Methods"),
    )  # fmt: skip


def decision_entry(decision: DecisionPoint, data: ReportData) -> DecisionEntry:
    """Return a decision point as shown, with what was tested at it."""
    marks = {mark.index: mark for mark in data.actions}
    shown = decision.branches[:BRANCHES_SHOWN]
    left = len(decision.branches) - len(shown)
    rest = 1 - sum(branch.share for branch in shown)
    meta = [
        f"{count(decision.visits)} visits, {share(decision.share)} of all steps",
        f"{number(decision.weight_bits)} bits decided here",
        kinds(decision),
    ]
    if decision.rule_accuracy is not None:
        majority = (
            ""
            if decision.rule_majority is None
            else f" (always guessing the usual branch: {share(decision.rule_majority)})"
        )
        meta.append(f"its rules name the branch in {share(decision.rule_accuracy)} of visits{majority}")
    if decision.unobserved:
        meta.append(f"{share(decision.unobserved)} of the known symbols were never met here")
    return DecisionEntry(
        view=decision.view,
        node=decision.node,
        mark=_word_mark(decision.branches, marks, decision),
        label=decision.label,
        word=decision.word,
        meta=" \u00b7 ".join(meta),
        branches=tuple(_branch(branch, marks) for branch in shown),
        branches_left=f"{plural(left, 'further branch', 'further branches')}, {share(rest)} of the visits."
        if left > 0
        else None,
        dwell=histogram(decision.dwell, title="Visits in a row") if decision.dwell else None,
        note=decision.note,
        test=_test(decision, data),
        saliency=clean_svg(decision.saliency, still=True)[0] if decision.saliency else None,
    )


def _test(decision: DecisionPoint, data: ReportData) -> str | None:
    """Return the intervention test of a decision point in a sentence, None where it was not made."""
    rows = [] if data.saliency is None else [row for row in data.saliency.rows if row.decision == decision.key]
    if not rows or rows[0].flip_salient is None:
        return None
    flipped = f"changes the branch in {share(rows[0].flip_salient)} of {plural(rows[0].pairs, 'pair')}"
    if rows[0].flip_other is None:
        return f"Replacing the only feature {flipped}; there is no other to compare with."
    return f"Replacing what is marked as salient {flipped}, replacing as much elsewhere in {share(rows[0].flip_other)}."


def _word_mark(branches: tuple[Branch, ...], marks: dict[int, ActionMark], decision: DecisionPoint) -> ActionMark:
    named = [mark for mark in marks.values() if decision.word.startswith(mark.name)]
    return max(named, key=lambda mark: len(mark.name)) if named else silent_mark()


def _branch(branch: Branch, marks: dict[int, ActionMark]) -> BranchEntry:
    example = branch.example
    values = _telling(example.values) if example is not None else ()
    rule = branch.rule
    return BranchEntry(
        mark=silent_mark() if branch.action is None else marks.get(branch.action, silent_mark()),
        word=branch.word,
        label=branch.target_label,
        share=branch.share,
        share_text=share(branch.share),
        count_text=f"{times(branch.count)}, on {plural(branch.symbol_total, 'symbol')}",
        rule=None if rule is None else rule.text,
        rule_note=""
        if rule is None
        else f"holds on {share(rule.coverage)} of this branch, right in {share(rule.precision)} where it holds",
        features=tuple(_feature(value) for value in values),
        has_difference=any(value.difference is not None for value in values),
        pictures=_pictures(branch),
        place=None if example is None else _place(example),
        at=None if example is None else (example.place.episode, example.place.step),
        forced=_forced(branch),
    )


def _telling(values: tuple[FeatureValue, ...]) -> tuple[FeatureValue, ...]:
    """Return all features in their order, or where they are many the ones that decide and differ most."""
    if len(values) <= FEATURES_SHOWN:
        return values
    ranked = sorted(values, key=lambda value: (not value.decisive, -abs(value.difference or 0.0)))
    kept = {value.name for value in ranked[:FEATURES_SHOWN]}
    return tuple(value for value in values if value.name in kept)


def _feature(value: FeatureValue) -> FeatureEntry:
    unit = f"\u202f{value.unit}" if value.unit else ""
    sign = "+" if value.difference is not None and value.difference > 0 else ""
    difference = "" if value.difference is None else f"{sign}{feature(value.difference)}"
    return FeatureEntry(
        name=value.name, value=f"{feature(value.value)}{unit}", difference=difference, decisive=value.decisive
    )


def _pictures(branch: Branch) -> tuple[tuple[str, str], ...]:
    example = branch.example
    candidates = (
        (example.picture if example is not None else None, "observed"),
        (example.difference if example is not None else None, "difference to the other branch"),
        (branch.saliency, "what drives it"),
    )
    return tuple((key, caption) for key, caption in candidates if key is not None)


def _place(example: Example) -> str:
    return f"episode {example.place.episode}, step {count(example.place.step)}, symbol {example.symbol}"


def _forced(branch: Branch) -> str | None:
    if branch.forced_loss is None:
        return None
    interval = branch.forced_interval
    bounds = "" if interval is None or interval.low is None else f" ({span(interval.low, interval.high)})"
    return f"always taking this branch costs {number(branch.forced_loss)} of the return{bounds}"


_PROTOCOLS = {"fit": "fit", "held_out": "held out", "published": "papers' protocol"}


_PLAYERS = {
    "mmn": "quantised network", "reduced": "reduced machine", "folded": "folded machine", "pruned": "pruned machine",
    "policy_stochastic": "policy, sampling its actions",
}  # fmt: skip


def _episodes_text(data: ReportData) -> str:
    """Return which of the recorded episodes are shown, and what of them."""
    shown, recorded = len(data.episodes), len(data.summary.seeds.fit)
    which = "The recorded episode" if recorded == shown == 1 else f"The first {shown} of {recorded} recorded episodes"
    if recorded <= shown > 1:
        which = "All recorded episodes"
    filmed = sum(episode.film is not None for episode in data.episodes)
    less = f" {plural(filmed, 'of them has', 'of them have')} pictures." if data.films and filmed < shown else ""
    return f"{which}, from left to right.{less}"


def _episode(episode: Episode, marks: dict[int, ActionMark]) -> EpisodeEntry:
    return EpisodeEntry(caption=episode_caption(episode), strip=episode_strip(episode, marks), number=episode.number)


def episode_caption(episode: Episode) -> str:
    """Return which episode this is, who played it and how it ended."""
    player = _PLAYERS.get(episode.player, episode.player)
    end = "ended by the task" if episode.ended == "terminated" else "cut at the step limit"
    return (
        f"Seed {episode.seed} ({_PROTOCOLS[episode.protocol]}), played by the {player}: "
        f"{plural(len(episode.actions), 'step')}, return {number(episode.total)}, {end}"
    )
