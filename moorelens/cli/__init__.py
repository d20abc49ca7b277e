"""The command line: parse, call one pipeline or function, print."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
