"""Machines in the formats of files and of other tools."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "decode_machine": "moorelens.fsm.automata.exchange.machine_json",
    "decode_reduced": "moorelens.fsm.automata.exchange.reduced_json",
    "encode_machine": "moorelens.fsm.automata.exchange.machine_json",
    "encode_reduced": "moorelens.fsm.automata.exchange.reduced_json",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
