"""Beginning a training with the weights of a policy that is there already."""

from __future__ import annotations

from moorelens.errors import PolicyError
from moorelens.policies.load import open_policy
from moorelens.policies.networks import GRUPolicy, LSTMPolicy


def begin_with(network: GRUPolicy | LSTMPolicy, reference: str) -> None:
    """Put the weights of `zoo:NAME` or a native file into `network`; raises `PolicyError` for another shape."""
    found = open_policy(reference).policy
    same = isinstance(found, type(network)) and found.architecture == network.architecture
    if not same or not isinstance(found, (GRUPolicy, LSTMPolicy)) or found.spec != network.spec:
        raise PolicyError(
            f"A training can begin with a policy of its own environment and network, and {reference} is of another "
            "kind: choose one that was trained with the same command, or leave --start out."
        )
    network.load_state_dict(dict(found.tensors()))
