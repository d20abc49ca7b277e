"""Machines: data, reductions, minimisation, equivalence and exchange, without torch or gymnasium."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "BOT": "moorelens.fsm.automata.machine",
    "MooreMachine": "moorelens.fsm.automata.machine",
    "NETWORK": "moorelens.fsm.automata.machine",
    "OBSERVED": "moorelens.fsm.automata.machine",
    "Traces": "moorelens.fsm.automata.traces",
    "build_machine": "moorelens.fsm.automata.build",
    "decode_machine": "moorelens.fsm.automata.exchange.machine_json",
    "encode_machine": "moorelens.fsm.automata.exchange.machine_json",
    "from_edges": "moorelens.fsm.automata.build",
    "machine_from_traces": "moorelens.fsm.automata.build",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
