"""Steps per second of the whole training loop on CartPole: our policy class beside sb3-contrib's own, same settings.

    python benchmarks/training_control.py [--steps 8192]

Both train with RecurrentPPO, eight environments, a separate recurrent critic and 32 units; CPU seconds, one thread.
The share of the updates in the time is printed for ours.
"""

from __future__ import annotations

import argparse
import time
import warnings

import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.vec_env import DummyVecEnv

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.control import build
from moorelens.policies.training.config import TrainConfig, defaults_for
from moorelens.policies.training.trainer import Trainer, private_random_state


def ours(steps: int) -> tuple[float, float]:
    """Return steps per CPU second, and the share of the time that goes into updates."""
    trainer = Trainer(TrainConfig(env="CartPole-v1"))
    update, spent = trainer._model.train, 0.0

    def timed() -> None:
        nonlocal spent
        began = time.process_time()
        update()
        spent += time.process_time() - began

    trainer._model.train = timed
    began = time.process_time()
    while trainer.steps < steps:
        trainer.advance()
    total = time.process_time() - began
    return trainer.steps / total, spent / total


def stock(steps: int) -> float:
    """Return steps per CPU second of sb3-contrib's LSTM policy."""
    s = defaults_for("CartPole-v1").ppo
    environments = DummyVecEnv([lambda: build(EnvironmentRequest(id="CartPole-v1"))] * s.n_envs)
    model = RecurrentPPO(
        "MlpLstmPolicy",
        environments,
        n_steps=s.n_steps,
        batch_size=s.batch_size,
        n_epochs=s.n_epochs,
        learning_rate=s.learning_rate,
        policy_kwargs={"lstm_hidden_size": 32, "net_arch": []},
        device="cpu",
        seed=0,
    )
    began = time.process_time()
    model.learn(steps)
    return float(model.num_timesteps / (time.process_time() - began))


def main() -> None:
    """Measure and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8192)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with private_random_state():
        fast, share = ours(options.steps)
        slow = stock(options.steps)
    print(f"sb3-contrib's LSTM policy {slow:6.0f} steps/s")
    print(f"our GRU policy            {fast:6.0f} steps/s  ({fast / slow:.1f} times; {share:.0%} of it in updates)")


if __name__ == "__main__":
    main()
