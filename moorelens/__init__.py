"""MooreLens turns a recurrent policy into a finite-state machine that a person can read."""

from moorelens._lazy import attach

__version__ = "0.1.0"
_EXPORTS: dict[str, str] = {}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
