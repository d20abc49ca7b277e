"""Conformance suites for what users write: policies, quantisers, explainers; imported by nothing else here."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "ExplainerConformance": "moorelens.testing.explainers",
    "PolicyConformance": "moorelens.testing.policies",
    "QuantiserConformance": "moorelens.testing.quantisers",
    "check_explainer": "moorelens.testing.explainers",
    "check_policy": "moorelens.testing.policies",
    "check_quantiser": "moorelens.testing.quantisers",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
