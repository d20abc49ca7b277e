"""Training recurrent policies: proximal policy optimisation, checkpoints without pickles, learning curves."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "PPOSettings": "moorelens.policies.training.config",
    "TrainConfig": "moorelens.policies.training.config",
    "Trainer": "moorelens.policies.training.trainer",
    "defaults_for": "moorelens.policies.training.config",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
