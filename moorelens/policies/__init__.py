"""Policies: the contract of a recurrent policy, networks that keep it, and readers of files that hold one."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "Architecture": "moorelens.policies.config",
    "GRUPolicy": "moorelens.policies.networks",
    "LSTMPolicy": "moorelens.policies.networks",
    "LoadedPolicy": "moorelens.policies.load",
    "PolicyPlayer": "moorelens.policies.players",
    "PolicySpec": "moorelens.policies.config",
    "RecurrentPolicy": "moorelens.policies.base",
    "TorchPolicy": "moorelens.policies.torch_module",
    "evaluate_in_chunks": "moorelens.policies.batching",
    "from_sb3": "moorelens.policies.sb3.live",
    "from_torch": "moorelens.policies.torch_module",
    "identity": "moorelens.policies.base",
    "open_policy": "moorelens.policies.load",
    "read_native": "moorelens.policies.native",
    "to_input": "moorelens.policies.base",
    "write_native": "moorelens.policies.native",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
