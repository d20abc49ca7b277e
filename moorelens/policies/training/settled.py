"""Games seen through a feature net that does not learn any more: every frame becomes features once."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from moorelens.policies.base import to_input
from moorelens.policies.networks import GRUPolicy, LSTMPolicy

Array = npt.NDArray[Any]


class Seen(VecEnvWrapper):  # type: ignore[misc]
    """Games whose observations are the features (n, F) that `network` makes of them."""

    def __init__(self, games: VecEnv, network: GRUPolicy | LSTMPolicy, *, device: torch.device) -> None:
        """Wrap `games`; the network's feature net is moved to `device`."""
        size = network.spec.feature_size
        super().__init__(games, observation_space=gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32))
        self._network, self._device = network, device
        network.body.to(device)

    def reset(self) -> Array:
        """Start all games over."""
        return self._seen(self.venv.reset())

    def step_wait(self) -> tuple[Array, Array, Array, list[dict[str, Any]]]:
        """Take the actions; the last observations of games that ended are features too."""
        observations, rewards, done, infos = self.venv.step_wait()
        for row in np.flatnonzero(done).tolist():
            infos[row]["terminal_observation"] = self._seen(infos[row]["terminal_observation"][None])[0]
        return self._seen(observations), rewards, done, infos

    def _seen(self, observations: Array) -> Array:
        with torch.no_grad():
            features = self._network.features(to_input(observations).to(self._device))
        found: Array = features.cpu().numpy()
        return found
