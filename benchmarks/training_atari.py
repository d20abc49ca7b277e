"""Steps per second of the whole training loop on Pong: ours beside stock RecurrentPPO + AtariWrapper, same network.

    python benchmarks/training_atari.py [--steps 2048]        needs OpenCV, which AtariWrapper shrinks frames with

Both train with sb3-contrib's RecurrentPPO, eight games, frames of 80 x 80, the same convolutions, an LSTM of 32 units
for the actor and one for the critic, and the same settings; CPU seconds, one thread. Ours plays whole games with the
preprocessing that extraction uses, stock ends episodes with a life and takes the maximum of two frames.

The last lines are games alone: ours, and ale-py's own vector environment, whose raw frames the same preprocessing turns
into the same observations (checked here, in the plain game).
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import ale_py
import gymnasium
import numpy as np
import torch
from ale_py.vector_env import AtariVectorEnv
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.atari_wrappers import AtariWrapper
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.frames import prepare
from moorelens.envs.games import game_of
from moorelens.envs.workers import AtariBatch
from moorelens.policies.config import Architecture
from moorelens.policies.networks import build_network, initialise
from moorelens.policies.training.config import PPOSettings, TrainConfig
from moorelens.policies.training.trainer import Trainer, private_random_state

GAME = "ALE/Pong-v5"
SIZES = (32, 32, 16, 8)


class Body(BaseFeaturesExtractor):  # type: ignore[misc]
    """The convolutions of our policies in a stock policy."""

    def __init__(self, space: gymnasium.spaces.Box) -> None:
        """Draw the weights as ours are drawn."""
        network = build_network(
            env_id=GAME,
            observation_shape=(1, 80, 80),
            observation_dtype="uint8",
            action_names=("a", "b"),
            architecture=Architecture(body="conv", sizes=SIZES, hidden="relu", cell="lstm"),
        )
        initialise(network, generator=torch.Generator().manual_seed(0))
        super().__init__(space, network.spec.feature_size)
        self.body = network.body

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Return the features (B, F)."""
        features: torch.Tensor = self.body(frames)
        return features


class Clock:
    """Adds up the CPU seconds that are spent inside functions."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.spent: dict[str, float] = {}

    def watch(self, owner: Any, function: str, part: str) -> None:
        """Count the time in `owner.function` as that of `part`."""
        inner: Callable[..., Any] = getattr(owner, function)

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            result = inner(*args, **kwargs)
            self.spent[part] = self.spent.get(part, 0.0) + time.process_time() - began
            return result

        setattr(owner, function, timed)


def ours(steps: int, settings: PPOSettings) -> tuple[float, dict[str, float]]:
    """Return steps per CPU second, and the shares of games and updates."""
    trainer = Trainer(TrainConfig(env=GAME, cell="lstm", steps=10**9, ppo=settings))
    trainer.advance()
    clock, first = Clock(), trainer.steps
    clock.watch(trainer._rewards, "step", "games and frames")
    clock.watch(trainer._model, "train", "updates")
    began = time.process_time()
    while trainer.steps < first + steps:
        trainer.advance()
    return _summary(trainer.steps - first, time.process_time() - began, clock)


def stock(steps: int, settings: PPOSettings) -> tuple[float, dict[str, float]]:
    """Return the same of sb3-contrib's policy class over Stable-Baselines3's wrapper."""
    gymnasium.register_envs(ale_py)

    def game() -> gymnasium.Env[Any, Any]:
        plain = gymnasium.make(GAME, frameskip=1, repeat_action_probability=0.25)
        return AtariWrapper(plain, screen_size=80)

    games = DummyVecEnv([game] * settings.n_envs)
    model = RecurrentPPO(
        "CnnLstmPolicy",
        games,
        n_steps=settings.n_steps,
        batch_size=settings.batch_size,
        n_epochs=settings.n_epochs,
        learning_rate=settings.learning_rate,
        policy_kwargs={
            "lstm_hidden_size": 32,
            "net_arch": [],
            "features_extractor_class": Body,
            "share_features_extractor": False,
        },
        device="cpu",
        seed=0,
    )
    size = settings.n_envs * settings.n_steps
    model.learn(size)
    clock, first = Clock(), model.num_timesteps
    clock.watch(model.env, "step", "games and frames")
    clock.watch(model, "train", "updates")
    began = time.process_time()
    while model.num_timesteps < first + steps:
        model.learn(size, reset_num_timesteps=False)
    return _summary(model.num_timesteps - first, time.process_time() - began, clock)


def games_alone(steps: int, count: int = 8) -> dict[str, float]:
    """Return steps per CPU second of our games, of ale-py's vector environment, and of that with our observations."""
    game = game_of(GAME)
    assert game.actions is not None
    batch, rows = AtariBatch(EnvironmentRequest(id=GAME), range(count)), np.arange(count)
    vector = AtariVectorEnv(
        "pong", count, num_threads=1, img_height=210, img_width=160, grayscale=False, stack_num=1, maxpool=False,
        noop_max=0, reward_clipping=False, use_fire_reset=False,
    )  # fmt: skip
    batch.reset()
    vector.reset(seed=rows)
    actions = np.random.default_rng(0).integers(0, 3, (steps // count, count))
    spent, marks = np.zeros(3), np.zeros(4)
    for chosen in actions:
        marks[0] = time.process_time()
        ours_now = batch.step(rows, chosen).observations
        marks[1] = time.process_time()
        frames = vector.step(np.array(game.actions, dtype=np.int32)[chosen])[0]
        marks[2] = time.process_time()
        theirs = np.stack([prepare(frame[0][game.crop].mean(axis=2))[None] for frame in frames])
        marks[3] = time.process_time()
        assert np.array_equal(ours_now, theirs)
        spent += np.diff(marks)
    rates = actions.size / np.array([spent[0], spent[1], spent[1] + spent[2]])
    return dict(zip(["our games", "ale-py's, raw", "ale-py's, prepared"], rates.tolist(), strict=True))


def _summary(steps: int, seconds: float, clock: Clock) -> tuple[float, dict[str, float]]:
    shares = {part: spent / seconds for part, spent in clock.spent.items()}
    return steps / seconds, shares | {"choosing actions": 1.0 - sum(shares.values())}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=2048)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    settings = PPOSettings(n_envs=8, n_steps=128, batch_size=512, n_epochs=4)
    with private_random_state():
        results = {"ours": ours(steps, settings), "stock": stock(steps, settings)}
    for name, (rate, shares) in results.items():
        parts = ", ".join(f"{part} {share:.0%}" for part, share in shares.items())
        print(f"{name:<6} {rate:7.0f} steps per CPU second: {parts}")
    print(f"ratio  {results['ours'][0] / results['stock'][0]:.2f}")
    for name, rate in games_alone(steps).items():
        print(f"{name:<20} {rate:7.0f} steps per CPU second")


if __name__ == "__main__":
    main()
