"""Training a policy in slices, into a folder that the same command continues."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.playing import play
from moorelens.policies.base import identity
from moorelens.policies.native import write_native
from moorelens.policies.networks import GRUPolicy, LSTMPolicy
from moorelens.policies.players import PolicyPlayer
from moorelens.policies.training.card import Card, Scores, encode_card
from moorelens.policies.training.config import HELD_OUT_SEEDS, PPOSettings, TrainConfig, selection_seeds
from moorelens.policies.training.curve import curve_csv, curve_svg
from moorelens.policies.training.kinds import Training, open_training
from moorelens.policies.training.trainer import private_random_state
from moorelens.policies.training.value import fit_value
from moorelens.runs.atomic import storage_errors, write_atomic
from moorelens.runs.lock import hold_lock
from moorelens.runs.progress import NullProgress, Progress
from moorelens.stats import estimate

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_SECONDS = 120.0
_LEARNED = {
    "ram": "Learned by imitation: it saw single frames, its teacher the emulator's memory.",
    "oracle": "Learned from the right answer at every step, with noise on its memory.",
}


@dataclass(frozen=True, kw_only=True)
class TrainOutcome:
    """Where a training stands: its folder, whether it is finished, and then its policy file and card."""

    folder: Path
    finished: bool
    steps: int
    policy: Path | None
    card: Card | None


def default_folder(config: TrainConfig) -> Path:
    """Return `runs/train-<env>-<seed>`."""
    return Path("runs") / f"train-{config.env.replace('/', '-').lower()}-{config.seed}"


def run_train(
    config: TrainConfig, *, out: Path | None = None, force: bool = False, progress: Progress | None = None
) -> TrainOutcome:
    """Train until the steps are taken, the target is reached or `max_minutes` are over, and write what came of it.

    A folder that holds a checkpoint of the same settings is continued. Raises `RunFolderError` for one of other
    settings (`force` starts it over) and `StorageError` where files cannot be written.
    """
    folder = out or default_folder(config)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with hold_lock(folder), private_random_state(), _one_thread():
        trainer = open_training(config, tensorboard=str(folder / "tensorboard") if config.tensorboard else None)
        try:
            if (folder / CHECKPOINT).exists() and not force:
                trainer.restore((folder / CHECKPOINT).read_bytes())
            _train(trainer, folder, progress or NullProgress())
            return _finish(trainer, folder)
        finally:
            trainer.close()


def _train(trainer: Training, folder: Path, progress: Progress) -> None:
    limit = trainer.config.max_minutes
    stop = math.inf if limit is None else time.monotonic() + 60.0 * limit
    saved = time.monotonic()
    if trainer.config.start is not None and not trainer.curve and trainer.steps == 0:
        trainer.evaluate()  # what it begins with is a candidate like what comes of it
    with progress.task(f"training {trainer.config.env}", total=trainer.total) as task:
        task.advance(trainer.steps)
        try:
            while not trainer.finished and time.monotonic() < stop:
                before = trainer.steps
                trainer.advance()
                task.advance(trainer.steps - before)
                if trainer.steps // trainer.evaluate_every > before // trainer.evaluate_every:
                    row = trainer.evaluate()
                    task.note(f"return on the selection seeds {row['selection_mean']:.1f}")
                    _write_progress(trainer, folder)
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    write_atomic(folder / CHECKPOINT, trainer.save())
                    saved = time.monotonic()
        finally:
            # An interruption keeps the state too; only a kill loses what came after the last checkpoint.
            write_atomic(folder / CHECKPOINT, trainer.save())


def _write_progress(trainer: Training, folder: Path) -> None:
    write_atomic(folder / "curve.csv", curve_csv(trainer.curve))
    title = f"{trainer.config.env}, seed {trainer.config.seed}: greedy return on the selection seeds"
    write_atomic(folder / "curve.svg", curve_svg(trainer.curve, title=title, target=trainer.target))
    if trainer.best_policy is not None:
        write_atomic(folder / "best.safetensors", write_native(trainer.best_policy, _plain(trainer)))


def _finish(trainer: Training, folder: Path) -> TrainOutcome:
    if not trainer.finished:
        return TrainOutcome(folder=folder, finished=False, steps=trainer.steps, policy=None, card=None)
    # The last steps are the most careful ones, so what they led to is a candidate like the others.
    if not trainer.curve or trainer.curve[-1]["steps"] < trainer.steps:
        trainer.evaluate()
    policy = trainer.best_policy
    assert policy is not None
    _write_progress(trainer, folder)
    fit_value(policy, trainer.request, selection_seeds(trainer.request), gamma=trainer.gamma)
    card = make_card(trainer, policy)
    write_atomic(folder / "policy.safetensors", write_native(policy, _plain(trainer)))
    write_atomic(folder / "card.json", encode_card(card))
    return TrainOutcome(
        folder=folder, finished=True, steps=trainer.steps, policy=folder / "policy.safetensors", card=card
    )


def make_card(trainer: Training, policy: GRUPolicy | LSTMPolicy) -> Card:
    """Play the held-out seeds once and write the card."""
    held_out = _scores(policy, trainer.request, HELD_OUT_SEEDS)
    atari = trainer.request.is_atari
    chosen = len(trainer.selection)
    words = [
        f"Chosen by its mean return on {chosen} selection seeds; the 30 held-out seeds were played for this card only."
    ]
    if trainer.config.teacher is not None:
        words.append(_LEARNED[trainer.config.teacher])
    if trainer.config.start is not None:
        kept = isinstance(trainer.settings, PPOSettings) and trainer.settings.settled
        words.append(f"Began with {trainer.config.start}{', whose feature net it kept' if kept else ''}.")
    if trainer.target is not None and held_out.score.mean < trainer.target:
        words.append(f"Below the target of {trainer.target:g}.")
    return Card(
        name=trainer.config.env.rsplit("/", 1)[-1].rsplit("-v", 1)[0].lower(),
        env=trainer.config.env,
        preprocessing="mmn: one 80 x 80 grey frame, frameskip 4" if atari else "none: the observation vector",
        algorithm=trainer.algorithm,
        cell=policy.spec.cell,
        units=policy.architecture.units,
        teacher=trainer.teacher,
        steps=trainer.steps,
        seconds=round(trainer.seconds, 1),
        seed=trainer.config.seed,
        command=_command(trainer.config),
        identity=identity(policy),
        held_out=held_out,
        published=_scores(policy, _plain(trainer), [0]) if atari else None,
        target=trainer.target,
        settings=msgspec.to_builtins(trainer.settings),
        curve=trainer.curve,
        words=words,
    )


def _plain(trainer: Training) -> EnvironmentRequest:
    # The file plays the published game by default; sticky actions and no-op starts belong to held-out games.
    return EnvironmentRequest(id=trainer.config.env)


def _scores(policy: GRUPolicy | LSTMPolicy, request: EnvironmentRequest, seeds: Sequence[int]) -> Scores:
    returns = [float(value) for value in play(request, seeds, PolicyPlayer(policy)).returns]
    return Scores(request=request, seeds=list(seeds), returns=returns, score=estimate(returns))


def _command(config: TrainConfig) -> str:
    words = ["moorelens", "train", config.env]
    plain = TrainConfig(env=config.env)
    for name in ("teacher", "start", "seed", "steps", "cell", "units", "target"):
        if getattr(config, name) != getattr(plain, name):
            words += [f"--{name}", f"{getattr(config, name)}"]
    return shlex.join(words)


@contextmanager
def _one_thread() -> Iterator[None]:
    # Networks this small run slower on several threads, and one thread makes a training repeatable.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
