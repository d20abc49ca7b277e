"""Studies of explanations over many images and several models: counting, cross-testing, and what the numbers say."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "Counts": "moorelens.saliency.studies.counting",
    "CrossTest": "moorelens.saliency.studies.crosstest",
    "Landscape": "moorelens.saliency.studies.embedding",
    "PairedTest": "moorelens.saliency.studies.statistics",
    "Spread": "moorelens.saliency.studies.statistics",
    "Judge": "moorelens.saliency.studies.crosstest",
    "count_subexplanations": "moorelens.saliency.studies.counting",
    "cross_test": "moorelens.saliency.studies.crosstest",
    "landscape": "moorelens.saliency.studies.embedding",
    "paired_tests": "moorelens.saliency.studies.statistics",
    "random_maps": "moorelens.saliency.studies.crosstest",
    "similarity": "moorelens.saliency.studies.embedding",
    "spread": "moorelens.saliency.studies.statistics",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
