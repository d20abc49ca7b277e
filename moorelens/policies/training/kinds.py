"""The ways of training, and what they have in common."""

from __future__ import annotations

from typing import Protocol

from torch.cuda import is_available as cuda_available

from moorelens.envs.config import EnvironmentRequest
from moorelens.errors import OptionError
from moorelens.policies.networks import GRUPolicy, LSTMPolicy
from moorelens.policies.training.config import ImitationSettings, PPOSettings, TrainConfig
from moorelens.policies.training.supervised import TeachSettings


class Training(Protocol):
    """A training that is made in slices: `Trainer` (rewards), `Imitator` (a teacher that plays) or `OracleTraining`."""

    algorithm: str
    teacher: str | None
    config: TrainConfig
    request: EnvironmentRequest
    selection: range
    total: int
    evaluate_every: int
    target: float | None
    gamma: float
    seconds: float
    curve: list[dict[str, float]]
    best_policy: GRUPolicy | LSTMPolicy | None

    @property
    def settings(self) -> PPOSettings | ImitationSettings | TeachSettings:
        """Its hyper-parameters."""
        ...

    @property
    def steps(self) -> int:
        """Environment steps taken so far."""
        ...

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be done."""
        ...

    def advance(self) -> None:
        """Collect, and learn from it."""
        ...

    def evaluate(self) -> dict[str, float]:
        """Score the greedy policy on the selection seeds and keep it if it is the best."""
        ...

    def save(self) -> bytes:
        """Return a checkpoint."""
        ...

    def restore(self, data: bytes) -> None:
        """Go on from a checkpoint."""
        ...

    def close(self) -> None:
        """Let go of the environments."""
        ...


def open_training(config: TrainConfig, *, tensorboard: str | None = None) -> Training:
    """Return the training that `config` asks for, at its beginning.

    Raises `OptionError` for `cuda` where torch finds none.
    """
    if config.device == "cuda" and not cuda_available():
        raise OptionError(
            "A training on --device cuda needs a GPU and torch finds none here: choose --device auto or cpu, or carry "
            "the training to a machine that has one (scripts/zoo-pack)."
        )
    if config.teacher == "oracle":
        from moorelens.policies.training.oracle import OracleTraining

        return OracleTraining(config)
    if config.teacher is not None:
        from moorelens.policies.training.imitation import Imitator

        return Imitator(config, tensorboard=tensorboard)
    from moorelens.policies.training.trainer import Trainer

    return Trainer(config, tensorboard=tensorboard)
