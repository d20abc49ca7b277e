"""What the plain fields of a Stable-Baselines3 file say of its policy; what only a pickle would say is refused."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moorelens.errors import PolicyError
from moorelens.policies.sb3.archive import Archive

# Where stock policies are defined -> (recurrent, what their layers are followed by unless told otherwise).
_STOCK: dict[str, tuple[str, str]] = {
    "sb3_contrib.common.recurrent.policies": ("recurrent", "Tanh"),
    "stable_baselines3.common.policies": ("actor-critic", "Tanh"),
    "stable_baselines3.dqn.policies": ("dqn", "ReLU"),
    "moorelens.policies.training.sb3_policy": ("native", "Tanh"),
}
# Activations without weights of their own, by their class in torch.nn.
ACTIVATIONS = (
    "Tanh", "ReLU", "ELU", "LeakyReLU", "SiLU", "GELU", "SELU", "CELU", "ReLU6", "Sigmoid", "Softplus", "Softsign",
    "Mish", "Hardtanh", "Hardswish", "Identity",
)  # fmt: skip
_EXTRACTORS = ("FlattenExtractor", "NatureCNN", "CombinedExtractor")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The plain facts of a policy: what it sees, how it chooses, and what its weights do not tell.

    `shape`: of what its first layer saw. `image`: it divided bytes by 255. `sizes`: of its choices. `activation`: of
    the hidden layers. `explore`: a DQN's epsilon.
    """

    kind: str
    algorithm: str
    shape: tuple[int, ...]
    image: bool
    sizes: tuple[int, ...]
    activation: str
    explore: float | None
    steps: int | None


def facts_of(archive: Archive) -> Facts:
    """Return the facts of a stock policy; raises `PolicyError`, naming the field, where one is in no plain form."""
    kind, activation = _stock(archive)
    options = _mapping(archive, "policy_kwargs")
    _check_extractor(archive, options, kind)
    shape, image = _observation(archive)
    return Facts(
        kind=kind,
        algorithm=_algorithm(archive, kind),
        shape=shape,
        image=image and options.get("normalize_images", True) is True,
        sizes=_actions(archive),
        activation=_activation(archive, options, activation),
        explore=_explore(archive) if kind == "dqn" else None,
        steps=archive.data.get("num_timesteps"),
    )


def needs_trust(archive: Archive, field: str, why: str) -> PolicyError:
    """Return the refusal of a file whose `field` matters and stands in no plain form."""
    return PolicyError(
        f"A policy is rebuilt from plain fields and weights without running anything, and {field} of {archive.where} "
        f"{why}: pass --trust if you trust who wrote the file, which lets Stable-Baselines3 load it and run its code."
    )


def _explore(archive: Archive) -> float:
    """Return the epsilon of a DQN; raises `PolicyError` where it is no chance."""
    rate = archive.data.get("exploration_rate", 0.0)
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0.0 <= rate <= 1.0:
        raise PolicyError(
            f"A DQN explores with a chance between 0 and 1, and exploration_rate of {archive.where} is {rate!r}: the "
            "file was changed by hand or written by another program, so save the model again."
        )
    return float(rate)


def _stock(archive: Archive) -> tuple[str, str]:
    module = _mapping(archive, "policy_class").get("__module__")
    if module not in _STOCK:
        raise needs_trust(archive, "policy_class", f"is no policy of Stable-Baselines3 ({module})")
    return _STOCK[module]


def _mapping(archive: Archive, field: str) -> Mapping[str, Any]:
    found = archive.data.get(field)
    if found is None and field == "policy_kwargs":
        return {}
    if not isinstance(found, dict):
        raise needs_trust(archive, field, "is missing" if found is None else "is in no plain form")
    return found


def _algorithm(archive: Archive, kind: str) -> str:
    if kind == "dqn":
        return "DQN"
    if kind in ("recurrent", "native"):
        return "RecurrentPPO"
    return "PPO" if "n_epochs" in archive.data else "TRPO" if "cg_max_steps" in archive.data else "A2C"


def _check_extractor(archive: Archive, options: Mapping[str, Any], kind: str) -> None:
    given = options.get("features_extractor_class")
    if kind == "native" or given is None:
        return
    stock = re.fullmatch(r"<class 'stable_baselines3\.common\.torch_layers\.(\w+)'>", str(given))
    if stock is None or stock[1] not in _EXTRACTORS:
        raise needs_trust(archive, "policy_kwargs.features_extractor_class", f"is {_brief(given)}")


def _activation(archive: Archive, options: Mapping[str, Any], default: str) -> str:
    given = options.get("activation_fn")
    if given is None:
        return default
    named = re.fullmatch(r"<class 'torch\.nn\.modules\.\w+\.(\w+)'>", str(given))
    if named is not None and named[1] in ACTIVATIONS:
        return named[1]
    hidden = any(re.search(r"(policy_net|shared_net)\.\d|q_net\.q_net\.[1-9]", name) for name in archive.tensors)
    if not hidden:
        return default  # there is no hidden layer that it could follow
    raise needs_trust(archive, "policy_kwargs.activation_fn", f"is {_brief(given)}")


def _observation(archive: Archive) -> tuple[tuple[int, ...], bool]:
    space = _mapping(archive, "observation_space")
    name = _class_name(space)
    if name == "Dict":
        return _only_entry(archive, str(space.get("spaces")))
    if name in ("Discrete", "MultiBinary"):
        return (_number(archive, "observation_space.n", space.get("n")),), False
    shape = space.get("_shape", space.get("shape"))
    if name != "Box" or not isinstance(shape, list) or not all(isinstance(n, int) and n > 0 for n in shape):
        raise needs_trust(archive, "observation_space", f"is a {name} whose shape cannot be read")
    bounds = [_values(space.get(key)) for key in ("low", "high")]
    bytes_ = all(not found or found == {wanted} for found, wanted in zip(bounds, (0.0, 255.0), strict=True))
    return tuple(shape), len(shape) == 3 and space.get("dtype") == "uint8" and bytes_


def _only_entry(archive: Archive, text: str) -> tuple[tuple[int, ...], bool]:
    entry = r"'[^']*'(?:: |, )Box\((.*), (.*), (\([\d, ]*\)), (\w+)\)"
    found = re.fullmatch(rf"(?:OrderedDict\(\[\(|OrderedDict\(\{{|\{{|Dict\(){entry}[\])}}]*", text.strip(), re.DOTALL)
    if found is None or text.count("Box(") != 1:
        raise PolicyError(
            f"A policy sees one array, and observation_space of {archive.where} is {_brief(text)}: flatten the "
            "observations into one array before the training."
        )
    low, high, shape, dtype = found.groups()
    size = tuple(int(n) for n in ast.literal_eval(shape))
    return size, len(size) == 3 and dtype == "uint8" and _values(low) == {0.0} and _values(high) == {255.0}


def _values(text: Any) -> set[float]:
    return {float(found) for found in re.findall(r"-?(?:\d+\.?\d*(?:e[+-]?\d+)?|inf)", str(text or ""))}


def _actions(archive: Archive) -> tuple[int, ...]:
    space = _mapping(archive, "action_space")
    name = _class_name(space)
    if name == "Discrete":
        return (_number(archive, "action_space.n", space.get("n")),)
    if name == "MultiDiscrete":
        sizes = tuple(int(n) for n in re.findall(r"\d+", str(space.get("nvec"))))
        if sizes and min(sizes) > 0:
            return sizes
        raise needs_trust(archive, "action_space.nvec", "cannot be read")
    raise PolicyError(
        f"A Moore machine has one action per state, and action_space of {archive.where} is a {name}: only Discrete and "
        "MultiDiscrete actions can be counted, so train the policy with one of these."
    )


def _number(archive: Archive, field: str, value: Any) -> int:
    found = re.fullmatch(r"[\[(]?(\d+),?[\])]?", str(value))
    if found is None or not int(found[1]):
        raise needs_trust(archive, field, "cannot be read")
    return int(found[1])


def _class_name(space: Mapping[str, Any]) -> str:
    found = re.fullmatch(r"<class '(?:[\w.]*\.)?(\w+)'>", str(space.get(":type:")))
    return found[1] if found else "space of an unknown kind"


def _brief(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 100 else f"{text[:97]}..."
