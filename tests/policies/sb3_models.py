"""Environments and trainings for the tests of Stable-Baselines3 files: stock algorithms, a few hundred steps each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize, VecTransposeImage
from torch import nn

HERE = "python:" + __name__
Array = npt.NDArray[Any]


class Blobs(gymnasium.Env[Any, Any]):
    """A bright square on one side of an image says what to do two steps later; images may hide in a dictionary."""

    def __init__(self, *, joint: bool = False, dictionary: bool = False, channels_first: bool = False) -> None:
        box = spaces.Box(0, 255, (3, 36, 40) if channels_first else (36, 40, 3), np.uint8)
        self._channels_first = channels_first
        self.observation_space = spaces.Dict({"image": box}) if dictionary else box
        self.action_space = spaces.MultiDiscrete([3, 2]) if joint else spaces.Discrete(3)
        self._dictionary = dictionary

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps, self._sides = 0, [0, 0]
        return self._show(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        reward = float(int(np.ravel(action)[0]) == self._sides[-2])
        return self._show(), reward, self._steps >= 25, False, {}

    def _show(self) -> Any:
        side = int(self.np_random.integers(3))
        self._sides.append(side)
        image = self.np_random.integers(0, 60, (36, 40, 3), dtype=np.uint8)
        image[10:24, 2 + 12 * side : 12 + 12 * side] += 150
        image = np.moveaxis(image, -1, 0) if self._channels_first else image
        return {"image": image} if self._dictionary else image


class Positions(gymnasium.ObservationWrapper[Any, Any, Any]):
    """CartPole without velocities: position and angle only."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        assert isinstance(env.observation_space, spaces.Box)
        low, high = env.observation_space.low[[0, 2]], env.observation_space.high[[0, 2]]
        self.observation_space = spaces.Box(low, high, dtype=np.float32)

    def observation(self, observation: Array) -> Array:
        return observation[[0, 2]]


def blobs() -> Blobs:
    return Blobs()


def blobs_first() -> Blobs:
    return Blobs(channels_first=True)


def joint_blobs() -> Blobs:
    return Blobs(joint=True, dictionary=True)


def without_velocities() -> gymnasium.Env[Any, Any]:
    return Positions(gymnasium.make("CartPole-v1"))


def cartpole() -> gymnasium.Env[Any, Any]:
    return gymnasium.make("CartPole-v1")


def lake() -> gymnasium.Env[Any, Any]:
    return gymnasium.make("FrozenLake-v1")


@dataclass(frozen=True, kw_only=True)
class Training:
    """A stock training: algorithm, policy, environment, how it is wrapped, and what the policy is made of."""

    algorithm: Any
    policy: str
    env: str
    make: Callable[[], gymnasium.Env[Any, Any]]
    options: dict[str, Any]
    kwargs: dict[str, Any]
    normalise: bool = False
    frames: int = 1
    stack_first: bool = False
    steps: int = 256
    seed: int = 3
    copies: int = 1
    sharpen: bool = True

    def vectorised(self) -> Any:
        """Return the environments as SB3 users wrap them."""
        vec: Any = DummyVecEnv([self.make] * self.copies)
        wrappers = [lambda vec: VecNormalize(vec, clip_obs=2.0)] if self.normalise else []
        if self.frames > 1:
            wrappers.insert(0 if self.stack_first else len(wrappers), lambda vec: VecFrameStack(vec, self.frames))
        for wrap in wrappers:
            vec = wrap(vec)
        return vec

    def train(self, folder: Path) -> tuple[Path, Any]:
        """Train, and save the zip, with the statistics beside it where there are any."""
        torch.set_num_threads(1)
        model = self.algorithm(
            self.policy, self.vectorised(), seed=self.seed, device="cpu", policy_kwargs=self.kwargs, **self.options
        )
        model.learn(self.steps)
        if self.sharpen:
            spread(model.policy)
        folder.mkdir(parents=True, exist_ok=True)
        model.save(folder / "model.zip")
        if model.get_vec_normalize_env() is not None:
            model.get_vec_normalize_env().save(folder / "vecnormalize.pkl")
        return folder / "model.zip", model


def spread(policy: nn.Module) -> None:
    """Make the choices of a policy that learned next to nothing differ from each other."""
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if name.startswith(("action_net.weight", "mlp_extractor.policy_net", "lstm_actor.weight")):
                parameter.mul_(40.0 if name.endswith("weight_ih_l0") else 4.0)
            if name.startswith(("lstm_actor.bias", "mlp_extractor.policy_net.0.bias", "action_net.bias")):
                parameter.zero_()


ON_POLICY = {"n_steps": 64, "batch_size": 64, "n_epochs": 1}
SMALL: dict[str, Any] = {"lstm_hidden_size": 12}

TRAININGS = {
    "two layers, separate critic": Training(
        algorithm=RecurrentPPO,
        policy="MlpLstmPolicy",
        env="CartPole-v1",
        make=cartpole,
        options=ON_POLICY,
        kwargs={**SMALL, "n_lstm_layers": 2, "net_arch": [9], "activation_fn": nn.ReLU},
        seed=1,
    ),
    "two layers, shared critic": Training(
        algorithm=RecurrentPPO,
        policy="MlpLstmPolicy",
        env="CartPole-v1",
        make=cartpole,
        options=ON_POLICY,
        kwargs={**SMALL, "n_lstm_layers": 2, "shared_lstm": True, "enable_critic_lstm": False},
    ),
    "images": Training(
        algorithm=RecurrentPPO,
        policy="CnnLstmPolicy",
        env=f"{HERE}:blobs",
        make=blobs,
        options=ON_POLICY,
        kwargs={**SMALL, "features_extractor_kwargs": {"features_dim": 16}},
        steps=128,
    ),
    "stacked images, critic without memory": Training(
        algorithm=RecurrentPPO,
        policy="CnnLstmPolicy",
        env=f"{HERE}:blobs",
        make=blobs,
        options=ON_POLICY,
        kwargs={**SMALL, "enable_critic_lstm": False, "features_extractor_kwargs": {"features_dim": 16}},
        frames=2,
        steps=128,
    ),
    "one array in a dictionary, several choices": Training(
        algorithm=RecurrentPPO,
        policy="MultiInputLstmPolicy",
        env=f"{HERE}:joint_blobs",
        make=joint_blobs,
        options=ON_POLICY,
        kwargs={**SMALL, "share_features_extractor": False},
        steps=128,
    ),
    "normalised": Training(
        algorithm=RecurrentPPO,
        policy="MlpLstmPolicy",
        env="CartPole-v1",
        make=cartpole,
        options=ON_POLICY,
        kwargs=SMALL,
        normalise=True,
    ),
    "normalised, then stacked": Training(
        algorithm=RecurrentPPO,
        policy="MlpLstmPolicy",
        env="CartPole-v1",
        make=cartpole,
        options=ON_POLICY,
        kwargs=SMALL,
        normalise=True,
        frames=3,
    ),
    "stacked, then normalised": Training(
        algorithm=RecurrentPPO,
        policy="MlpLstmPolicy",
        env="CartPole-v1",
        make=cartpole,
        options=ON_POLICY,
        kwargs=SMALL,
        normalise=True,
        frames=3,
        stack_first=True,
    ),
    "numbered observations": Training(
        algorithm=RecurrentPPO,
        policy="MlpLstmPolicy",
        env="FrozenLake-v1",
        make=lake,
        options=ON_POLICY,
        kwargs={**SMALL, "net_arch": []},
    ),
    "PPO": Training(algorithm=PPO, policy="MlpPolicy", env="CartPole-v1", make=cartpole, options=ON_POLICY, kwargs={}),
    "PPO on normalised images": Training(
        algorithm=PPO,
        policy="CnnPolicy",
        env=f"{HERE}:blobs_first",
        make=blobs_first,
        options=ON_POLICY,
        kwargs={"normalize_images": False, "features_extractor_kwargs": {"features_dim": 16}},
        normalise=True,
        steps=128,
    ),
    "A2C": Training(
        algorithm=A2C,
        policy="MlpPolicy",
        env="CartPole-v1",
        make=cartpole,
        options={},
        kwargs={"net_arch": {"pi": [8], "vf": []}, "activation_fn": nn.ELU},
    ),
    "DQN": Training(
        algorithm=DQN,
        policy="MlpPolicy",
        env="CartPole-v1",
        make=cartpole,
        options={"learning_starts": 64},
        kwargs={"net_arch": [16, 16]},
    ),
}


def seen_by_sb3(model: Any, training: Training, frames: Array) -> list[Any]:
    """Return the observations (each of one environment) that SB3's own wrappers make of one episode's frames."""
    vec, wrappers = model.get_env(), []
    while hasattr(vec, "venv"):
        wrappers.insert(0, vec)
        vec = vec.venv
    # Whatever shape our environment shows, the frame of the step comes last in its stack.
    single = spaces.Box(0, 255, frames.shape[1:], frames.dtype.type)
    depth = single.shape[-1] // training.frames
    rows = [frame[..., -depth:][None] for frame in frames]
    for wrapper in wrappers:
        if isinstance(wrapper, VecNormalize):
            rows = [normalised(wrapper, row) for row in rows]
        elif isinstance(wrapper, VecFrameStack):
            rows = stacked(rows, training.frames)
        elif isinstance(wrapper, VecTransposeImage):
            rows = [wrapper.transpose_image(row) for row in rows]
    space = model.observation_space
    if isinstance(space, spaces.Dict):
        return [{"image": row} for row in rows]
    if isinstance(space, spaces.Discrete):
        return [np.array([int(row.argmax())]) for row in rows]
    if is_image_space(space):
        assert is_image_space_channels_first(space)
    return rows


def normalised(wrapper: VecNormalize, row: Array) -> Any:
    found = wrapper.normalize_obs(row if not isinstance(wrapper.obs_rms, dict) else {"image": row})
    return found["image"] if isinstance(found, dict) else found


def stacked(rows: list[Array], frames: int) -> list[Array]:
    blank = [np.zeros_like(rows[0])] * (frames - 1)
    return [np.concatenate([*blank, *rows][i : i + frames], axis=-1) for i in range(len(rows))]
