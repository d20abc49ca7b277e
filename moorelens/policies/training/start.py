"""Beginning a training with the weights of a policy that is there already."""

from __future__ import annotations

from moorelens.errors import PolicyError
from moorelens.policies.load import open_policy
from moorelens.policies.networks import GRUPolicy, LSTMPolicy


def begin_with(network: GRUPolicy | LSTMPolicy, reference: str) -> None:
    """Put the weights of `zoo:NAME` or a native file into `network`; raises `PolicyError` for another shape."""
    found = open_policy(reference).policy
    if not isinstance(found, (GRUPolicy, LSTMPolicy)) or found.spec.env_id != network.spec.env_id:
        raise PolicyError(
            f"A training can begin with a policy of its own environment and {reference} is of another kind: choose one "
            f"that was trained on {network.spec.env_id}, or leave --start out."
        )
    theirs, ours = found.architecture, network.architecture
    if theirs != ours or found.spec != network.spec:
        memory = {"cell": theirs.cell, "units": theirs.units}
        wanted = " ".join(f"--{name} {value}" for name, value in memory.items() if value != getattr(ours, name))
        raise PolicyError(
            f"A training can begin with a policy of its own network and {reference} has another one: "
            + (f"pass {wanted}." if wanted else "choose one that was trained with the same command.")
        )
    network.load_state_dict(dict(found.tensors()))
