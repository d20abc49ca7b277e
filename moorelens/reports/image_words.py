"""The numbers of an explanation as sentences: what was found, how far it can be trusted, and what it does not say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from moorelens.reports.format import count, listed, number, plural, share
from moorelens.reports.image import Explanation
from moorelens.reports.image_svg import SCORES, scored

Level = Literal["good", "mixed", "poor", "unknown"]
_SEEN = 0.01  # probability below which a class that was asked for is one that the model does not see
_FAR_ABOVE = 3.0  # times the score of the whole picture, at which parts of it are no explanation of it

METHODS: dict[str, tuple[str, str]] = {
    "igos": ("I-GOS", "A small mask that hides as little as possible and yet takes the answer away."),
    "igos+": ("iGOS+", "A small mask whose part alone keeps the answer, and without whose part it is gone."),
    "igos++": ("iGOS++", "Two small masks, one whose part the answer cannot do without and one whose part is "
               "enough for it; the map is what they share."),
    "gradcam": ("Grad-CAM", "Channels of one layer, weighted by what the class gains from each."
                ),
    "ig": ("Integrated gradients", "What each pixel adds to the score on the way from the baseline to the picture."),
    "rise": ("RISE", "The score under random masks; the model is a black box to it."),
    "smoothgrad": ("SmoothGrad", "The gradient of the score, averaged over noisy copies of the picture."),
    "occlusion": ("Occlusion", "How far the score falls when a window hides one part after another."),
    "perturbation": ("Perturbation saliency", "How far the score falls when a soft spot hides one part after another."),
}  # fmt: skip
BASELINES = {
    "blur": "the picture blurred", "mean": "the picture's mean colour", "black": "black", "grey": "grey",
    "white": "white", "noise": "noise",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A question that a reader has, in a word and in sentences."""

    key: str
    question: str
    level: Level
    word: str
    text: str


def method_name(method: str) -> str:
    """Return a method's name as its paper writes it."""
    return METHODS.get(method, (method, ""))[0]


def title_of(found: Explanation) -> str:
    """Return what the page is called."""
    return f"{found.picture.file}: {method_name(found.method)} for {found.target.name}"


def lede(found: Explanation) -> str:
    """Return the result in a sentence or two."""
    said = (
        f"{found.model.name} says {found.predicted.name}, with a probability of {share(found.predicted.probability)}."
    )
    if found.target.index != found.predicted.index:
        said += f" Explained is {found.target.name} ({share(found.target.probability)}), which was asked for."
    if not found.explainable:
        changes = "makes it likelier" if speaks_against(found) else "hardly changes it"
        why = f"hiding the whole picture {changes}"
        return f"{said} With this baseline that cannot be explained: {why}."
    if found.map.flat:
        return f"{said} {method_name(found.method)} finds no pixel that matters more than another."
    return said


def taken_for_granted(name: str, assumed: Sequence[str]) -> str:
    """Return what was assumed of a model that said nothing of it, in a sentence; empty where nothing was."""
    if not assumed:
        return ""
    return (
        f"Taken for granted of {name}, as nobody said otherwise: {listed(assumed)}. If it was trained on other input, "
        "this is not about what it was trained for."
    )


def answers(found: Explanation) -> list[Answer]:
    """Return what a reader wants to know first."""
    made = [_explainable(found), _deletion(found), _insertion(found)]
    if found.truth is not None:
        made.append(_truth(found))
    return [*made, *_own(found)]


def _explainable(found: Explanation) -> Answer:
    hidden = BASELINES.get(found.baseline, found.baseline)
    fall = (
        f"With everything hidden ({hidden}) the {SCORES[found.score]} of {found.target.name} goes from "
        f"{scored(found.f_x)} to {scored(found.f_b)}"
    )
    if found.explainable and unseen(found):
        least = f"this class is at {rare(found)}"
        text = (
            f"{fall}: {least}, so the model hardly sees it in the picture, and a map can only say what makes it a "
            "little more or less likely. Try another --class."
        )
        return Answer(key="gap", question="Is there something to explain?", level="mixed", word=least, text=text)
    if found.explainable:
        text = f"{fall}: a gap of {scored(found.gap)} for the map to explain."
        return Answer(key="gap", question="Is there something to explain?", level="good", word="yes", text=text)
    if speaks_against(found):
        against = (
            f"{fall}: on balance the picture speaks against this class, and there is no gap for a map to explain. Try "
            "another --class or another --baseline."
        )
        return Answer(key="gap", question="Is there something to explain?", level="poor", word="no", text=against)
    least = scored(_min_gap(found))
    why = (
        f"{fall}. That gap of {scored(found.gap)} is less than {least} of the score, so there is little that any "
        "map could explain, and this one is shown for completeness: read it as noise. Try another --baseline, another "
        "--class, or a picture that the model is surer of."
    )
    return Answer(key="gap", question="Is there something to explain?", level="poor", word="no", text=why)


def speaks_against(found: Explanation) -> bool:
    """Say whether the baseline scores clearly more than the picture."""
    return found.gap < 0 and -found.gap >= _min_gap(found) * abs(found.f_b)


def unseen(found: Explanation) -> bool:
    """Say whether the class was asked for although the model all but rules it out."""
    return found.target.index != found.predicted.index and found.target.probability < _SEEN


def rare(found: Explanation) -> str:
    """Return a small probability of the class with the digit that counts: `0.09 %`."""
    return f"{100 * found.target.probability:.1g}\u202f%"


def outdoes(found: Explanation) -> float | None:
    """Return how many times the whole picture's score the parts shown average, where that is far above it."""
    best = max(found.f_x, found.f_b)
    if found.score != "prob" or best <= 0 or found.insertion.auc <= _FAR_ABOVE * best:
        return None
    return found.insertion.auc / best


def _min_gap(found: Explanation) -> float:
    return float(found.settings.get("min_gap", 0.1))


def _deletion(found: Explanation) -> Answer:
    auc, random = found.deletion.auc, found.random.deletion
    level, word = _against(auc, random, less=True)
    text = (
        f"While the most salient pixels are hidden, first to last, the score averages {scored(auc)}; in the order of "
        f"{len(random)} random maps, {_spread(random)} (less is better). "
    )
    if found.flip_area is not None:
        text += f"Hiding the first {share(found.flip_area)} of the picture changes the answer to {found.flips_to}."
    elif found.target.index == found.predicted.index:
        text += "The answer stays the same however much is hidden."
    return _judged(found, "deletion", "Does hiding it take the answer away?", level, word, text)


def _insertion(found: Explanation) -> Answer:
    auc, random = found.insertion.auc, found.random.insertion
    level, word = _against(auc, random, less=False)
    text = (
        f"While they are shown on the baseline, first to last, the score averages {scored(auc)}; in random order, "
        f"{_spread(random)} (more is better). "
    )
    if found.keep_area is not None:
        text += f"The first {share(found.keep_area)} of the picture bring back nine tenths of the gap."
    return _judged(found, "insertion", "Is it enough by itself?", level, word, text)


def _judged(found: Explanation, key: str, question: str, level: Level, word: str, text: str) -> Answer:
    if not found.explainable or found.map.flat:
        return Answer(key=key, question=question, level="unknown", word="not to be judged", text=text.strip())
    more = outdoes(found)
    if more is not None:
        multiple = number(more) if more < 10 else count(more)
        text = (
            f"{text.strip()} The parts shown score far above the whole picture ({multiple} times on average): an "
            "artefact of the baseline."
        )
        return Answer(key=key, question=question, level="poor", word="an artefact of the baseline", text=text)
    if unseen(found):
        level = "mixed" if level == "good" else level
        word = f"{word}; this class is at {rare(found)}"
    return Answer(key=key, question=question, level=level, word=word, text=text.strip())


def _against(auc: float, random: tuple[float, ...], *, less: bool) -> tuple[Level, str]:
    better = sum(auc < other if less else auc > other for other in random)
    if better == len(random):
        return "good", "yes, more than any random map"
    return ("mixed", "hardly more than a random map") if better else ("poor", "no more than a random map")


def _spread(values: tuple[float, ...]) -> str:
    return f"{scored(min(values))} to {scored(max(values))}"


def _truth(found: Explanation) -> Answer:
    truth = found.truth
    assert truth is not None
    question = "Is it where the cause is?"
    known = f"This picture was made: what makes it {truth.label} covers {share(truth.area)} of it. "
    if truth.mass is None:
        return Answer(key="truth", question=question, level="unknown", word="nothing is salient", text=known.strip())
    text = (
        f"{known}{share(truth.mass)} of the saliency lie there, and the most salient pixel "
        f"{'does too' if truth.hit else 'does not'}."
    )
    if not truth.right:
        text += (
            f" The model is wrong about this picture ({found.predicted.name}), so the map may rightly look elsewhere."
        )
    level: Level = "good" if truth.hit and truth.mass > 2 * truth.area else "mixed" if truth.hit else "poor"
    word = {"good": "yes", "mixed": "in part", "poor": "no"}[level]
    if level == "good" and (unseen(found) or outdoes(found) is not None):
        level, word = "mixed", f"yes, of a class at {rare(found)}" if unseen(found) else word
    if level == "poor" and truth.right and found.explainable:
        passed = {_deletion(found).level, _insertion(found).level} == {"good"}
        text += (
            " What the map marks passes both tests above, so it is the model that looks elsewhere."
            if passed
            else " Whether the model or the map looks elsewhere, the tests above do not settle."
        )
    return Answer(key="truth", question=question, level=level, word=word, text=text)


def _own(found: Explanation) -> list[Answer]:
    """Return what the method's own checks say."""
    if found.map.flat:
        hint = (
            "There was next to nothing to explain (see above), so a map without differences is what to expect."
            if not found.explainable
            else _why_flat(found)
        )
        return [Answer(key="flat", question="Is there a map?", level="poor", word="it is flat", text=hint)]
    if "completeness" in found.diagnostics:
        gap = float(found.diagnostics["completeness"])
        complete = not found.diagnostics.get("incomplete", False)
        text = (
            f"The pixels add up to the gap but for {scored(abs(gap))}"
            f"{'' if complete else ', which is more than a hundredth of it: pass more --path-steps'}."
        )
        level: Level = "good" if complete else "mixed"
        word = "yes" if complete else "not quite"
        return [Answer(key="complete", question="Does it add up?", level=level, word=word, text=text)]
    return []


def _why_flat(found: Explanation) -> str:
    if not found.calls.backward:
        return "No pixel differs from another: wherever it was tried, hiding a part left the score as it was."
    if found.method == "gradcam":
        return (
            "No pixel differs from another: no channel of this layer speaks for the class, or none has a gradient. Try "
            "another --layer, or occlusion or rise, which take no gradient."
        )
    return (
        "No pixel differs from another: the gradient of the score is 0 wherever it was taken, as in a model that "
        "rounds its input or one that is too sure for its probability to move. Try --score logit, or occlusion or "
        "rise, which take no gradient."
    )


def facts(found: Explanation) -> list[tuple[str, str]]:
    """Return the line below the title."""
    return [
        ("Method", method_name(found.method)),
        ("Class", f"{found.target.name} ({share(found.target.probability)})"),
        ("Baseline", BASELINES.get(found.baseline, found.baseline)),
        ("Model", found.model.name),
    ]


def picture_caption(found: Explanation) -> str:
    """Return what the model was shown."""
    picture = found.picture
    size = f"{picture.shown_width} × {picture.shown_height} pixels"
    if not picture.notes:
        return f"What the model saw: {size}."
    return f"What the model saw: {size} of {picture.width} × {picture.height} ({listed(picture.notes)})."


def map_caption(found: Explanation) -> str:
    """Return what the colours of the map mean."""
    facts_ = found.map
    if facts_.flat:
        return "The map is flat: nothing is drawn."
    grid = f"found at {facts_.width} × {facts_.height} " if facts_.width < found.picture.shown_width else ""
    if facts_.kind == "signed":
        colours = "orange speaks for the class, blue against it" if facts_.low < 0 else "orange speaks for the class"
    else:
        colours = "the brighter, the more important"
    half = ""
    if facts_.half_area is not None:
        half = f" Half of what speaks for the class lies in {share(facts_.half_area)} of the picture."
    doubt = "" if found.explainable else " It is drawn faintly, as there is nothing for it to explain."
    return (
        f"The map, {grid}over the picture in grey: {colours}. Values from {scored(facts_.low)} to "
        f"{scored(facts_.high)}.{half}{doubt}"
    )


def limits(found: Explanation) -> list[str]:
    """Return what the map does not say."""
    hidden = BASELINES.get(found.baseline, found.baseline)
    said = [
        f"It is about this model and this picture with hidden parts replaced by {hidden}; another baseline asks "
        "another question and may give another map.",
        "A region that is lit changes the score when it is hidden or shown. Why the model uses it, and whether it "
        "should, the map does not say.",
        "A picture with parts hidden is not one that the model was trained on: some of what happens to the score may "
        "come from that.",
        "The curves try out this one order of pixels. Several small sets of parts may each be enough: moorelens image "
        "sag looks for them.",
    ]
    if found.method in ("ig", "smoothgrad", "gradcam"):
        said.append("It was made from gradients, which the curves then test by hiding and showing: where the two "
                    "disagree, believe the curves.")  # fmt: skip
    return said


def cost(found: Explanation) -> str:
    """Return what it cost, in pictures through the model."""
    calls = found.calls
    parts = [f"{count(calls.forward)} forwards"]
    if calls.backward:
        parts.append(f"{count(calls.backward)} backwards")
    return f"{listed(parts)} for the map, {plural(calls.curves, 'forward')} for the curves"
