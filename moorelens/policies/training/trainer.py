"""Recurrent PPO in slices: collect, update, evaluate, and hand out checkpoints as bytes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.logger import Logger, configure
from stable_baselines3.common.utils import get_device
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from moorelens.envs.config import EnvironmentSpec
from moorelens.envs.control import build
from moorelens.envs.description import describe
from moorelens.envs.playing import play
from moorelens.envs.views import Viewed
from moorelens.errors import OptionError
from moorelens.policies.config import Architecture
from moorelens.policies.load import open_policy
from moorelens.policies.networks import GRUPolicy, LSTMPolicy, build_network
from moorelens.policies.players import PolicyPlayer
from moorelens.policies.training import checkpoint
from moorelens.policies.training.config import PPOSettings, TrainConfig, defaults_for, selection_seeds, training_request
from moorelens.policies.training.sb3_policy import NativeRecurrentPolicy
from moorelens.policies.training.settled import Seen
from moorelens.policies.training.start import begin_with

STREAK = 3  # evaluations at the target in a row that end a training: one may be luck


class _Falling:
    """A learning rate that falls linearly with the share of steps left, whatever slices the training comes in."""

    def __init__(self, rate: float) -> None:
        self.rate, self.left = rate, 1.0

    def __call__(self, _: float) -> float:
        return self.rate * max(self.left, 0.0)


class Trainer:
    """One training: `advance` makes one update, `evaluate` scores the greedy policy, `save` and `restore` are bytes."""

    algorithm = "RecurrentPPO"
    teacher: str | None = None

    def __init__(self, config: TrainConfig, *, tensorboard: str | None = None) -> None:
        """Build environments, networks and optimiser from the seed."""
        defaults = defaults_for(config.env, started=config.start is not None)
        self.config = config
        self.settings: PPOSettings = config.ppo or defaults.ppo
        self.total = config.steps or defaults.steps
        self.evaluate_every = config.evaluate_every or defaults.evaluate_every
        self.target = defaults.target if config.target is None else config.target
        self.stop_at = defaults.stop_at if config.target is None else config.target
        self.request = training_request(config.env)
        self.selection = selection_seeds(self.request, started=config.start is not None)
        self.gamma = self.settings.gamma
        self.curve: list[dict[str, float]] = []
        self.best: tuple[float, ...] | None = None
        self.best_policy: GRUPolicy | LSTMPolicy | None = None
        self.streak = 0
        self.seconds = 0.0
        self._rate = _Falling(self.settings.learning_rate)
        self._model, self._rewards, self._network = self._build()
        self._model.set_logger(configure(tensorboard, ["tensorboard"]) if tensorboard else Logger(None, []))

    @property
    def steps(self) -> int:
        """Environment steps taken so far."""
        return int(self._model.num_timesteps)

    @property
    def finished(self) -> bool:
        """Whether all steps are taken, or the target was reached often enough running."""
        return self.steps >= self.total or self.streak >= STREAK

    def advance(self) -> None:
        """Collect one batch of episodes' parts and update on it."""
        began = time.perf_counter()
        self._rate.left = 1.0 - self.steps / self.total
        self._model.policy.teach_actor(self.steps >= self.settings.critic_first * self.total)
        size = self.settings.n_envs * self.settings.n_steps
        self._model.learn(size, reset_num_timesteps=self.steps == 0, log_interval=1)
        self.seconds += time.perf_counter() - began

    def evaluate(self) -> dict[str, float]:
        """Play the selection seeds greedily, keep the policy if it is the best so far, and add a row to the curve."""
        policy = self.policy()
        returns = play(self.request, self.selection, PolicyPlayer(policy)).returns
        recent = [info["r"] for info in self._model.ep_info_buffer or []]
        row = {
            "steps": float(self.steps),
            "seconds": round(self.seconds, 1),
            "training_return": float(np.mean(recent)) if recent else float("nan"),
            "selection_mean": float(returns.mean()),
            "selection_min": float(returns.min()),
            "selection_max": float(returns.max()),
        }
        # What is not measured yet is left out: JSON has no number for it, and the row goes into checkpoint and card.
        row = {name: value for name, value in row.items() if np.isfinite(value)}
        self.curve.append(row)
        score = (row["selection_mean"], row["selection_min"])
        # A later checkpoint wins ties: it has seen more.
        if self.best is None or score >= self.best:
            self.best, self.best_policy = score, policy
        reached = self.stop_at is not None and row["selection_mean"] >= self.stop_at
        self.streak = self.streak + 1 if reached else 0
        return row

    def policy(self) -> GRUPolicy | LSTMPolicy:
        """Return a copy of the current actor."""
        native: GRUPolicy | LSTMPolicy = self._model.policy.native()
        return native

    def save(self) -> bytes:
        """Return everything that the training needs to go on, except the episodes under way."""
        tensors = {f"policy/{k}": v for k, v in self._model.policy.state_dict().items()}
        tensors |= checkpoint.optimiser_tensors(self._model.policy.optimizer)
        if self.best_policy is not None:
            tensors |= {f"best/{k}": v for k, v in self.best_policy.tensors().items()}
        drawn, numpy_state = checkpoint.random_state()
        statistics = self._rewards.ret_rms
        facts = checkpoint.PPOFacts(
            config=self._fingerprint(),
            steps=self.steps,
            updates=int(self._model._n_updates),
            seconds=self.seconds,
            streak=self.streak,
            best=self.best,
            curve=self.curve,
            reward_statistics=(float(statistics.mean), float(statistics.var), float(statistics.count)),
            numpy_state=numpy_state,
        )
        return checkpoint.encode(tensors | drawn, facts)

    def restore(self, data: bytes) -> None:
        """Go on from what `save` returned; raises `RunFolderError` where that was another training."""
        tensors, facts = checkpoint.decode(data, checkpoint.PPOFacts)
        checkpoint.same_training(facts.config, self._fingerprint())
        self._model.policy.load_state_dict(checkpoint.under(tensors, "policy/"))
        if self._model.policy.settled_body is not None:
            # The games are seen by what was begun with, whatever has become of that file.
            self._network.body.load_state_dict(self._model.policy.settled_body.state_dict())
        checkpoint.restore_optimiser(self._model.policy.optimizer, tensors)
        self._model.num_timesteps, self._model._n_updates = facts.steps, facts.updates
        self.curve, self.best, self.streak, self.seconds = list(facts.curve), facts.best, facts.streak, facts.seconds
        statistics = self._rewards.ret_rms
        statistics.mean, statistics.var, statistics.count = (np.float64(x) for x in facts.reward_statistics)
        if self.best is not None:
            self.best_policy = self.policy()
            self.best_policy.load_state_dict(checkpoint.under(tensors, "best/"))
        checkpoint.restore_random_state(tensors, facts.numpy_state)

    def close(self) -> None:
        """Let go of the environments."""
        self._rewards.close()

    def _build(self) -> tuple[RecurrentPPO, VecNormalize, GRUPolicy | LSTMPolicy]:
        chosen, spec = self.settings, describe(self.request)
        architecture = self._architecture(spec)
        network = build_network(
            env_id=spec.id,
            observation_shape=spec.observation_shape,
            observation_dtype=spec.observation_dtype,
            action_names=spec.action_names,
            architecture=architecture,
        )
        environments = self._environments(spec)
        if chosen.settled:
            if self.config.start is None:
                raise OptionError(
                    "A settled feature net is that of the policy a training begins with, and there is none: name one "
                    "with --start, or leave settled out."
                )
            begin_with(network, self.config.start)
            environments = Seen(environments, network.eval(), device=get_device(self.config.device))
        # Rewards are divided by the running deviation of the discounted return, so that one set of settings fits all
        # tasks.
        rewards = VecNormalize(environments, norm_obs=False, gamma=chosen.gamma, clip_reward=np.inf)
        model = RecurrentPPO(
            NativeRecurrentPolicy,
            rewards,
            learning_rate=self._rate,
            n_steps=chosen.n_steps,
            batch_size=chosen.batch_size,
            n_epochs=chosen.n_epochs,
            gamma=chosen.gamma,
            gae_lambda=chosen.gae_lambda,
            clip_range=chosen.clip_range,
            ent_coef=chosen.ent_coef,
            vf_coef=chosen.vf_coef,
            max_grad_norm=math.inf if chosen.clip_apart else chosen.max_grad_norm,
            target_kl=chosen.target_kl,
            seed=self.config.seed,
            device=self.config.device,
            policy_kwargs={
                "spec": network.spec,
                "architecture": architecture,
                "seed": self.config.seed,
                "start": self.config.start,
                "settled": chosen.settled,
                "sharpness": chosen.sharpness,
                "critic_rate": chosen.critic_rate,
                "norm": chosen.max_grad_norm if chosen.clip_apart else None,
            },
        )
        return model, rewards, network

    def _architecture(self, spec: EnvironmentSpec) -> Architecture:
        """Return that of the policy to begin with, with the memory that was asked for, or our own for the shape."""
        memory: dict[str, Any] = {"cell": self.config.cell, "units": self.config.units}
        begun = open_policy(self.config.start).policy if self.config.start is not None else None
        if isinstance(begun, (GRUPolicy, LSTMPolicy)) and begun.spec.env_id == spec.id:
            return msgspec.structs.replace(begun.architecture, **memory)
        return Architecture(**memory, **_body_for(spec.observation_shape))

    def _environments(self, spec: EnvironmentSpec) -> VecMonitor:
        count = self.settings.n_envs
        if spec.kind == "atari":
            from moorelens.policies.training.atari_vec import AtariVecEnv

            first, plain = 1_000_000 * (self.config.seed + 1), self.settings.plain
            return VecMonitor(AtariVecEnv(self.request, count, first_seed=first, plain=plain))
        return VecMonitor(DummyVecEnv([lambda: Viewed(build(self.request), self.request)] * count))

    def _fingerprint(self) -> str:
        return checkpoint.fingerprint(self.config, self.settings, self.total)


@contextmanager
def private_random_state() -> Iterator[None]:
    """Leave the global generators as they were found: SB3 seeds and draws from them."""
    tensors, numpy_state = checkpoint.random_state()
    try:
        yield
    finally:
        checkpoint.restore_random_state(tensors, numpy_state)


def _body_for(shape: tuple[int, ...]) -> dict[str, Any]:
    if len(shape) == 1:
        return {"body": "mlp", "sizes": (16, 8), "hidden": "elu", "output": "relu6"}
    return {"body": "conv", "sizes": (32, 32, 16, 8), "hidden": "relu", "output": "relu6"}
