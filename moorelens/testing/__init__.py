"""Conformance suites for policies and quantisers that users write themselves; imported by nothing else here."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "PolicyConformance": "moorelens.testing.policies",
    "QuantiserConformance": "moorelens.testing.quantisers",
    "check_policy": "moorelens.testing.policies",
    "check_quantiser": "moorelens.testing.quantisers",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
