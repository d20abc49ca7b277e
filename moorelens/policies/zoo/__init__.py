"""The bundled policies: one `.safetensors` file and one card each."""

from __future__ import annotations

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {"zoo_file": "moorelens.policies.zoo.files", "zoo_names": "moorelens.policies.zoo.files"}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
