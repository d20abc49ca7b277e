"""Places say where each channel sees what it looks for: against their definition, and in a whole network."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from moorelens.envs.config import EnvironmentRequest
from moorelens.errors import PolicyError
from moorelens.policies.config import Architecture
from moorelens.policies.native import read_native, write_native
from moorelens.policies.networks import GRUPolicy, LSTMPolicy, build_network, initialise
from moorelens.policies.places import Places


def policy(shape: tuple[int, ...] = (1, 80, 80)) -> GRUPolicy | LSTMPolicy:
    network = build_network(
        env_id="ALE/Pong-v5",
        observation_shape=shape,
        observation_dtype="uint8",
        action_names=("a", "b", "c"),
        architecture=Architecture(body="places", sizes=(6, 4), hidden="relu"),
    )
    initialise(network, generator=torch.Generator().manual_seed(0), actor_gain=1.0)
    return network


def drawn(height: int, width: int) -> Places:
    places = Places(2, height, width)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in places.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 5 + 0.5)
    return places


def slow(places: Places, one: Tensor) -> list[float]:
    """The definition for one map of every channel, cell by cell."""
    rows, columns, strengths = [], [], []
    _, height, width = one.shape
    for c, cells in enumerate(one.double()):
        deviation = math.sqrt(float(((cells - cells.mean()) ** 2).mean()) + 0.05**2)
        seen = places.sharpness[c].item() * (cells - cells.mean()) / deviation
        weight = {
            (y, x): math.exp(seen[y, x].item() + 5 * (places.rows[c, y].item() + places.columns[c, x].item()))
            for y in range(height)
            for x in range(width)
        }
        total = sum(weight.values())
        rows.append(6 * sum(w * y / (height - 1) for (y, _), w in weight.items()) / total)
        columns.append(6 * sum(w * x / (width - 1) for (_, x), w in weight.items()) / total)
        strength = sum(w * seen[cell].item() for cell, w in weight.items()) / total
        strengths.append(6 / (1 + math.exp(-strength / 10)))
    return rows + columns + strengths


def test_places_are_what_their_definition_says() -> None:
    places, maps = drawn(5, 7), torch.randn(3, 2, 5, 7, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.allclose(
            places(maps).double(), torch.tensor([slow(places, one) for one in maps]).double(), atol=1e-4
        )


def test_a_single_bright_cell_is_found_where_it_is() -> None:
    places = Places(1, 40, 40)
    with torch.no_grad():
        for name, parameter in places.named_parameters():
            parameter.fill_(1.0 if name == "sharpness" else 0.0)
        maps = torch.zeros(2, 1, 40, 40)
        maps[0, 0, 10, 30], maps[1, 0, 39, 0] = 5.0, 100.0  # however bright
        found = places(maps) / 6 * 39
    assert torch.allclose(found[:, :2], torch.tensor([[10.0, 30.0], [39.0, 0.0]]), atol=0.1)


def test_a_map_without_anything_has_finite_gradients() -> None:
    maps = torch.zeros(1, 2, 5, 7, requires_grad=True)
    features = drawn(5, 7)(maps)
    features.sum().backward()
    assert features.isfinite().all() and maps.grad is not None and maps.grad.isfinite().all()


def test_a_policy_of_places_is_kept_and_read_like_any_other(tmp_path: Path) -> None:
    made = policy()
    assert made.spec.feature_size == 12 and made.body[-1].rows.shape == (4, 40)
    frames = torch.randint(0, 256, (5, 1, 80, 80), generator=torch.Generator().manual_seed(3)) / 255
    features = made.features(frames)
    assert features.min() >= 0 and features.max() <= 6
    (tmp_path / "p.safetensors").write_bytes(write_native(made, EnvironmentRequest(id="ALE/Pong-v5")))
    again, _ = read_native(tmp_path / "p.safetensors")
    assert torch.equal(again.features(frames), features)
    with pytest.raises(PolicyError, match="A places body reads observations with 3 axes"):
        policy((4,))


def test_gradients_of_single_frames_are_those_of_a_batch() -> None:
    made, frames = policy().double(), torch.rand(3, 1, 80, 80, generator=torch.Generator().manual_seed(4)).double()

    def total(frame: Tensor) -> Tensor:
        return made.features(frame[None]).sum()

    singly = torch.func.vmap(torch.func.grad(total))(frames)
    frames.requires_grad_(True)
    (batched,) = torch.autograd.grad(made.features(frames).sum(), frames)
    assert torch.allclose(singly, batched)
