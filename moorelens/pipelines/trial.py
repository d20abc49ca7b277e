"""One step of a policy before anything is written: what it says of itself must be what it does."""

from __future__ import annotations

import torch

from moorelens.errors import PolicyError
from moorelens.policies.load import LoadedPolicy

_BATCH = 2


def try_policy(loaded: LoadedPolicy) -> None:
    """Take one step with observations of zeros; raises `PolicyError` where a shape or a number is not as it must be."""
    policy, spec = loaded.policy, loaded.policy.spec
    try:
        with torch.no_grad():
            state = policy.initial_state(_BATCH)
            features = policy.features(torch.zeros(_BATCH, *spec.observation_shape))
            after = policy.core(features, state)
            logits, value = policy.heads(after)
    except Exception as error:
        raise PolicyError(
            f"A policy takes a step with observations of its own shape {spec.observation_shape}, and "
            f"{loaded.name!r} raised {type(error).__name__}: {' '.join(str(error).split())[:160]}; "
            "moorelens.testing.check_policy says more."
        ) from error
    found = {"initial_state": state, "features": features, "core": after, "heads": logits}
    sizes = {"initial_state": spec.state_size, "features": spec.feature_size, "core": spec.state_size}
    sizes["heads"] = len(spec.action_names)
    wrong = [name for name, tensor in found.items() if tuple(tensor.shape) != (_BATCH, sizes[name])]
    if value is not None and tuple(value.shape) != (_BATCH,):
        wrong.append("heads (value)")
    wrong += [name for name, tensor in found.items() if name not in wrong and not bool(torch.isfinite(tensor).all())]
    if wrong:
        raise PolicyError(
            f"A policy returns what its spec says, in finite numbers, and {wrong[0]} of {loaded.name!r} does not: "
            "mend the policy, of which moorelens.testing.check_policy says more."
        )
