"""Models of Stable-Baselines3 that are in memory: their current policy as a `RecurrentPolicy`, copied."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space, preprocess_obs
from torch import Tensor, nn

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.description import describe
from moorelens.envs.factories import importable_from_here
from moorelens.errors import PolicyError
from moorelens.policies.base import RecurrentPolicy
from moorelens.policies.cells import StackedCells, kind_of, layers_of
from moorelens.policies.config import PolicySpec
from moorelens.policies.inputs import Inputs
from moorelens.policies.sb3.archive import Archive
from moorelens.policies.sb3.fitting import bare_spec, fit
from moorelens.policies.sb3.network import Choice, MemorylessPolicy, RecurrentSB3Policy
from moorelens.policies.sb3.statistics import Statistics, statistics_of

_TOLERANCE, _STEPS = 1e-4, 4


def from_sb3(
    model: Any, env: EnvironmentRequest | str, *, vec_normalize: Any = None
) -> tuple[RecurrentPolicy, EnvironmentRequest]:
    """Return a copy of the current policy of a live model, and `env` with the frame stack of its training.

    `model`: RecurrentPPO, PPO, A2C or DQN, with a feature extractor of your own if you like. `vec_normalize`: the
    VecNormalize of its training, which is found where the model still has its environment. Raises `PolicyError` where
    the model is of another kind, or where its parts together do not choose as it does.
    """
    request = EnvironmentRequest(id=env) if isinstance(env, str) else env
    wrapper = vec_normalize if vec_normalize is not None else model.get_vec_normalize_env()
    statistics = None if wrapper is None else statistics_of(wrapper)
    return _from_model(model, request, statistics, where=f"the {type(model).__name__} model")


def load_trusted(
    archive: Archive, request: EnvironmentRequest, statistics: Statistics | None
) -> tuple[RecurrentPolicy, EnvironmentRequest, dict[str, Any]]:
    """Let SB3 load a file, which unpickles objects and may run code from them; raises `PolicyError` where it cannot."""
    loader = _loader(archive)
    try:
        with importable_from_here():
            model = loader.load(archive.path, device="cpu")
    except Exception as error:
        raise PolicyError(
            f"With --trust a file is loaded by Stable-Baselines3, and {archive.where} cannot be as a {loader.__name__} "
            f"({type(error).__name__}: {' '.join(str(error).split())[:160]}): its classes must be importable here."
        ) from error
    policy, fitted = _from_model(model, request, statistics, where=archive.where)
    return policy, fitted, {"algorithm": type(model).__name__, "steps": int(model.num_timesteps)}


def _loader(archive: Archive) -> Any:
    from sb3_contrib import RecurrentPPO
    from stable_baselines3 import A2C, DQN, PPO

    if "exploration_rate" in archive.data:
        return DQN
    if any(name.startswith("lstm_actor.") for name in archive.tensors):
        return RecurrentPPO
    return PPO if "n_epochs" in archive.data else A2C


def _from_model(
    model: Any, request: EnvironmentRequest, statistics: Statistics | None, *, where: str
) -> tuple[RecurrentPolicy, EnvironmentRequest]:
    source, env = model.policy, describe(request)
    if hasattr(source, "native"):
        return source.native(), request
    space, key = _one_array(model.observation_space, where=where)
    fitted = fit(_shape(space), env, request, statistics, where=where)
    env = describe(fitted.request)
    inputs = Inputs(
        from_bytes=env.observation_dtype == "uint8",
        image=_is_image(space) and source.normalize_images,
        transpose=fitted.transpose,
        statistics=fitted.statistics,
    )
    sizes = _sizes(model.action_space, where=where)
    spec = bare_spec(env, sizes=sizes, where=where)
    policy = _policy(source, spec, inputs, key, sizes, explore=getattr(model, "exploration_rate", None), where=where)
    _check_agreement(policy, source, model.observation_space, key, where=where)
    return policy, fitted.request


def _one_array(space: spaces.Space[Any], *, where: str) -> tuple[spaces.Space[Any], str | None]:
    if not isinstance(space, spaces.Dict):
        return space, None
    if len(space.spaces) != 1:
        raise PolicyError(
            f"A policy sees one array, and {where} sees {len(space.spaces)}: flatten the observations into one array "
            "before the training."
        )
    ((key, inner),) = space.spaces.items()
    return inner, key


def _shape(space: spaces.Space[Any]) -> tuple[int, ...]:
    return (int(space.n),) if isinstance(space, spaces.Discrete) else tuple(space.shape or ())


def _sizes(space: spaces.Space[Any], *, where: str) -> tuple[int, ...]:
    if isinstance(space, spaces.Discrete):
        return (int(space.n),)
    if isinstance(space, spaces.MultiDiscrete):
        return tuple(int(n) for n in space.nvec)
    raise PolicyError(
        f"A Moore machine has one action per state, and the actions of {where} are {space}: only Discrete and "
        "MultiDiscrete actions can be counted."
    )


class _Entry(nn.Module):
    """An extractor of dictionaries, given the one array that is in them."""

    def __init__(self, extractor: nn.Module, key: str) -> None:
        super().__init__()
        self.extractor, self.key = extractor, key

    def forward(self, observations: Tensor) -> Tensor:
        found: Tensor = self.extractor({self.key: observations})
        return found


def _policy(
    source: Any,
    spec: PolicySpec,
    inputs: Inputs,
    key: str | None,
    sizes: tuple[int, ...],
    *,
    explore: float | None,
    where: str,
) -> RecurrentSB3Policy | MemorylessPolicy:
    # Part by part: a policy in training holds tensors of its last step, which cannot be copied.
    dqn = hasattr(source, "q_net")
    extractor = source.q_net.features_extractor if dqn else getattr(source, "pi_features_extractor", None)
    extractor = _copy(extractor if extractor is not None else source.features_extractor)
    parts: dict[str, Any] = {"inputs": inputs, "extractor": extractor if key is None else _Entry(extractor, key)}
    if dqn:
        *hidden, last = _copy(source.q_net.q_net)
        parts |= {"latent": nn.Sequential(*hidden), "choice": Choice(last, sizes)}
        return MemorylessPolicy(_sized(spec, last.in_features, len(spec.action_names)), **parts, explore=explore)
    latent, last = _copy(source.mlp_extractor.policy_net), _copy(source.action_net)
    parts |= {"latent": latent, "choice": Choice(last, sizes)}
    if not hasattr(source, "lstm_actor"):
        return MemorylessPolicy(_sized(spec, last.in_features, len(spec.action_names)), **parts)
    weights = {name: tensor.detach().to("cpu") for name, tensor in source.lstm_actor.state_dict().items()}
    layers = layers_of(weights, where=where)
    memory = StackedCells(kind_of(layers[0], where=where), layers)
    critic = (source.mlp_extractor.value_net, source.value_net)
    value = nn.Sequential(*map(_copy, critic)) if source.shared_lstm else None
    return RecurrentSB3Policy(
        _sized(spec, memory.inputs, memory.state_size, memory.kind), **parts, memory=memory, value=value
    )


def _copy(module: nn.Module) -> Any:
    return copy.deepcopy(module).to("cpu").eval()


def _sized(spec: PolicySpec, features: int, states: int, cell: Any = "none") -> PolicySpec:
    return msgspec.structs.replace(spec, feature_size=features, state_size=states, cell=cell)


def _check_agreement(
    policy: RecurrentSB3Policy | MemorylessPolicy, source: Any, space: spaces.Space[Any], key: str | None, *, where: str
) -> None:
    """Let both choose on a few random observations: a policy class of one's own may do more than its parts show."""
    space = copy.deepcopy(space)
    space.seed(0)
    state, theirs = policy.initial_state(1), None
    device = next(source.parameters()).device
    training = source.training
    source.set_training_mode(False)
    try:
        with torch.no_grad():
            for step in range(_STEPS):
                observation, _ = source.obs_to_tensor(space.sample())
                seen = preprocess_obs(observation, space, normalize_images=source.normalize_images)
                features = policy.extractor((seen if key is None else seen[key]).to("cpu"))
                if isinstance(policy, MemorylessPolicy):
                    ours = policy.choice(policy.latent(features))
                else:
                    state = policy.core(features, state)
                    ours, _ = policy.heads(state)
                theirs, wanted = _their_logits(source, observation, theirs, step, device)
                gap = (ours.log_softmax(dim=-1) - wanted.cpu().log_softmax(dim=-1)).abs().max()
                if not float(gap) <= _TOLERANCE:
                    raise PolicyError(
                        f"A policy is copied part by part, and the parts of {where} do not choose as the whole does "
                        f"(log-probabilities differ by {float(gap):.2g}): its policy class does more than stock ones: "
                        "hand it over as python:package.module:factory."
                    )
    finally:
        source.set_training_mode(training)


def _their_logits(source: Any, observation: Any, states: Any, step: int, device: Any) -> tuple[Any, Tensor]:
    """Return the next recurrent states and the joint logits (1, A) of the SB3 policy itself."""
    if hasattr(source, "q_net"):
        return None, source.q_net(observation)
    if hasattr(source, "lstm_actor"):
        if states is None:
            layers, _, units = source.lstm_hidden_state_shape
            states = (torch.zeros(layers, 1, units, device=device),) * 2
        starts = torch.tensor([float(step == 0)], device=device)
        chosen, states = source.get_distribution(observation, states, starts)
    else:
        chosen = source.get_distribution(observation)
    parts = chosen.distribution if isinstance(chosen.distribution, list) else [chosen.distribution]
    joint = parts[0].logits
    for part in parts[1:]:
        joint = (joint[:, :, None] + part.logits[:, None, :]).flatten(1)
    return states, joint


def _is_image(space: spaces.Space[Any]) -> bool:
    return bool(is_image_space(space))
