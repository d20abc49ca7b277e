"""Which part of an input a score depends on: scores, baselines, masks, paths, curves, and explainers built on them."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "Attribution": "moorelens.saliency.attribution",
    "Baseline": "moorelens.saliency.baselines",
    "BoundScore": "moorelens.saliency.scores",
    "Curve": "moorelens.saliency.curves",
    "Explainer": "moorelens.saliency.explainer",
    "IntegratedGradients": "moorelens.saliency.integrated_gradients",
    "IntegratedGradientsConfig": "moorelens.saliency.config",
    "MaskOperator": "moorelens.saliency.masks",
    "Meter": "moorelens.saliency.meter",
    "Normaliser": "moorelens.saliency.baselines",
    "PatchGrid": "moorelens.saliency.patches",
    "ScoreFn": "moorelens.saliency.scores",
    "Upsampler": "moorelens.saliency.masks",
    "action_score": "moorelens.saliency.policy_scores",
    "causal_curve": "moorelens.saliency.curves",
    "class_score": "moorelens.saliency.scores",
    "code_score": "moorelens.saliency.policy_scores",
    "constant": "moorelens.saliency.baselines",
    "dataset_sample": "moorelens.saliency.baselines",
    "distance_score": "moorelens.saliency.policy_scores",
    "gaussian_blur": "moorelens.saliency.baselines",
    "latent_score": "moorelens.saliency.scores",
    "make_explainer": "moorelens.saliency.registry",
    "mean_colour": "moorelens.saliency.baselines",
    "noise": "moorelens.saliency.baselines",
    "other": "moorelens.saliency.baselines",
    "path_gradient": "moorelens.saliency.paths",
    "sarfa_score": "moorelens.saliency.policy_scores",
    "value_score": "moorelens.saliency.policy_scores",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
