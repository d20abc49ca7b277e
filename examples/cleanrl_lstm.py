"""A recurrent agent as CleanRL writes them, trained for a few seconds, and its ten lines for MooreLens.

    python -m examples.cleanrl_lstm                     # trains, and writes corridor.pt
    moorelens explain python:examples.cleanrl_lstm:policy --env python:examples.corridor:make

`Agent` knows nothing of MooreLens: one network, one nn.LSTM, an actor, a critic. `policy` hands its parts over.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from examples.corridor import FORWARD, Corridor
from moorelens.policies import TorchPolicy, from_torch

FILE = Path(os.environ.get("CORRIDOR_AGENT", "corridor.pt"))


class Agent(nn.Module):
    """Images (B, C, H, W) of small numbers -> logits; the state is that of one nn.LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 16), nn.Tanh())
        self.lstm = nn.LSTM(16, 16)
        self.actor = nn.Linear(16, 3)
        self.critic = nn.Linear(16, 1)

    def forward(
        self, images: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return logits (T, N, 3) of sequences (T, N, C, H, W), and the state after them."""
        hidden, state = self.lstm(self.network(images.flatten(0, 1)).unflatten(0, images.shape[:2]), state)
        return self.actor(hidden), state


def policy() -> TorchPolicy:
    """What `python:examples.cleanrl_lstm:policy` names."""
    agent = Agent()
    agent.load_state_dict(torch.load(FILE, weights_only=True))
    return from_torch(
        "python:examples.corridor:make",
        encoder=agent.network,
        memory=agent.lstm,
        actor=agent.actor,
        critic=agent.critic,
        raw_bytes=True,  # it was trained on the numbers themselves, not on fractions of 255
        channels_last=True,  # the environment shows (H, W, C), the network reads (C, H, W)
    )


def train(*, updates: int = 400, seed: int = 1) -> Agent:
    """Teach an agent the way by showing it; a real one would learn it by PPO."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        agent = Agent()
    optimiser = torch.optim.Adam(agent.parameters(), lr=1e-2)
    shown = [_episode(seed) for seed in range(16)]
    images, actions = (torch.stack(part, dim=1) for part in zip(*shown, strict=True))
    for _ in range(updates):
        logits, _ = agent(images)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), actions.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return agent


def _episode(seed: int) -> tuple[Tensor, Tensor]:
    env, images, actions, done = Corridor(), [], [], False
    observation, _ = env.reset(seed=seed)
    while not done:
        action = FORWARD if env.place < env.length else env.side
        images.append(torch.tensor(observation["image"]).float().movedim(-1, 0))
        actions.append(action)
        observation, _, done, _, _ = env.step(action)
    return torch.stack(images), torch.tensor(actions)


if __name__ == "__main__":
    torch.save(train().state_dict(), FILE)
