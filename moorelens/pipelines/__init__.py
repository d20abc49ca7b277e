"""Pipelines: whole jobs, each a list of stages."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "GrowthPlan": "moorelens.pipelines.growth",
    "MachineCallback": "moorelens.pipelines.callback",
    "TrainOutcome": "moorelens.pipelines.train",
    "list_zoo": "moorelens.pipelines.zoo",
    "run_train": "moorelens.pipelines.train",
    "show": "moorelens.pipelines.zoo",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
