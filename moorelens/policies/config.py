"""What a policy is made of and made for: frozen, JSON-able records without torch."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any, Literal

import msgspec

from moorelens.envs.config import EnvironmentRequest
from moorelens.errors import PolicyError

FORMAT = "moorelens.policy/1"
FILE = "policy.safetensors"  # as `moorelens train` writes it


def placed_file(path: str) -> Path:
    """Return the path of a file in full, with its folder's own name whatever way led there."""
    return Path(path).parent.resolve() / Path(path).name


def name_of_file(path: PurePath) -> str:
    """Return what the policy in a file is called: the file without its ending, or the folder of a `policy.safetensors`.

    Every training writes a file of that name, so that it says nothing.
    """
    return (path.parent.name if path.name == FILE else "") or path.stem


class PolicySpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The facts of a policy that do not depend on its weights.

    `feature_size` F, `state_size` H (what the actor reads; an LSTM's is h and c concatenated), `action_names` (A,).
    `heads_read_features`: the last F entries of the state are the features of the step, which the heads read too.
    `cell`: gru, lstm, rnn, none (memoryless) or custom.
    """

    env_id: str
    observation_shape: tuple[int, ...]
    observation_dtype: Literal["float32", "uint8"]
    action_names: tuple[str, ...]
    feature_size: int
    state_size: int
    cell: Literal["gru", "lstm", "rnn", "none", "custom"] = "gru"
    heads_read_features: bool = False


class Architecture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of a native network (spec of the published ones: koul2019mmn).

    `body`: `mlp` with the layer widths `sizes`, `conv` with the channels `sizes` (3 x 3, stride 2, padding 1), or
    `places`: filters at half the resolution (5 x 5 with stride 2, then 3 x 3) of which each channel says where it sees
    what it looks for, and how much of it (`moorelens.policies.places`; levine2016visuomotor).
    `hidden`: activation between layers; `output`: activation of the features (ReLU6 keeps them in [0, 6], which the
    decoder of an observation quantiser can reach). `units`: width of the cell. `critic`: whether a value head exists.
    """

    body: Literal["mlp", "conv", "places"] = "mlp"
    sizes: tuple[int, ...] = (16, 8)
    hidden: Literal["elu", "relu", "tanh"] = "elu"
    output: Literal["relu6", "relu", "tanh"] = "relu6"
    cell: Literal["gru", "lstm"] = "gru"
    units: int = 32
    critic: bool = True

    def __post_init__(self) -> None:
        """Refuse shapes that no network can have."""
        if not self.sizes or min(*self.sizes, self.units) < 1:
            raise PolicyError(
                f"Layers have at least one unit and this network has sizes {self.sizes} and {self.units} units: use "
                f"positive numbers."
            )


class NativeHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands beside the weights in a native file."""

    format: str
    spec: PolicySpec
    architecture: Architecture
    request: EnvironmentRequest
    card: dict[str, Any] = {}
