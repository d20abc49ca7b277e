"""How the numbers of a report come about, in sentences, and the papers behind them."""

from __future__ import annotations

from dataclasses import dataclass

from moorelens.reports.data import ReportData
from moorelens.reports.format import plural


@dataclass(frozen=True, kw_only=True)
class Source:
    """A paper with its address."""

    text: str
    url: str
    url_text: str


SOURCES: tuple[Source, ...] = (
    Source(
        text=(
            "A. Koul, S. Greydanus, A. Fern: Learning Finite State Representations of Recurrent Policy Networks. "
            "ICLR 2019."
        ),
        url="https://arxiv.org/abs/1811.12530",
        url_text="arXiv:1811.12530",
    ),
    Source(
        text=(
            "M. H. Danesh, A. Koul, A. Fern, S. Khorram: Re-understanding Finite-State Representations of Recurrent "
            "Policy Networks. ICML 2021."
        ),
        url="https://proceedings.mlr.press/v139/danesh21a.html",
        url_text="PMLR 139:2388\u20132397",
    ),
)


def methods_text(data: ReportData) -> tuple[str, ...]:
    """Return the paragraphs of the methods section that apply to `data`, with the settings of its run."""
    paragraphs = [_quantised(data), _reduced(data), _measured(data)]
    if data.subject.feature_names and any(branch.rule for point in data.decisions for branch in point.branches):
        paragraphs.append(_RULES)
    if data.summary.returns.pruned is not None:
        paragraphs.append(_pruned(data))
    if data.stability is not None:
        paragraphs.append(_repeated(len(data.stability.rows)))
    return tuple(paragraphs)


def _setting(data: ReportData, group: str, name: str) -> str | None:
    return next((entry.value for entry in data.settings if (entry.group, entry.name) == (group, name)), None)


_KINDS = {
    "qbn": "two small autoencoders with a bottleneck of few-valued digits [1]",
    "fsq": "finite scalar quantisation, a grid in a small space that is learnt",
    "kmeans": "their nearest of a few centres, which k-means found",
    "sign": "the signs of their entries",
    "merged": "their groups of states that act alike on what was recorded",
}
_MACHINE = (
    "Every distinct rounded memory is then a state, every distinct rounded observation a symbol, and the recorded "
    "steps of the rounded network are the transitions, kept with their counts."
)


def _quantised(data: ReportData) -> str:
    what = "The memory of the network and what it makes of an observation are rounded"
    if _setting(data, "quantiser", "source") is not None:
        return f"{what} by the two autoencoders that came with the policy [1], used as they are. {_MACHINE}"
    how = _KINDS.get(_setting(data, "quantiser", "kind") or "qbn", "a quantiser")
    digits, rounds = _setting(data, "quantiser", "code digits"), _setting(data, "quantiser", "chosen after")
    size = f", with codes of {digits} digits," if digits else ""
    tuned = " These are tuned, the network itself unchanged, until it plays as before with the rounded values"
    after = f"; the ones used were reached after {rounds}." if rounds else "."
    return f"{what} to {how}{size} and back.{tuned}{after} {_MACHINE}"


def _reduced(data: ReportData) -> str:
    keys = {step.key for step in data.reductions}
    merged = (
        "merge states that are no decision and that no recorded word tells apart, " if "bisimulation" in keys else ""
    )
    return (
        "The reductions keep what the unminimised machine says [2]: they drop what is never reached, join parallel "
        f"edges and symbols that act alike everywhere, {merged}and write states that are always passed in turn as one "
        "with a word. A decision point is a state whose next state depends on the symbol; where one symbol has several "
        "recorded successors the branch is called stochastic and is no decision."
    )


def _measured(data: ReportData) -> str:
    seeds = data.summary.seeds
    chosen = f", chosen on {plural(len(seeds.selection), 'episode')}" if _searched(data) else ""
    protocol = _setting(data, "episodes", "held-out protocol")
    shown = f" ({protocol})" if protocol else ""
    return (
        f"The machine was built from {plural(len(seeds.fit), 'episode')} of the rounded network{chosen} and measured "
        f"on {plural(len(seeds.held_out), 'other')}{shown}; no number measured on the last was used to choose "
        "anything. There the machine plays alone: of the network only what reads an observation runs. An unknown "
        "symbol is read as the nearest known one, and where a state has no transition for a symbol, the nearest that "
        "has one is taken. "
        "Intervals are 95 % bootstrap intervals over episodes with 10 000 resamples, and differences are taken game by "
        "game on equal seeds."
    )


def _searched(data: ReportData) -> bool:
    return _setting(data, "quantiser", "source") is None


def _pruned(data: ReportData) -> str:
    mode, tolerance = _setting(data, "pruning", "mode"), _setting(data, "pruning", "tolerance")
    games = _setting(data, "pruning", "games")
    what = _CANDIDATES.get(mode or "", "one decision")
    return (
        f"Pruning (a candidate: {what}) accepts where the upper bound of the 95 % paired bootstrap interval "
        f"of its loss against the original machine is at most {tolerance} of return, over {games} "
        "games that are neither fit nor held-out games. What always taking one branch of a decision costs is measured "
        "on the same games, all else left as it is; the pruned machine's return is from held-out games."
    )


_CANDIDATES = {
    "branch": "one branch of a decision led to another",
    "state": "one decision left a single branch",
    "symbol": "one symbol read as the nearest other one",
}


def _repeated(count: int) -> str:
    return (
        f"The search for the quantisers and the extraction were done {count} times with different seeds; the report is "
        "on the first, and the table of repeated extractions compares all."
    )


_RULES = (
    "The rules on named features are shallow decision trees, one per decision point, over the observations recorded "
    "there. Their depth is the least whose cross-validated balanced accuracy is within one standard error of the "
    "best; thresholds are rounded as far as at most 0.5 % of the records change sides, and rules that are wrong more "
    "often than right are left out. The rules describe the branches of the machine and are not part of it."
)
