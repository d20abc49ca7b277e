"""Small models whose explanation is known in closed form, and policies with a memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moorelens.policies.config import Architecture
from moorelens.policies.networks import GRUPolicy, build_network, initialise
from moorelens.saliency.patches import PatchGrid


class Linear(nn.Module):
    """Logits (N, K) that are linear in the pixels, so that gradients are the weights everywhere."""

    def __init__(self, shape: tuple[int, ...], classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, *shape, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.flatten(1).T


class PatchOr(nn.Module):
    """Score = the brightest patch: each patch alone suffices."""

    def __init__(self, grid: PatchGrid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        return self.grid.means(x.mean(dim=1)).amax(dim=1)


def kept_share(image: Tensor, part: Tensor):  # type: ignore[no-untyped-def]
    """A score: the share of the pixels in `part (H, W)` bool at which x still equals `image (1, C, H, W)`."""

    def score(x: Tensor) -> Tensor:
        same = (x == image).all(dim=1) & part
        return same.flatten(1).sum(dim=1) / part.sum()

    return score


def small_cnn(channels: int = 3, classes: int = 4, *, seed: int = 0, inplace: bool = False) -> nn.Sequential:
    """An untrained CNN with ReLUs, in place or not, of any input size."""
    model = nn.Sequential(
        nn.Conv2d(channels, 8, 3, stride=2, padding=1),
        nn.ReLU(inplace=inplace),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(inplace=inplace),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, classes),
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            bound = 1 / max(parameter[0].numel(), 8) ** 0.5
            parameter.copy_((torch.rand(parameter.shape, generator=generator) * 2 - 1) * 2 * bound)
    return model.eval()


def small_policy(observation_shape: tuple[int, ...] = (4,), *, seed: int = 0, actions: int = 3) -> GRUPolicy:
    """A GRU policy with random weights that are large enough for its outputs to move."""
    conv = len(observation_shape) == 3
    policy = build_network(
        env_id="Test-v0",
        observation_shape=observation_shape,
        observation_dtype="uint8" if conv else "float32",
        action_names=tuple(f"a{i}" for i in range(actions)),
        architecture=Architecture(body="conv" if conv else "mlp", sizes=(4, 4) if conv else (8,), units=6),
    )
    assert isinstance(policy, GRUPolicy)
    initialise(policy, generator=torch.Generator().manual_seed(seed), actor_gain=1.0)
    return policy.eval()


def images(count: int = 2, channels: int = 3, size: tuple[int, int] = (12, 10), *, seed: int = 0) -> Tensor:
    """Random images (B, C, H, W) in [0, 1]."""
    return torch.rand(count, channels, *size, generator=torch.Generator().manual_seed(seed))
