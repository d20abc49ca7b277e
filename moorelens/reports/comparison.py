"""Two reports on one page: what is the same, what differs and by how much, each number beside its twin.

The only numbers made here are differences: game by game where both were played on the same seeds, else of the means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from moorelens.reports.data import DecisionPoint, ReportData
from moorelens.reports.figures import action_mark
from moorelens.reports.format import count, listed, number, plural, share, signed, span
from moorelens.reports.html import environment
from moorelens.reports.shell import shell
from moorelens.reports.summary import Score, walk_numbers
from moorelens.reports.svg import clean_svg
from moorelens.reports.tables import kinds, signed_share
from moorelens.reports.verdicts import Verdict, verdicts
from moorelens.stats import Estimate, paired_difference

_DECISIONS = 6
Shape = Callable[[float | None], str]

_ROWS: tuple[tuple[str, str, Shape], ...] = (
    ("Return of the policy", "returns.policy.mean", number),
    ("Return of the machine", "returns.machine.mean", number),
    ("Return of the reduced machine", "returns.reduced.mean", number),
    ("Return of the folded machine", "returns.folded.mean", number),
    ("Return of the pruned machine", "returns.pruned.mean", number),
    ("What the reduced machine loses", "loss.reduced.mean", number),
    ("Return by the papers' protocol, policy", "returns_published.policy.mean", number),
    ("Return by the papers' protocol, machine", "returns_published.machine.mean", number),
    ("Machine and policy agree, same observations", "fidelity.teacher_forced_policy", share),
    ("Machine and policy agree, machine in control", "fidelity.closed_loop", share),
    ("Observations never seen before", "fidelity.symbol_novelty", share),
    ("Steps without a recorded transition", "fidelity.undefined_rate", share),
    ("States as extracted", "sizes.machine.states", count),
    ("Symbols as extracted", "sizes.machine.symbols", count),
    ("States when reduced", "sizes.reduced.states", count),
    ("States when folded", "sizes.folded.states", count),
    ("Decision points", "decisions.structural", count),
    ("of which decide the next action", "decisions.action", count),
    ("Decision points after pruning", "decisions.after_pruning", count),
    ("Symbol alone settles the action", "memory.reactivity", share),
    ("What memory adds to a table of symbols", "memory.memory_gain", signed_share),
    ("States over repeated extractions", "stability.states", number),
    ("Agreement of repeated extractions", "stability.agreement", share),
    ("Branches flipped by the salient part", "saliency.flip_salient", share),
    ("Branches flipped by as much elsewhere", "saliency.flip_other", share),
)


@dataclass(frozen=True, kw_only=True)
class Twin:
    """One number of both reports: `path` in their summaries, the values, and the texts that are shown."""

    title: str
    path: str
    values: tuple[float | None, float | None]
    texts: tuple[str, str]
    intervals: tuple[str, str]
    difference: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question with the answer that follows from both reports."""

    question: str
    answer: str


def render_comparison(first: ReportData, second: ReportData) -> bytes:
    """Return one self-contained page that sets two reports side by side, the same bytes for the same data.

    Every string is escaped; the page has no script, and its Content-Security-Policy admits its style sheet alone.
    """
    text = (
        environment()
        .get_template("comparison.html.j2")
        .render(
            **shell(),
            drawings=tuple(_drawing(data) for data in (first, second)),
            action_mark=action_mark,
            **contents(first, second),
        )
    )
    return text.encode("utf-8")


def contents(first: ReportData, second: ReportData) -> dict[str, Any]:
    """Return everything that both forms of the comparison place, drawings apart."""
    both = (first, second)
    return {
        "names": names_of(first, second),
        "both": both,
        "remarks": remarks(first, second),
        "answers": answers(first, second),
        "rows": twins(first, second),
        "captions": tuple(data.views[0].caption if data.views else "" for data in both),
        "decisions": tuple(tuple(_decision(one) for one in data.decisions[:_DECISIONS]) for data in both),
        "verdicts": _paired(verdicts(first), verdicts(second)),
    }


def names_of(first: ReportData, second: ReportData) -> tuple[str, str]:
    """Return what the two are called, told apart where their names are the same."""
    names = (first.subject.policy_name, second.subject.policy_name)
    return names if names[0] != names[1] else (f"{names[0]} (A)", f"{names[1]} (B)")


def twins(first: ReportData, second: ReportData) -> tuple[Twin, ...]:
    """Return every number that at least one of the two measured."""
    numbers = tuple(dict(walk_numbers(data.summary)) for data in (first, second))
    return tuple(
        _twin(title, path, (numbers[0].get(path), numbers[1].get(path)), shape, (first, second))
        for title, path, shape in _ROWS
        if path in numbers[0] or path in numbers[1]
    )


def _twin(
    title: str, path: str, values: tuple[float | None, float | None], shape: Shape, both: tuple[ReportData, ReportData]
) -> Twin:
    return Twin(
        title=title,
        path=path,
        values=values,
        texts=(shape(values[0]), shape(values[1])),
        intervals=(_interval(both[0], path), _interval(both[1], path)),
        difference=_difference(values, shape),
    )


def _difference(values: tuple[float | None, float | None], shape: Shape) -> str:
    if values[0] is None or values[1] is None:
        return "\u2013"
    gap = values[1] - values[0]
    if shape in (share, signed_share):
        return "\u2013" if gap == 0 else "under 0.1 points" if abs(gap) < 0.0005 else signed_share(gap)
    return "\u2013" if gap == 0 else signed(gap)


def _interval(data: ReportData, path: str) -> str:
    known = data.intervals.get(path)
    if known is not None:
        return span(known.low, known.high, as_share=True) if not path.endswith("_gain") else ""
    score = data.summary
    for name in path.split(".")[:-1]:
        score = getattr(score, name, None)  # type: ignore[assignment]
    if isinstance(score, Score) and score.low is not None and score.bound is None:
        return span(score.low, score.high)
    return ""


def remarks(first: ReportData, second: ReportData) -> tuple[str, ...]:
    """Return what keeps the two from being compared as they stand."""
    found = []
    if first.subject.env != second.subject.env:
        found.append(
            f"The tasks differ ({first.subject.env} and {second.subject.env}): returns and features cannot be compared."
        )
    elif first.summary.seeds.held_out != second.summary.seeds.held_out:
        found.append("The two were not played on the same held-out seeds: differences of returns are of the means.")
    if first.subject.identity == second.subject.identity:
        found.append("Both are the same policy, weight for weight: what differs comes from the extraction.")
    return tuple(found)


def answers(first: ReportData, second: ReportData) -> tuple[Answer, ...]:
    """Return the findings of the comparison in words, each from the numbers of both."""
    makers = (_better, _smaller, _more_faithful, _decide_by)
    return tuple(answer for make in makers if (answer := make(first, second)) is not None)


def difference_of_returns(first: ReportData, second: ReportData) -> Estimate | None:
    """Return by how much the second policy scores more, game by game; None where the games are not the same."""
    if first.subject.env != second.subject.env:
        return None
    games = [
        next((row for row in data.seed_returns if (row.protocol, row.player) == ("held_out", "policy")), None)
        for data in (second, first)
    ]
    more, less = games
    if more is None or less is None or more.seeds != less.seeds or not more.seeds:
        return None
    return paired_difference(more.values, less.values)


def _better(first: ReportData, second: ReportData) -> Answer | None:
    scores = (first.summary.returns.policy, second.summary.returns.policy)
    question = "Which one plays better?"
    if first.subject.env != second.subject.env:
        return Answer(
            question=question, answer="They play different tasks, so their returns say nothing of each other."
        )
    if scores[0] is None or scores[1] is None:
        return Answer(question=question, answer="The return of at least one of them was not measured.")
    names = names_of(first, second)
    means = f"{names[0]} scores {number(scores[0].mean)}, {names[1]} {number(scores[1].mean)}."
    paired = difference_of_returns(first, second)
    if paired is None:
        return Answer(question=question, answer=f"{means} They met different games, so the difference has no interval.")
    if paired.mean == 0 and paired.bound is not None:
        return Answer(question=question, answer=f"Neither: on the same {paired.n} games both score alike. {means}")
    if paired.low is None or paired.high is None:
        return Answer(question=question, answer=f"{means} One game decides nothing.")
    bounds = f"95\u202f% interval of the difference, game by game: {span(paired.low, paired.high)}"
    sure = paired.low > 0 or paired.high < 0
    winner = names[1] if paired.mean > 0 else names[0]
    verdict = f"{winner}, by {number(abs(paired.mean))}" if sure else "That cannot be told from these games"
    return Answer(question=question, answer=f"{verdict} ({bounds}). {means}")


def _smaller(first: ReportData, second: ReportData) -> Answer | None:
    sizes = (first.summary.sizes.reduced, second.summary.sizes.reduced)
    if sizes[0] is None or sizes[1] is None:
        return None
    names = names_of(first, second)
    states = [size.states for size in sizes if size is not None]
    text = f"{names[0]} reads as {plural(states[0], 'state')}, {names[1]} as {plural(states[1], 'state')}."
    return Answer(question="Which machine is smaller?", answer=text)


def _more_faithful(first: ReportData, second: ReportData) -> Answer | None:
    names = names_of(first, second)
    parts = []
    for name, data in zip(names, (first, second), strict=True):
        loss, own = data.summary.loss.reduced, data.summary.returns.policy
        if loss is not None and own is not None:
            parts.append(f"the machine of {name} loses {number(loss.mean)} of {number(own.mean)}")
    if len(parts) < 2:
        return None
    text = listed(parts)
    agreement = [data.summary.fidelity.teacher_forced_policy for data in (first, second)]
    if agreement[0] is not None and agreement[1] is not None:
        text += f"; shown the same observations they take their policies' actions in {share(agreement[0])} and "
        text += f"{share(agreement[1])} of steps"
    return Answer(question="Which machine is more faithful?", answer=f"{text[0].upper()}{text[1:]}.")


def _decide_by(first: ReportData, second: ReportData) -> Answer | None:
    used = [
        dict.fromkeys(
            value.name
            for decision in data.decisions for branch in decision.branches if branch.example is not None
            for value in branch.example.values if value.decisive
        )
        for data in (first, second)
    ]  # fmt: skip
    if not used[0] or not used[1]:
        return None
    common = [name for name in used[0] if name in used[1]]
    names = names_of(first, second)
    parts = [f"Both decide by {listed(common)}" if common else "They decide by nothing in common"]
    for place, name in enumerate(names):
        only = [feature for feature in used[place] if feature not in used[1 - place]]
        if only:
            parts.append(f"only {name} by {listed(only)}")
    return Answer(question="Do they decide by the same things?", answer=f"{'; '.join(parts)}.")


def _drawing(data: ReportData) -> str | None:
    if not data.views or data.views[0].svg is None:
        return None
    return clean_svg(data.views[0].svg, role="img", still=True)[0]


def _decision(decision: DecisionPoint) -> dict[str, object]:
    return {
        "label": decision.label,
        "word": decision.word,
        "share": share(decision.share),
        "kinds": kinds(decision),
        "branches": [
            {
                "share": share(branch.share),
                "word": branch.word,
                "rule": "" if branch.rule is None else branch.rule.text,
            }
            for branch in decision.branches[:3]
        ],
    }


def _paired(
    first: Sequence[Verdict], second: Sequence[Verdict]
) -> tuple[tuple[str, Verdict | None, Verdict | None], ...]:
    found = ({verdict.key: verdict for verdict in side} for side in (first, second))
    left, right = found
    keys = dict.fromkeys([*left, *right])
    return tuple(((left.get(key) or right[key]).question, left.get(key), right.get(key)) for key in keys)
