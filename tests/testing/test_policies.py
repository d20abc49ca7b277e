"""The conformance suite accepts our policies and names each broken rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from moorelens.policies.config import Architecture, PolicySpec
from moorelens.policies.load import open_policy
from moorelens.policies.networks import GRUPolicy, LSTMPolicy, build_network, initialise
from moorelens.policies.zoo.files import zoo_names
from moorelens.testing import PolicyConformance, check_policy


def native(cell: str, *, image: bool = False, critic: bool = True) -> GRUPolicy | LSTMPolicy:
    policy = build_network(
        env_id="x",
        observation_shape=(1, 80, 80) if image else (4,),
        observation_dtype="uint8" if image else "float32",
        action_names=("a", "b", "c"),
        architecture=Architecture(
            body="conv" if image else "mlp",
            sizes=(8, 8, 8, 4) if image else (16, 8),
            cell="lstm" if cell == "lstm" else "gru",
            critic=critic,
        ),
    )
    initialise(policy, generator=torch.Generator().manual_seed(0), actor_gain=1.0)
    return policy


class TestGRU(PolicyConformance):
    def make_policy(self) -> GRUPolicy | LSTMPolicy:
        return native("gru")


class TestLSTMOnImages(PolicyConformance):
    def make_policy(self) -> GRUPolicy | LSTMPolicy:
        return native("lstm", image=True, critic=False)


@pytest.mark.parametrize("name", zoo_names())
def test_every_zoo_policy_conforms(name: str) -> None:
    check_policy(open_policy(f"zoo:{name}").policy)


class Wrong:
    """A good policy with one method replaced."""

    def __init__(self, **replaced: Any) -> None:
        self._inner, self._replaced = native("gru"), replaced

    @property
    def spec(self) -> PolicySpec:
        spec: PolicySpec = self._replaced.get("spec", self._inner.spec)
        return spec

    def initial_state(self, batch: int) -> Tensor:
        result: Tensor = self._replaced.get("initial_state", self._inner.initial_state)(batch)
        return result

    def features(self, observations: Tensor) -> Tensor:
        result: Tensor = self._replaced.get("features", self._inner.features)(observations)
        return result

    def core(self, features: Tensor, state: Tensor) -> Tensor:
        result: Tensor = self._replaced.get("core", self._inner.core)(features, state)
        return result

    def heads(self, state: Tensor) -> tuple[Tensor, Tensor | None]:
        result: tuple[Tensor, Tensor | None] = self._replaced.get("heads", self._inner.heads)(state)
        return result

    def tensors(self) -> Mapping[str, Tensor]:
        result: Mapping[str, Tensor] = self._replaced.get("tensors", self._inner.tensors)()
        return result


GOOD = native("gru")


def _in_place(features: Tensor, state: Tensor) -> Tensor:
    new = GOOD.core(features, state)
    with torch.no_grad():
        state.add_(1.0)
    return new


@pytest.mark.parametrize(
    ("replaced", "says"),
    [
        ({"initial_state": lambda b: torch.zeros(b, 3)}, r"must have the shape \(B, H\)"),
        ({"initial_state": lambda b: torch.arange(b).float()[:, None].expand(b, 32)}, "begin in the same state"),
        ({"features": lambda x: GOOD.features(x).double()}, "must be float32"),
        ({"heads": lambda s: (GOOD.heads(s)[0] * float("nan"), None)}, "holds NaN"),
        ({"heads": lambda s: (GOOD.heads(s)[0] - s.mean(dim=0).sum(), None)}, "must not depend on its batch"),
        ({"features": lambda x: GOOD.features(x) + torch.rand(1)}, "Equal inputs must give equal outputs"),
        ({"core": _in_place}, "the state changed"),
        ({"features": lambda x: GOOD.features(x).detach()}, "gradients from the features"),
        ({"core": lambda f, s: GOOD.core(f, s * 0)}, "to the state before"),
        ({"tensors": dict}, "mapping is empty"),
        ({"core": lambda f, s: 1 / 0}, "raised ZeroDivisionError"),
    ],
)
def test_every_broken_rule_is_named(replaced: dict[str, Any], says: str) -> None:
    check_policy(Wrong())
    with pytest.raises(AssertionError, match=says) as caught:
        check_policy(Wrong(**replaced))
    assert "np.float" not in str(caught.value)
