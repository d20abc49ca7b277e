"""`image`: explaining a classifier of images; finds the method, whose code is imported only when it is called."""

from __future__ import annotations

import difflib

from moorelens.cli.verbs import Verb, listing
from moorelens.errors import OptionError

_EXPLAIN = "moorelens.cli.image_explain"
_STUDY = "moorelens.cli.image_study"
METHODS: dict[str, Verb] = {
    "igos": Verb("a small mask that takes the answer away", "", f"{_EXPLAIN}:igos"),
    "igos+": Verb("one that is also enough by itself", "", f"{_EXPLAIN}:igos_plus"),
    "igos++": Verb("two masks, one for each, and what they share", "", f"{_EXPLAIN}:igos_plus_plus"),
    "gradcam": Verb("the channels of a layer; cheap and coarse", "", f"{_EXPLAIN}:gradcam"),
    "ig": Verb("integrated gradients; adds up to the score", "", f"{_EXPLAIN}:ig"),
    "rise": Verb("random masks; the model is a black box", "", f"{_EXPLAIN}:rise"),
    "smoothgrad": Verb("the gradient over noisy copies", "", f"{_EXPLAIN}:smoothgrad"),
    "occlusion": Verb("one window after another hidden", "", f"{_EXPLAIN}:occlusion"),
    "perturbation": Verb("one soft spot after another hidden", "", f"{_EXPLAIN}:perturbation"),
    "sag": Verb("small parts that are enough alone, as a graph", "", "moorelens.cli.image_sag:sag"),
    "count": Verb("several models compared: small parts that suffice", "", f"{_STUDY}:count"),
    "crosstest": Verb("several models compared: maps shown to each other", "", f"{_STUDY}:crosstest"),
}

_LONG = {"integrated_gradients": "ig"}  # what the explainer is called in Python and by `moorelens saliency`


def image(arguments: list[str]) -> int:
    """Run `moorelens image METHOD ...`."""
    first = arguments[0] if arguments else "--help"
    if first in ("--help", "-h", "help"):
        print(overview())
        return 0
    first = _LONG.get(first, first)
    if first not in METHODS:
        near = difflib.get_close_matches(first, METHODS, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"it is one of {', '.join(METHODS)}."
        raise OptionError(f"moorelens image is followed by a method, and {first!r} is none; {hint}")
    return METHODS[first].load()(arguments[1:])


def overview() -> str:
    """Return the page of `moorelens image --help`."""
    return "\n".join(
        [
            "usage: moorelens image METHOD [--model pkg.mod:factory] [--image FILE|FOLDER] [OPTIONS]",
            "",
            "Shows what in a picture a classifier's answer depends on, and tries it out.",
            "Without --model and --image it explains bundled pictures whose cause is known.",
            "",
            *listing(METHODS),
            "",
            "Options of a method: moorelens image METHOD --help.",
        ]
    )
