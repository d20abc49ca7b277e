"""Sets of parts of an input: which are sufficient, which are minimal, and how the score falls as they lose parts."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "MSE": "moorelens.saliency.sets.records",
    "Diverse": "moorelens.saliency.sets.records",
    "SetFunction": "moorelens.saliency.sets.functions",
    "SetSearch": "moorelens.saliency.sets.records",
    "SetValue": "moorelens.saliency.sets.values",
    "class_value": "moorelens.saliency.sets.values",
    "diverse": "moorelens.saliency.sets.diversity",
    "ends_guide": "moorelens.saliency.sets.guide",
    "exact_mse": "moorelens.saliency.sets.exact",
    "explainer_guide": "moorelens.saliency.sets.guide",
    "find_mse": "moorelens.saliency.sets.search",
    "known_sets": "moorelens.saliency.sets.search",
    "map_guide": "moorelens.saliency.sets.guide",
    "object_grid": "moorelens.saliency.sets.segments",
    "sufficient": "moorelens.saliency.sets.functions",
    "superpixel_grid": "moorelens.saliency.sets.segments",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
