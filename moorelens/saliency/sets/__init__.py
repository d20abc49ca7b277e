"""Sets of parts of an input: which are sufficient, which are minimal, and how the score falls as they lose parts."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "Diverse": "moorelens.saliency.sets.records",
    "MSE": "moorelens.saliency.sets.records",
    "SAG": "moorelens.saliency.sets.sag",
    "SAGEdge": "moorelens.saliency.sets.sag",
    "SAGGrid": "moorelens.saliency.sets.sag",
    "SAGNode": "moorelens.saliency.sets.sag",
    "SAGSet": "moorelens.saliency.sets.sag",
    "SetFunction": "moorelens.saliency.sets.functions",
    "SetSearch": "moorelens.saliency.sets.records",
    "SetValue": "moorelens.saliency.sets.values",
    "build_sag": "moorelens.saliency.sets.graph",
    "class_value": "moorelens.saliency.sets.values",
    "decode_sag": "moorelens.saliency.sets.sag",
    "diverse": "moorelens.saliency.sets.diversity",
    "encode_sag": "moorelens.saliency.sets.sag",
    "ends_guide": "moorelens.saliency.sets.guide",
    "exact_mse": "moorelens.saliency.sets.exact",
    "explainer_guide": "moorelens.saliency.sets.guide",
    "find_mse": "moorelens.saliency.sets.search",
    "known_sets": "moorelens.saliency.sets.search",
    "map_guide": "moorelens.saliency.sets.guide",
    "object_grid": "moorelens.saliency.sets.segments",
    "sag_dnf": "moorelens.saliency.sets.text",
    "sag_dot": "moorelens.saliency.sets.text",
    "sag_grid": "moorelens.saliency.sets.graph",
    "sufficient": "moorelens.saliency.sets.functions",
    "superpixel_grid": "moorelens.saliency.sets.segments",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
