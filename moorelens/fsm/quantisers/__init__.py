"""Quantisers: what turns features and memory into codes of a few digits."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "FSQQuantiser": "moorelens.fsm.quantisers.fsq",
    "FitSettings": "moorelens.fsm.quantisers.config",
    "FittableQuantiser": "moorelens.fsm.quantisers.base",
    "KMeansQuantiser": "moorelens.fsm.quantisers.kmeans",
    "Quantiser": "moorelens.fsm.quantisers.base",
    "SignQuantiser": "moorelens.fsm.quantisers.sign",
    "TernaryQBN": "moorelens.fsm.quantisers.qbn",
    "new_quantiser": "moorelens.fsm.quantisers.registry",
    "quantise": "moorelens.fsm.quantisers.unit",
    "read_quantisers": "moorelens.fsm.quantisers.files",
    "write_quantisers": "moorelens.fsm.quantisers.files",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
