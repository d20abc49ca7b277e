"""What decides a branch: differences between observations of two branches, attributed and tried out by intervention."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "BranchPairs": "moorelens.saliency.differential.branches",
    "DifferentialConfig": "moorelens.saliency.differential.config",
    "DifferentialMap": "moorelens.saliency.differential.maps",
    "Flips": "moorelens.saliency.differential.intervention",
    "differential_map": "moorelens.saliency.differential.maps",
    "digit_maps": "moorelens.saliency.differential.maps",
    "flips": "moorelens.saliency.differential.intervention",
    "joint_digits": "moorelens.saliency.differential.digits",
    "observation_digits": "moorelens.saliency.differential.digits",
    "pairs_of": "moorelens.saliency.differential.branches",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
