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
    """Return the paragraphs of the methods section that apply to `data`."""
    seeds = data.summary.seeds
    paragraphs = [_QUANTISED, _REDUCED, _measured(len(seeds.fit), len(seeds.selection), len(seeds.held_out))]
    if data.subject.feature_names and any(branch.rule for point in data.decisions for branch in point.branches):
        paragraphs.append(_RULES)
    return tuple(paragraphs)


_QUANTISED = (
    "The memory of the network and what it makes of an observation are rounded to a few digits by two small "
    "autoencoders with a three-valued bottleneck [1], and the network is tuned until it plays as before with the "
    "rounded values. Every distinct rounded memory is then a state, every distinct rounded observation a symbol, and "
    "the recorded steps are the transitions, kept with their counts."
)
_REDUCED = (
    "The reductions keep what the unminimised machine says [2]: they drop what is never reached, join parallel edges "
    "and symbols that act alike everywhere, and write states that are always passed in turn as one with a word. A "
    "decision point is a state whose next state depends on the symbol; where one symbol has several recorded "
    "successors the branch is called stochastic and is no decision."
)
_RULES = (
    "The rules on named features are shallow decision trees, one per decision point, over the observations recorded "
    "there. Their depth is the least whose cross-validated balanced accuracy is within one standard error of the "
    "best; thresholds are rounded as far as at most 0.5 % of the records change sides, and rules that are wrong more "
    "often than right are left out. The rules describe the branches of the machine and are not part of it."
)


def _measured(fit: int, selection: int, held_out: int) -> str:
    return (
        f"The machine was built from {plural(fit, 'episode')}, chosen on {plural(selection, 'episode')} and measured "
        f"on {plural(held_out, 'other')}; no number measured on the last was used to choose anything. Intervals are "
        "95 % bootstrap intervals over episodes with 10 000 resamples, and differences are taken game by game on equal "
        "seeds."
    )
