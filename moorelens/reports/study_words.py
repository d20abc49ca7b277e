"""The numbers of a study as sentences: who stands where, whether that can be told, and which pictures are left."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from moorelens.reports.format import count, listed, number, plural, span
from moorelens.reports.study import CountSummary, CrosstestSummary, Measure, Transfer
from moorelens.reports.study_tables import p_text, three
from moorelens.saliency.studies.statistics import Spread


def findings(summary: CountSummary | CrosstestSummary) -> list[tuple[str, str]]:
    """Return what the numbers say, as (question, answer in a sentence), differences that may be chance included."""
    return _count_findings(summary) if isinstance(summary, CountSummary) else _crosstest_findings(summary)


_QUESTIONS = {
    "sub_explanations": "Which model needs parts jointly (has many sub-explanations)?",
    "disjoint": "Which model is content with any of several parts (has more MSEs that share nothing)?",
    "mean_size": "Which model needs more patches?",
}


def nothing_compared(summary: CountSummary) -> str:
    """Say why no picture is compared: the budget where searches ended by it, else the pictures."""
    if any(searches.search_cut for searches in summary.searches):
        return "Nothing: the budget ended the searches before a set that is enough was found; allow more (--budget)."
    return "Nothing: no picture can be explained under every model."


def _count_findings(summary: CountSummary) -> list[tuple[str, str]]:
    names = [model.name for model in summary.head.models]
    found = []
    if not summary.compared:
        return [("What is compared?", nothing_compared(summary)), _who_is_left(summary, _blind(summary))]
    for measure in summary.measures:
        if measure.key in _QUESTIONS:
            found.append((_QUESTIONS[measure.key], ranking(measure, names)))
    found.append(_who_is_left(summary, _blind(summary)))
    cut = sum(one.count_cut or one.search_cut for one in summary.searches)
    if cut:
        found.append(
            (
                "Was anything cut short?",
                f"In {plural(sum(one.search_cut for one in summary.searches), 'search', 'searches')} and "
                f"{plural(sum(one.count_cut for one in summary.searches), 'count')} the budget ended; these numbers "
                "are lower bounds, and a model with larger sets loses more by that.",
            )
        )
    return found


def _crosstest_findings(summary: CrosstestSummary) -> list[tuple[str, str]]:
    if not summary.compared:
        nothing = "Nothing: in every picture the map of some model means nothing."
        return [("What is compared?", nothing), _who_is_left(summary, _meaningless(summary))]
    names = [model.name for model in summary.head.models]
    return [
        ("Is a map worth more to its own model than chance?", _worth(summary)),
        *([("Whose map serves a model best, after its own?", _best(summary))] if len(names) > 1 else []),
        _who_is_left(summary, _meaningless(summary)),
    ]


def _worth(summary: CrosstestSummary) -> str:
    """Say what each model gets from its own map more than from random cells, in the median picture first."""
    random = [one for one in summary.transfers if one.map == "random"]
    clear = [one for one in random if one.difference.mean > 0 and one.median > 0 and one.p_holm < 0.05]
    unclear = [one for one in random if one not in clear]
    yes = f"To {listed([f'{one.judge} ({_more(one)})' for one in clear])}: yes. " if clear else ""
    no = f"Not clearly to {listed([f'{one.judge} ({_more(one)})' for one in unclear])}. " if unclear else ""
    # The least p that any order of signs can have, corrected for all comparisons.
    few = (
        " So few pictures can make nothing clear."
        if len(summary.transfers) * 2.0 ** (1 - summary.compared) > 0.05
        else ""
    )
    said = "In area under the curve: the median picture, then the mean with its interval; at 5\u202f% (Holm)."
    return f"{yes}{no}{said}{few}"


def _best(summary: CrosstestSummary) -> str:
    names = [model.name for model in summary.head.models]
    lines = []
    for judge in names:
        others = [one for one in summary.transfers if one.judge == judge and one.map in names]
        best = min(others, key=lambda one: (one.median, one.difference.mean))
        lines.append(f"{judge} that of {best.map} ({_more(best)}; p {p_text(best.p_holm)})")
    return f"{'; '.join(lines)}. In brackets what its own map is worth more."


def _more(one: Transfer) -> str:
    mean = one.difference
    interval = "" if mean.low is None or mean.high is None else f", {three(mean.low)} to {three(mean.high)}"
    return f"{three(one.median)}; mean {three(mean.mean)}{interval}"


def ranking(measure: Measure, names: Sequence[str]) -> str:
    """Return the models by their medians, which of these stand apart, and whether means would rank them otherwise.

    One picture with a large set can make a mean: a set has as many subsets as two to the power of its size.
    """
    by_name = dict(zip(names, measure.models, strict=True))
    ranked = sorted(by_name, key=lambda name: -by_name[name].median)
    medians = listed([f"{name} {number(by_name[name].median)}{_within(by_name[name])}" for name in ranked])
    if len(names) == 1:
        return f"{medians}: the median, with its 95\u202f% interval."
    pairs = list(itertools.combinations(ranked, 2))
    apart = [(more, less) for more, less in pairs if _apart(by_name[more], by_name[less])]
    told = f"put {listed([f'{more} above {less}' for more, less in apart])}" if apart else "overlap"
    said = f"{medians}: medians, whose 95\u202f% intervals {told}."
    if any(by_name[more].mean.mean < by_name[less].mean.mean for more, less in apart):
        means = listed([f"{name} {number(by_name[name].mean.mean)}" for name in ranked])
        return f"{said} Their means ({means}) have another order, which a few pictures make: believe the medians."
    clear = [f"{test.first} from {test.second}" for test in measure.tests if test.p_holm < 0.05]
    told = listed(clear) if clear else "no two models"
    return f"{said} The paired test of the means (Holm, 5\u202f%) tells {told} apart."


def _within(found: Spread) -> str:
    if found.median_low is None or found.median_high is None:
        return ""
    return f" ({span(found.median_low, found.median_high)})"


def _apart(more: Spread, less: Spread) -> bool:
    return more.median_low is not None and less.median_high is not None and more.median_low > less.median_high


def _who_is_left(summary: CountSummary | CrosstestSummary, why: str) -> tuple[str, str]:
    """Say how many pictures are compared, which classes lost all or most of theirs, and for what reasons."""
    head = summary.head
    rows = [row for row in zip(head.classes, head.shown, summary.of_class, strict=True) if row[1]]
    gone = [f"{name} ({count(shown)} shown)" for name, shown, left in rows if not left]
    thin = [f"{name} ({count(left)} of {count(shown)})" for name, shown, left in rows if 0 < left < shown / 2]
    said = f"{count(summary.compared)} of {plural(head.pictures, 'picture')}"
    said += f"; none is left of {_few(gone)}" if gone else ""
    said += f"; fewer than half of {_few(thin)}" if thin else ""
    wrong = head.pictures - head.correct
    reasons = [*([f"{count(wrong)} that some model gets wrong"] if wrong else []), *([why] if why else [])]
    why_not = f" Left out: {'; '.join(reasons)}." if reasons else ""
    return "Which pictures are compared?", f"{said}.{why_not}"


def _few(words: Sequence[str]) -> str:
    return listed([*words[:4], *([f"{count(len(words) - 4)} more"] if len(words) > 4 else [])])


def _blind(summary: CountSummary) -> str:
    pairs = list(zip(summary.head.models, summary.searches, strict=True))
    seen = [f"{model.name} {count(one.blind)}" for model, one in pairs if one.blind]
    none = [f"{model.name} {count(one.none)}" for model, one in pairs if one.none]
    said = [f"those whose class a model names with nothing shown ({', '.join(seen)})"] if seen else []
    said += [f"those in which no set that is enough was found ({', '.join(none)})"] if none else []
    return "; ".join(said)


def _meaningless(summary: CrosstestSummary) -> str:
    pairs = zip(summary.head.models, summary.unexplainable, strict=True)
    seen = [f"{model.name} {count(found)}" for model, found in pairs if found]
    return f"those in which a model loses too little by the baseline for a map ({', '.join(seen)})" if seen else ""
