"""Building a policy from the plain facts and the weights of a Stable-Baselines3 file."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from moorelens.errors import PolicyError
from moorelens.policies.cells import StackedCells, kind_of, layers_of
from moorelens.policies.config import Architecture, PolicySpec
from moorelens.policies.inputs import Inputs
from moorelens.policies.native import load_tensors
from moorelens.policies.networks import GRUPolicy, LSTMPolicy, feature_size, network_of
from moorelens.policies.sb3.archive import Archive
from moorelens.policies.sb3.facts import Facts, needs_trust
from moorelens.policies.sb3.network import Choice, MemorylessPolicy, NatureCNN, RecurrentSB3Policy

Tensors = dict[str, Tensor]
SB3Policy = RecurrentSB3Policy | MemorylessPolicy | GRUPolicy | LSTMPolicy


def rebuild(archive: Archive, facts: Facts, spec: PolicySpec, inputs: Inputs) -> SB3Policy:
    """Return the policy of a file; `spec` names environment, observations and actions, its sizes are filled in.

    Raises `PolicyError` where weights are missing, of another shape, or not those of a stock network.
    """
    try:
        if facts.kind == "native":
            return _native(archive, spec)
        if facts.kind == "recurrent":
            return _recurrent(archive, facts, spec, inputs)
        return _memoryless(archive, facts, spec, inputs)
    except (KeyError, RuntimeError, IndexError) as error:
        raise PolicyError(
            f"A policy's weights must be those of the network that its fields describe, and those of {archive.where} "
            f"are not ({' '.join(str(error).split())[:160]}): the file is damaged, or the policy was changed."
        ) from error


def _recurrent(archive: Archive, facts: Facts, spec: PolicySpec, inputs: Inputs) -> RecurrentSB3Policy:
    tensors = archive.tensors
    layers = layers_of(_under(tensors, "lstm_actor."), where=archive.where)
    memory = StackedCells(kind_of(layers[0], where=archive.where), layers)
    shared = not any(name.startswith(("lstm_critic.", "critic.")) for name in tensors)
    value = nn.Sequential(_mlp(tensors, "mlp_extractor.value_net.", facts), _linear(tensors, "value_net."))
    return RecurrentSB3Policy(
        _sized(spec, feature_size=memory.inputs, state_size=memory.state_size, cell=memory.kind),
        inputs=inputs,
        extractor=_extractor(archive, _actor_prefix(tensors), facts),
        memory=memory,
        latent=_mlp(tensors, "mlp_extractor.policy_net.", facts),
        choice=_choice(_linear(tensors, "action_net."), facts),
        value=value if shared else None,
    )


def _memoryless(archive: Archive, facts: Facts, spec: PolicySpec, inputs: Inputs) -> MemorylessPolicy:
    tensors = archive.tensors
    if facts.kind == "dqn":
        extractor = _extractor(archive, "q_net.features_extractor.", facts)
        *hidden, last = _linears(_under(tensors, "q_net.q_net."))
        latent: nn.Module = nn.Sequential(*_followed(hidden, facts))
    else:
        extractor = _extractor(archive, _actor_prefix(tensors), facts)
        # Before version 1.8 actor and critic could share their first layers.
        shared = _mlp(tensors, "mlp_extractor.shared_net.", facts)
        latent = nn.Sequential(shared, _mlp(tensors, "mlp_extractor.policy_net.", facts))
        last = _linear(tensors, "action_net.")
    return MemorylessPolicy(
        _sized(spec, feature_size=last.in_features, state_size=math.prod(facts.sizes), cell="none"),
        inputs=inputs,
        extractor=extractor,
        latent=latent,
        choice=_choice(last, facts),
        explore=facts.explore,
    )


def _sized(spec: PolicySpec, *, feature_size: int, state_size: int, cell: Any) -> PolicySpec:
    return msgspec.structs.replace(spec, feature_size=feature_size, state_size=state_size, cell=cell)


def _actor_prefix(tensors: Mapping[str, Tensor]) -> str:
    own = "pi_features_extractor."
    return own if any(name.startswith(own) for name in tensors) else "features_extractor."


def _extractor(archive: Archive, prefix: str, facts: Facts) -> nn.Module:
    weights = _under(archive.tensors, prefix)
    entry = re.match(r"extractors\.[^.]+\.", next(iter(weights), ""))
    if entry:
        weights = _under(weights, entry[0])
    if not weights:
        return nn.Flatten()
    convolutions = [tuple(weights[name].shape) for name in sorted(weights) if re.fullmatch(r"cnn\.\d\.weight", name)]
    channels = facts.shape[0]
    if convolutions != [(32, channels, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3)] or "linear.0.weight" not in weights:
        raise needs_trust(archive, "policy_kwargs.features_extractor_class", "has weights that no stock extractor has")
    features, flat = weights["linear.0.weight"].shape
    network = NatureCNN(channels, flat, features)
    network.load_state_dict(weights)
    return network


def _choice(layer: nn.Linear, facts: Facts) -> Choice:
    if layer.out_features != sum(facts.sizes):
        raise RuntimeError(f"the last layer has {layer.out_features} outputs for choices of {facts.sizes}")
    return Choice(layer, facts.sizes)


def _mlp(tensors: Mapping[str, Tensor], prefix: str, facts: Facts) -> nn.Sequential:
    return nn.Sequential(*_followed(_linears(_under(tensors, prefix)), facts))


def _followed(layers: list[nn.Linear], facts: Facts) -> list[nn.Module]:
    return [module for layer in layers for module in (layer, getattr(nn, facts.activation)())]


def _linears(tensors: Mapping[str, Tensor]) -> list[nn.Linear]:
    places = sorted({int(name.split(".")[0]) for name in tensors})
    if places != list(range(0, 2 * len(places), 2)):
        raise RuntimeError(f"layers and activations do not take turns: {sorted(tensors)[:4]}")
    return [_linear(tensors, f"{place}.") for place in places]


def _linear(tensors: Mapping[str, Tensor], prefix: str) -> nn.Linear:
    weight = tensors[f"{prefix}weight"]
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=f"{prefix}bias" in tensors)
    with torch.no_grad():
        layer.load_state_dict(_under(tensors, prefix))
    return layer


def _under(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _native(archive: Archive, spec: PolicySpec) -> GRUPolicy | LSTMPolicy:
    """Return the actor of a policy that MooreLens trained with SB3; its critic, another network, is left out."""
    tensors = archive.tensors
    text = str((archive.data.get("policy_kwargs") or {}).get("architecture"))
    try:
        (call,) = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
        options = {word.arg or "": ast.literal_eval(word.value) for word in call.keywords}
        architecture = Architecture(**options | {"critic": False})
    except (SyntaxError, ValueError, TypeError) as error:
        raise needs_trust(archive, "policy_kwargs.architecture", "cannot be read") from error
    units = architecture.units * (2 if architecture.cell == "lstm" else 1)
    features = feature_size(spec.observation_shape, architecture)
    policy = network_of(_sized(spec, feature_size=features, state_size=units, cell=architecture.cell), architecture)
    parts = {"body.": f"{_actor_prefix(tensors)}body.", "cell.": "lstm_actor.cell.", "actor.": "action_net."}
    weights = {
        f"{ours}{name}": tensor for ours, theirs in parts.items() for name, tensor in _under(tensors, theirs).items()
    }
    load_tensors(policy, weights, str(archive.path))
    return policy.requires_grad_(False).eval()
