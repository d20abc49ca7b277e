"""Quantisers: what turns features and memory into codes of a few digits."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "Quantiser": "moorelens.fsm.quantisers.base",
    "TernaryQBN": "moorelens.fsm.quantisers.qbn",
    "quantise": "moorelens.fsm.quantisers.unit",
    "read_quantisers": "moorelens.fsm.quantisers.files",
    "write_quantisers": "moorelens.fsm.quantisers.files",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
