"""Training of the network teachers: PPO on what the emulator's memory says.

python -m moorelens.policies.training.ram_ppo Boxing boxing_teacher.safetensors [steps]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnvWrapper, VecMonitor, VecNormalize

from moorelens.policies.training.atari_vec import AtariVecEnv
from moorelens.policies.training.config import training_request
from moorelens.policies.training.trainer import private_random_state
from moorelens.policies.training.views import PAST, VIEWS, View
from moorelens.runs.atomic import write_atomic

Array = npt.NDArray[Any]


class Memories(VecEnvWrapper):  # type: ignore[misc]
    """Games whose observations are the features of the memories and actions so far that their teacher sees."""

    def __init__(self, games: AtariVecEnv, view: View) -> None:
        """Wrap games that were made without frames."""
        self._features, self._turned = view.features, view.turned
        size = self._features(np.zeros((1, PAST, 128), np.uint8), np.zeros((1, PAST - 1), np.intp)).shape[1]
        super().__init__(games, observation_space=gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32))
        self._rows = np.arange(games.num_envs, dtype=np.intp)
        self._rams = np.zeros((games.num_envs, PAST, 128), dtype=np.uint8)
        self._past = np.zeros((games.num_envs, PAST - 1), dtype=np.intp)
        self._actions = np.zeros(games.num_envs, dtype=np.intp)

    def reset(self) -> Array:
        """Start all games over."""
        self.venv.reset()
        self._begin(self._rows)
        return self._features(self._rams, self._past)

    def step_async(self, actions: Array) -> None:
        """Remember the actions, as the game has them, and pass them on."""
        self._actions = np.asarray(actions, dtype=np.intp)
        if self._turned is not None:
            self._actions = self._turned(self._rams)[self._rows, self._actions]
        self.venv.step_async(self._actions)

    def step_wait(self) -> tuple[Array, Array, Array, list[dict[str, Any]]]:
        """Take the actions; a game that ends is followed by a new one."""
        _, rewards, done, infos = self.venv.step_wait()
        self._rams = np.concatenate([self.venv.rams(self._rows)[:, None], self._rams[:, :-1]], axis=1)
        self._past = np.concatenate([self._actions[:, None], self._past[:, :-1]], axis=1)
        features = self._features(self._rams, self._past)
        for row in self._rows[done].tolist():
            infos[row]["terminal_observation"] = features[row]
        if done.any():
            self._begin(self._rows[done])
            features = self._features(self._rams, self._past)
        return features, rewards, done, infos

    def _begin(self, rows: npt.NDArray[np.intp]) -> None:
        self._rams[rows] = self.venv.rams(rows)[:, None]
        self._past[rows] = 0


class Report(BaseCallback):  # type: ignore[misc]
    """Says now and then how far the training is and what the last games gave, with the dither of learning."""

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        returns = [game["r"] for game in list(self.model.ep_info_buffer)[-32:]]
        if returns and self.num_timesteps % 40_960 < self.locals["n_rollout_steps"] * self.training_env.num_envs:
            print(f"{self.num_timesteps} steps: {np.mean(returns):.1f} a game", file=sys.stderr, flush=True)


def train_teacher(
    game: str, *, steps: int | None = None, seed: int = 0, games: int = 16, length: int = 128, report: bool = False
) -> bytes:
    """Return the weights of a game's teacher as a safetensors file; `games` play `length` steps before each update.

    `steps`: None for those of the game's view.
    """
    view = VIEWS[game]
    with private_random_state():
        played = AtariVecEnv(training_request(f"ALE/{game}-v5"), games, first_seed=seed * 1_000_000, frames=False)
        memories = VecNormalize(VecMonitor(Memories(played, view)), norm_obs=False, clip_reward=np.inf)
        model = PPO(
            "MlpPolicy",
            memories,
            n_steps=length,
            batch_size=games * length // 4,
            n_epochs=4,
            gamma=view.gamma,
            gae_lambda=view.gae_lambda,
            learning_rate=lambda left: 7e-4 * max(left, 0.03),
            ent_coef=0.01,
            policy_kwargs={"net_arch": [64, 64]},
            device="cpu",
            seed=seed,
        )
        model.learn(view.steps if steps is None else steps, callback=Report() if report else None)
        return teacher_weights(model.policy.state_dict())


def teacher_weights(state: dict[str, torch.Tensor]) -> bytes:
    """Return the actor of SB3's MlpPolicy as a safetensors file that `NetworkTeacher` reads."""
    names = ("mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2", "action_net")
    kinds = ("weight", "bias")
    return save({f"{i}.{kind}": state[f"{name}.{kind}"].contiguous() for i, name in enumerate(names) for kind in kinds})


if __name__ == "__main__":
    torch.set_num_threads(1)
    name, path, *rest = sys.argv[1:]
    write_atomic(Path(path), train_teacher(name, steps=int(rest[0]) if rest else None, report=True))
