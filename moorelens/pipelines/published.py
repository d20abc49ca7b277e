"""Quantisers that a policy's file brings along: used as they are, once they are known to fit its network."""

from __future__ import annotations

from moorelens.errors import PolicyError
from moorelens.fsm.quantisers.qbn import TernaryQBN, from_published
from moorelens.policies.load import LoadedPolicy


def published_quantisers(loaded: LoadedPolicy) -> dict[str, TernaryQBN]:
    """Return `observation` and `state` of a policy's file, nothing where it does not hold both.

    Raises `PolicyError` where one is damaged or was made for another network.
    """
    given, spec = loaded.quantisers, loaded.policy.spec
    if not {"observation", "state"} <= given.keys():
        return {}
    found = {
        "observation": from_published(given["observation"], output="relu6"),
        "state": from_published(given["state"], output="tanh"),
    }
    for name, size in (("observation", spec.feature_size), ("state", spec.state_size)):
        if found[name].spec.size != size:
            raise PolicyError(
                f"A published quantiser fits its network, and the {name} quantiser of {loaded.name!r} reads "
                f"{found[name].spec.size} numbers where the network has {size}: the file was put together from two."
            )
    return found
