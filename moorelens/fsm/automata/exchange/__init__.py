"""Machines in the formats of files and of other tools."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "decode_machine": "moorelens.fsm.automata.exchange.machine_json",
    "decode_reduced": "moorelens.fsm.automata.exchange.reduced_json",
    "encode_machine": "moorelens.fsm.automata.exchange.machine_json",
    "encode_reduced": "moorelens.fsm.automata.exchange.reduced_json",
    "from_dot": "moorelens.fsm.automata.exchange.dot",
    "from_graphml": "moorelens.fsm.automata.exchange.graphs",
    "from_networkx": "moorelens.fsm.automata.exchange.graphs",
    "from_state_setup": "moorelens.fsm.automata.exchange.aalpy",
    "load_schema": "moorelens.fsm.automata.exchange.schema",
    "to_dot": "moorelens.fsm.automata.exchange.dot",
    "to_graphml": "moorelens.fsm.automata.exchange.graphs",
    "to_kiss2": "moorelens.fsm.automata.exchange.texts",
    "to_mermaid": "moorelens.fsm.automata.exchange.texts",
    "to_networkx": "moorelens.fsm.automata.exchange.graphs",
    "to_prism": "moorelens.fsm.automata.exchange.texts",
    "to_state_setup": "moorelens.fsm.automata.exchange.aalpy",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
