"""Pipelines: whole jobs, each a list of stages."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "CheckConfig": "moorelens.pipelines.run_config",
    "EvaluateConfig": "moorelens.pipelines.run_config",
    "GrowthPlan": "moorelens.pipelines.growth",
    "MachineCallback": "moorelens.pipelines.callback",
    "PruneConfig": "moorelens.pipelines.run_config",
    "TrainOutcome": "moorelens.pipelines.train",
    "VerifyConfig": "moorelens.pipelines.run_config",
    "list_zoo": "moorelens.pipelines.zoo",
    "run_check": "moorelens.pipelines.check",
    "run_evaluate": "moorelens.pipelines.evaluate",
    "run_prune": "moorelens.pipelines.prune",
    "run_train": "moorelens.pipelines.train",
    "run_verify": "moorelens.pipelines.verify",
    "show": "moorelens.pipelines.zoo",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
