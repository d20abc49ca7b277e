"""An attention graph in sentences: how little is enough, for how many reasons, and how far that can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from moorelens.reports.format import count, number, plural
from moorelens.reports.sag_svg import (
    FAR,
    alt_text,
    called,
    kept,
    loses,
    outdone,
    patch_called,
    percent,
    points,
    unit_of,
)
from moorelens.saliency.sets.sag import SAG, SAGNode
from moorelens.saliency.sets.text import set_name

Level = Literal["good", "mixed", "poor", "unknown"]


@dataclass(frozen=True, kw_only=True)
class SAGSubject:
    """What was explained, in words: `title` (`disc in shapes-1`), `answer` (`probability of disc`), and by whom.

    `said`: what the model says, a sentence; `hidden`: what a hidden part shows; `facts`: name and text, for the head of
    the page; `kicker`: the line above its title; `also`: what a set has to keep besides, the end of a sentence;
    `advice`: what to try where there is nothing to explain, a sentence; `granted`: what was assumed of the model, one.
    """

    title: str
    answer: str
    said: str
    hidden: str
    facts: tuple[tuple[str, str], ...] = ()
    kicker: str = "attention graph"
    also: str = ""
    advice: str = "Try another baseline, or another class."
    granted: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A question that a reader has, in a word and in sentences."""

    question: str
    level: Level
    word: str
    text: str


def lede(sag: SAG, subject: SAGSubject) -> str:
    """Return the result in a sentence or two."""
    return f"{subject.said} {alt_text(sag, subject.answer)}"


def findings(sag: SAG, subject: SAGSubject) -> list[Finding]:
    """Return what a reader wants to know first."""
    if sag.vacuous:
        if outdone(sag):
            text = f"{alt_text(sag, subject.answer)} {subject.advice}"
            return [Finding(question="Is there something to explain?", level="poor", word="no", text=text)]
        text = (
            f"With {subject.hidden} in place of every {unit_of(sag)[0]} the {subject.answer} is "
            f"{number(sag.empty, digits=3)}, as a whole {number(sag.full, digits=3)}: no {unit_of(sag)[0]} is needed "
            f"for it, so there is nothing that this graph could show. {subject.advice}"
        )
        return [Finding(question="Is there something to explain?", level="poor", word="no", text=text)]
    if not sag.nodes:
        why = "the budget ended the search" if sag.exhausted else "the search ended without one"
        rule = f"No set that alone keeps {percent(sag.p_high)} of the {subject.answer} was found"
        text = f"{rule}: {why}. Allow a larger budget, or ask for less of it."
        return [Finding(question="How little is enough?", level="unknown", word="not found", text=text)]
    return [_least(sag, subject), _several(sag, subject), _needed(sag, subject), _certain(sag, subject)]


def _least(sag: SAG, subject: SAGSubject) -> Finding:
    # Of all that were found: how many are drawn says nothing about how little is enough.
    best = min(sag.found, key=lambda one: (len(one.patches), -one.relative))
    drawn = next((sag.nodes[index] for index in sag.roots if sag.nodes[index].patches == best.patches), None)
    name = set_name(best.patches, sag.grid)
    named = f" ({name})" if drawn is None or called(sag, drawn) == name else ""
    text = (
        f"{_parts(sag, len(best.patches))} of {count(sag.count)}{named} keep "
        f"{kept(best.relative)} of the {subject.answer} while all else shows {subject.hidden}."
    )
    if len(best.patches) == 1:
        text = text.replace(" keep ", " keeps ", 1)
    if sag.full:
        text += f" With nothing shown it keeps {kept(sag.empty / sag.full)}."
    if best.relative > FAR:
        text += " That is far above the whole, which hardly has it: an artefact of the baseline."
    elif best.relative > 1:
        text += " That is more than the whole: what else there is speaks against it."
    small = len(best.patches) <= max(1, sag.count // 5) and best.relative <= FAR
    return Finding(
        question="How little is enough?",
        level="good" if small else "mixed",
        word=_parts(sag, len(best.patches)),
        text=text,
    )


def _several(sag: SAG, subject: SAGSubject) -> Finding:
    roots = len(sag.roots)
    several = f"{plural(len(sag.found), 'set')} of {unit_of(sag)[1]}, each enough by itself, were found"
    sets = several if len(sag.found) > 1 else f"One set of {unit_of(sag)[1]} that is enough by itself was found"
    shared = "none" if sag.overlap == 0 else f"at most {_parts(sag, sag.overlap)}"
    if roots == 1:
        others = "; one is drawn" if sag.k_roots == 1 else f"; no two of them share {shared}"
        text = f"{sets}{others}." if len(sag.found) > 1 else f"{sets}."
        word = "one set"
    else:
        text = f"{sets}; {roots} that share {shared} are drawn."
        word = f"{roots} sets"
    if len(sag.found) > roots and not sag.exact_choice:
        text += " They were chosen greedily, as there are many."
    return Finding(question="Is it one reason or several?", level="unknown", word=word, text=text)


def _needed(sag: SAG, subject: SAGSubject) -> Finding:
    drops = [edge for edge in sag.edges if sag.nodes[edge.parent].root]
    if not drops:
        text = f"Each set is a single {unit_of(sag)[0]}: without it nothing is shown."
        return Finding(question="What if one more is hidden?", level="unknown", word="nothing is left", text=text)
    worst = max(drops, key=lambda edge: edge.drop)
    least = min(drops, key=lambda edge: edge.drop)
    text = (
        f"Of the removals that are drawn, {called(sag, sag.nodes[worst.parent])} loses most without "
        f"{patch_called(sag, worst.patch)} ({points(worst.drop)}), and "
        f"{called(sag, sag.nodes[least.parent])} least without {patch_called(sag, least.patch)} "
        f"({points(least.drop)})."
    )
    return Finding(question="What if one more is hidden?", level="unknown", word=loses(worst.drop), text=text)


def _certain(sag: SAG, subject: SAGSubject) -> Finding:
    labels = {found.patches: found.minimal for found in sag.found}
    roots = [labels.get(sag.nodes[index].patches, "unchecked") for index in sag.roots]
    proven = sum(label == "subset" for label in roots)
    level: Level
    if proven == len(roots):
        level, word = "good", "yes"
        text = "Every smaller part of each drawn set was tried, and none is enough."
    elif "unchecked" in roots:
        level, word = "unknown", "not checked"
        text = "The sets were given, and it was not checked whether a smaller part of them is enough."
    else:
        level, word = "mixed", "one by one"
        text = (
            f"Of {plural(len(roots) - proven, 'set')} only the removal of one {unit_of(sag)[0]} at a time was tried: a "
            "smaller part without several of them may still be enough."
        )
    return Finding(question="Is every part of a set needed?", level=level, word=word, text=text)


def limits(sag: SAG, subject: SAGSubject) -> list[str]:
    """Return what the graph does not say."""
    lines = [
        f"Enough means: with {subject.hidden} in place of all else, the {subject.answer} is at least "
        f"{percent(sag.p_high)} of what it is for the whole{subject.also}. With another baseline "
        "other sets may be enough.",
        "The sets come from a search that keeps the most promising few at each size: what it finds was tried, but it "
        f"may miss sets. It evaluated {plural(sag.evaluated, 'different set')}"
        + (", and its budget ended it before it was through." if sag.exhausted else "."),
        "The score can rise when something is hidden, so a share above 100 % is no mistake.",
    ]
    if sag.unfinished:
        lines.append(
            f"{plural(sag.unfinished, 'set')} that are enough were left out, as they could not be made minimal."
        )
    hidden = sum(node.hidden_children for node in sag.nodes)
    if hidden:
        lines.append(
            f"{plural(hidden, 'removal')} are not drawn (+ and their number at a set): of sets of more than six "
            f"{unit_of(sag)[1]} only the {count(sag.k_children)} most costly are."
        )
    if not sag.complete:
        lines.append("The graph was cut off at its largest size; sets at its lower end may have more below them.")
    return lines


def rows(sag: SAG) -> list[tuple[str, str, str, str, bool]]:
    """Return for every node: its name, share, score, what leads to it, whether it is a root."""
    ways: dict[int, list[str]] = {index: [] for index in range(len(sag.nodes))}
    for edge in sag.edges:
        parent = set_name(sag.nodes[edge.parent].patches, sag.grid)
        ways[edge.child].append(f"{parent} without {patch_called(sag, edge.patch)} ({points(edge.drop)})")
    return [(*_numbers(sag, node), "; ".join(ways[index]), node.root) for index, node in enumerate(sag.nodes)]


def _numbers(sag: SAG, node: SAGNode) -> tuple[str, str, str]:
    return set_name(node.patches, sag.grid), kept(node.relative), number(node.value, digits=3)


def _parts(sag: SAG, amount: int) -> str:
    return plural(amount, *unit_of(sag))
