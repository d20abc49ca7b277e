"""Reader of published Moore-machine-network checkpoints (layout of koul2019mmn), sizes inferred from shapes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from moorelens.envs.config import EnvironmentSpec
from moorelens.errors import PolicyError
from moorelens.policies.config import Architecture
from moorelens.policies.native import check_finite, load_tensors
from moorelens.policies.networks import GRUPolicy, build_network

Tensors = dict[str, Tensor]
_QUANTISERS = {"observation": "obx_net.", "state": "bhx_net."}


def read_mmn(path: Path, env: EnvironmentSpec) -> tuple[GRUPolicy, dict[str, Tensors]]:
    """Return the GRU policy of a checkpoint and its quantisers' tensors by `observation` and `state` (absent: empty).

    Nothing in the file is run (`weights_only`). Raises `PolicyError` where it cannot be read or does not fit `env`.
    """
    tensors = _tensors(path)
    check_finite(tensors, str(path))
    quantisers = {name: _under(tensors, prefix) for name, prefix in _QUANTISERS.items()}
    network = _under(tensors, "gru_net.") or {
        k: v for k, v in tensors.items() if not k.startswith(tuple(_QUANTISERS.values()))
    }
    layers = _layers(network, path)
    policy = build_network(
        env_id=env.id,
        observation_shape=env.observation_shape,
        observation_dtype=env.observation_dtype,
        action_names=_fitting(network, layers, env, path),
        architecture=_architecture(network, layers, path),
    )
    load_tensors(policy, _renamed(network, layers), str(path))
    assert isinstance(policy, GRUPolicy)
    return policy, {name: found for name, found in quantisers.items() if found}


def _tensors(path: Path) -> Tensors:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice to programmers about how the file was written
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler that is fed another program's bytes may stumble in any way
        reason = (str(error) or type(error).__name__).split("\n")[0][:160]
        raise PolicyError(
            f"A published checkpoint is a file of tensors and {str(path)!r} cannot be read as one ({reason}): it is "
            f"absent, "
            "cut off, or holds objects other than tensors, which are never loaded."
        ) from error
    if not isinstance(loaded, Mapping) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise PolicyError(
            f"A published checkpoint maps names to tensors and {str(path)!r} holds a {type(loaded).__name__}: pass "
            f"the model "
            "file, not recorded data."
        )
    odd = [str(name) for name, tensor in loaded.items() if not _is_plain(tensor)]
    if odd:
        raise PolicyError(
            f"Weights are plain tensors of real numbers and {odd[0]} in {str(path)!r} is sparse, quantised or of "
            "another type: save the network in 32-bit floating point."
        )
    return {str(name): tensor.to(torch.float32) for name, tensor in loaded.items()}


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and tensor.is_floating_point() and not tensor.is_quantized


def _under(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _layers(network: Mapping[str, Tensor], path: Path) -> list[str]:
    # Atari files name the four convolutions conv1..conv4, input_ff.0,2,4,6, or both; the others have input_ff only.
    for names in ([f"conv{i}" for i in range(1, 10)], [f"input_ff.{i}" for i in range(0, 20, 2)]):
        layers = [name for name in names if f"{name}.weight" in network]
        if layers:
            break
    missing = [
        name
        for name in (
            "gru.weight_ih",
            "gru.weight_hh",
            "gru.bias_ih",
            "gru.bias_hh",
            "actor_linear.weight",
            "actor_linear.bias",
        )
        if name not in network
    ]
    missing += [f"{name}.bias" for name in layers if f"{name}.bias" not in network]
    if missing or not layers:
        raise PolicyError(
            f"A published checkpoint holds input_ff or conv layers, gru and actor_linear, and {str(path)!r} lacks "
            f"{', '.join(missing) or 'the input layers'}: it is of another kind."
        )
    named = [*layers, "gru", "actor_linear"]
    wrong = [name for name in network if name.startswith(tuple(named)) and not _has_axes(name, network[name])]
    if wrong:
        raise PolicyError(
            f"Biases have one axis and weights two, or four in a convolution, and {wrong[0]} in {str(path)!r} has "
            f"{network[wrong[0]].ndim}: the file is damaged or of another kind."
        )
    return layers


def _has_axes(name: str, tensor: Tensor) -> bool:
    if ".bias" in name:
        return tensor.ndim == 1
    return tensor.ndim == 2 or (tensor.ndim == 4 and not name.startswith(("gru", "actor")))


def _architecture(network: Mapping[str, Tensor], layers: list[str], path: Path) -> Architecture:
    weights = [network[f"{name}.weight"] for name in layers]
    sizes = tuple(int(weight.shape[0]) for weight in weights)
    units = int(network["gru.weight_hh"].shape[-1])
    critic = "critic_linear.weight" in network
    if weights[0].ndim == 4:
        return Architecture(body="conv", sizes=sizes, hidden="relu", output="relu6", units=units, critic=critic)
    # A single linear layer is the net of the mode-counter and Tomita families, whose features are a plain ReLU.
    if len(layers) == 1:
        return Architecture(body="mlp", sizes=sizes, hidden="elu", output="relu", units=units, critic=critic)
    return Architecture(body="mlp", sizes=sizes, hidden="elu", output="relu6", units=units, critic=critic)


def _fitting(network: Mapping[str, Tensor], layers: list[str], env: EnvironmentSpec, path: Path) -> tuple[str, ...]:
    first = network[f"{layers[0]}.weight"]
    inputs = int(first.shape[1])
    axes = 3 if first.ndim == 4 else 1
    actions = int(network["actor_linear.weight"].shape[0])
    if len(env.observation_shape) != axes or env.observation_shape[0] != inputs:
        reads = f"images with {inputs} channel" if axes == 3 else f"{inputs} numbers"
        raise PolicyError(
            f"A policy must fit its environment and {str(path)!r} reads {reads} where {env.id} shows observations of "
            f"shape "
            f"{env.observation_shape}: pass the environment that it was trained in with --env."
        )
    if actions != len(env.action_names):
        raise PolicyError(
            f"A policy must fit its environment and {str(path)!r} chooses among {actions} actions where {env.id} has "
            f"{len(env.action_names)}: pass the environment that it was trained in with --env."
        )
    return env.action_names


def _renamed(network: Mapping[str, Tensor], layers: list[str]) -> Tensors:
    renamed = {
        f"body.{2 * i}.{kind}": network[f"{name}.{kind}"]
        for i, name in enumerate(layers)
        for kind in ("weight", "bias")
    }
    for theirs, ours in (("gru.", "cell."), ("actor_linear.", "actor."), ("critic_linear.", "critic.")):
        renamed |= {ours + name: tensor for name, tensor in _under(network, theirs).items()}
    return renamed
