"""Policies of Stable-Baselines3 and sb3-contrib: files, read without running anything in them, and live models."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "MemorylessPolicy": "moorelens.policies.sb3.network",
    "RecurrentSB3Policy": "moorelens.policies.sb3.network",
    "from_sb3": "moorelens.policies.sb3.live",
    "read_sb3": "moorelens.policies.sb3.reading",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
