"""The explainers there are: a name, where the explainer lives and where its settings live; nothing is imported."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, cast

import msgspec

from moorelens.errors import OptionError

if TYPE_CHECKING:
    from moorelens.saliency.explainer import Explainer

_CONFIG = "moorelens.saliency.config"
_SALIENCY = "moorelens.saliency"
EXPLAINERS: dict[str, tuple[str, str]] = {
    "captum": (f"{_SALIENCY}.captum_methods:CaptumExplainer", f"{_CONFIG}:CaptumConfig"),
    "gradcam": (f"{_SALIENCY}.gradcam:GradCAM", f"{_CONFIG}:GradCAMConfig"),
    "igos": (f"{_SALIENCY}.igos:IGOS", f"{_CONFIG}:IGOSConfig"),
    "igos+": (f"{_SALIENCY}.igos:IGOSPlus", f"{_CONFIG}:IGOSConfig"),
    "igos++": (f"{_SALIENCY}.igos:IGOSPlusPlus", f"{_CONFIG}:IGOSConfig"),
    "integrated_gradients": (
        f"{_SALIENCY}.integrated_gradients:IntegratedGradients",
        f"{_CONFIG}:IntegratedGradientsConfig",
    ),
    "occlusion": (f"{_SALIENCY}.occlusion:Occlusion", f"{_CONFIG}:OcclusionConfig"),
    "perturbation": (f"{_SALIENCY}.perturbation:Perturbation", f"{_CONFIG}:PerturbationConfig"),
    "rise": (f"{_SALIENCY}.rise:RISE", f"{_CONFIG}:RISEConfig"),
    "smoothgrad": (f"{_SALIENCY}.smoothgrad:SmoothGrad", f"{_CONFIG}:SmoothGradConfig"),
}
SHORT_NAMES = {"ig": "integrated_gradients"}


def full_name(method: str) -> str:
    """Return an explainer's name in full, for `ig` too; a name that is none stays as it is."""
    return SHORT_NAMES.get(method, method)


def config_type(method: str) -> type[msgspec.Struct]:
    """Return the class of a method's settings; raises `OptionError` for a method that does not exist."""
    return cast(type[msgspec.Struct], _load(_entry(method)[1]))


def make_explainer(method: str, **settings: Any) -> Explainer:
    """Return an explainer by name with `settings` in place of its defaults.

    Raises `OptionError` for a method or a setting that does not exist, or a value that cannot be used.
    """
    path, _ = _entry(method)
    return cast("Explainer", _load(path)(make_config(method, **settings)))


def make_config(method: str, **settings: Any) -> msgspec.Struct:
    """Return a method's settings with `settings` in place of its defaults, without torch; raises `OptionError`."""
    kind = config_type(method)
    try:
        return msgspec.convert(settings, kind)
    except msgspec.ValidationError as error:
        raise OptionError(
            f"The settings of {method} cannot be used as given: {error}; its settings are "
            f"{', '.join(kind.__struct_fields__)}."
        ) from error


def _entry(method: str) -> tuple[str, str]:
    if full_name(method) not in EXPLAINERS:
        names = ", ".join(sorted([*EXPLAINERS, *SHORT_NAMES]))
        raise OptionError(f"An explainer is one of {names} and {method!r} is not: choose one.")
    return EXPLAINERS[full_name(method)]


def _load(path: str) -> Any:
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)
