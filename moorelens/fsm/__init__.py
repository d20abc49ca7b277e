"""From a policy to its machine: quantise, extract, evaluate, draw; `fsm.automata` holds the machines themselves."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "FeatureReader": "moorelens.fsm.reading",
    "MachinePlayer": "moorelens.fsm.players",
    "MooreMachineNetwork": "moorelens.fsm.network",
    "NetworkPlayer": "moorelens.fsm.players",
    "QuantiseConfig": "moorelens.fsm.config",
    "QuantiserSearch": "moorelens.fsm.quantise",
    "branch_rules": "moorelens.fsm.predicates",
    "draw_machine": "moorelens.fsm.drawing",
    "draw_reduced": "moorelens.fsm.drawing",
    "episode_seeds": "moorelens.fsm.seeds",
    "machine_of": "moorelens.fsm.extract",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
