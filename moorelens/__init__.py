"""MooreLens turns a recurrent policy into a finite-state machine that a person can read."""

from moorelens._lazy import attach

__version__ = "0.1.0"
_EXPORTS: dict[str, str] = {
    "EnvironmentRequest": "moorelens.envs.config",
    "ExplainConfig": "moorelens.pipelines.config",
    "GRUPolicy": "moorelens.policies.networks",
    "MooreLensError": "moorelens.errors",
    "MooreMachine": "moorelens.fsm.automata.machine",
    "MooreMachineNetwork": "moorelens.fsm.network",
    "QuantiseConfig": "moorelens.fsm.config",
    "RecurrentPolicy": "moorelens.policies.base",
    "ReducedMachine": "moorelens.fsm.automata.reduced",
    "Rollouts": "moorelens.envs.rollouts",
    "RunSummary": "moorelens.reports.summary",
    "decision_points": "moorelens.fsm.automata.decisions",
    "decode_machine": "moorelens.fsm.automata.exchange.machine_json",
    "draw_machine": "moorelens.fsm.drawing",
    "draw_reduced": "moorelens.fsm.drawing",
    "fold": "moorelens.fsm.automata.folding",
    "open_policy": "moorelens.policies.load",
    "play": "moorelens.envs.playing",
    "reduce": "moorelens.fsm.automata.reductions",
    "run_explain": "moorelens.pipelines.explain",
    "run_extract": "moorelens.pipelines.extract",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
