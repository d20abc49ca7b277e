"""The image models that come with the package: small, trained here, and known to use what was planted."""

from __future__ import annotations

import difflib
from functools import cache

from moorelens.errors import ModelError
from moorelens.saliency.baselines import Normaliser
from moorelens.saliency.images.files import Card, read_card, read_model, weights_file
from moorelens.saliency.images.models import ImageModel

BUNDLED: tuple[str, ...] = (
    *("shapes-bn", "shapes-gn", "shapes-attention"),
    *("or-bn", "or-gn", "or-attention"),
    *("and-bn", "and-gn", "and-attention"),
    *("watermark-biased", "watermark-clean"),
    *("thin-bn", "xor-bn", "digits"),
)


def bundled_model(name: str) -> ImageModel:
    """Return a bundled model, read anew each time; raises `ModelError` for a name that is not bundled."""
    module, card = read_model(weights_file(_checked(name)))
    return ImageModel(
        module=module,
        normaliser=Normaliser(mean=card.mean, std=card.std),
        classes=card.classes,
        channels=len(card.mean),
        size=card.size,
        name=name,
    )


@cache
def bundled_card(name: str) -> Card:
    """Return how a bundled model was trained and what was measured of it; raises like `bundled_model`."""
    return read_card(weights_file(_checked(name)))


def _checked(name: str) -> str:
    if name not in BUNDLED:
        near = difflib.get_close_matches(name, BUNDLED, n=1)
        hint = f"did you mean bundled:{near[0]}?" if near else "choose one of these."
        raise ModelError(f"A bundled model is one of {', '.join(BUNDLED)}, and {name!r} is none: {hint}")
    return name
