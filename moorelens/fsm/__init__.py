"""From a recurrent policy to a finite-state machine: quantise, extract, reduce, evaluate, prune."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
