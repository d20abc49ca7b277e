"""Supervised training of small recurrent policies from a task's oracle (spec-fsm 1.2), with noise on the memory."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from moorelens.envs.memory.lessons import Batch, Lesson, draw_lesson
from moorelens.envs.names import action_names
from moorelens.errors import OptionError
from moorelens.policies.base import RecurrentPolicy
from moorelens.policies.config import Architecture
from moorelens.policies.networks import GRUPolicy, LSTMPolicy, build_network, initialise
from moorelens.runs.progress import NullProgress, Progress


class TeachSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a policy is taught; defaults found on the Tomita grammars and the mode counters (docs/results.md).

    `units` of the GRU behind a feature net of widths `sizes`. At most `updates` of Adam at `learning_rate` on `batch`
    sequences, gradient norm at most `clip`. `noise`: standard deviation of what is added to the memory after every step
    while learning; it makes states that must be told apart lie far apart, which is what a quantiser needs. Sequences
    begin `shortest` steps long and grow by half whenever nearly all answers are right, up to `longest`. Every
    `check_every` updates the policy is judged on sequences of its own; it is done when all answers were right in
    `patience` checks in a row.
    """

    units: int = 16
    sizes: tuple[int, ...] = (16, 8)
    updates: int = 1200
    batch: int = 64
    learning_rate: float = 5e-3
    clip: float = 1.0
    noise: float = 0.1
    shortest: int = 8
    longest: int = 40
    check_every: int = 50
    patience: int = 2

    def __post_init__(self) -> None:
        """Refuse what nothing can be taught with; raises `OptionError`."""
        if min(self.units, self.batch, self.shortest, self.check_every, self.patience) < 1 or self.updates < 0:
            raise OptionError(
                "Units, batch, lengths, checks and patience of a lesson are 1 or more: mend the settings."
            )


class Accuracy(NamedTuple):
    """Share of right answers, and share of sequences in which every answer was right."""

    steps: float
    sequences: float


class Taught(NamedTuple):
    """A taught policy, how many updates it took, and how it did in the last check."""

    policy: GRUPolicy | LSTMPolicy
    updates: int
    accuracy: Accuracy


class Teaching:
    """A policy that learns the answers of `lesson`, in slices; equal settings and seeds give equal weights."""

    def __init__(
        self, lesson: Lesson, settings: TeachSettings, *, seed: int, cell: Literal["gru", "lstm"] = "gru"
    ) -> None:
        self.lesson, self.settings = lesson, settings
        self.lessons, self.checks = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
        self.generator = torch.Generator().manual_seed(seed)
        self.policy = new_policy(lesson, settings, generator=self.generator, cell=cell)
        self.optimiser = torch.optim.Adam(self.policy.parameters(), lr=settings.learning_rate)
        self.updates, self.length, self.right, self.shown = 0, settings.shortest, 0, 0
        self.accuracy = Accuracy(0.0, 0.0)

    @property
    def finished(self) -> bool:
        """Whether all answers were right often enough, or the updates are used up."""
        return self.right == self.settings.patience or self.updates == self.settings.updates

    def advance(self) -> None:
        """Learn until the policy is judged next."""
        settings = self.settings
        while self.updates < settings.updates:
            batch = draw_lesson(self.lesson, self.lessons, n=settings.batch, longest=self.length)
            _, logits = unroll(self.policy, batch, noise=settings.noise, generator=self.generator)
            take_step(self.optimiser, answer_loss(logits, batch), clip=settings.clip)
            self.updates, self.shown = self.updates + 1, self.shown + int(batch.mask.sum())
            if self.updates % settings.check_every == 0:
                break
        else:
            return
        check = draw_lesson(self.lesson, self.checks, n=4 * settings.batch, longest=self.length)
        self.accuracy = judge(self.policy, check)
        whole = self.accuracy.sequences == 1.0 and self.length == settings.longest
        self.right = self.right + 1 if whole else 0
        if not self.finished and self.accuracy.steps > 0.98:
            self.length = min(settings.longest, self.length + self.length // 2)


def teach(lesson: Lesson, settings: TeachSettings, *, seed: int, progress: Progress | None = None) -> Taught:
    """Return a policy that learned the answers of `lesson`; equal settings and seeds give equal weights."""
    teaching = Teaching(lesson, settings, seed=seed)
    with (progress or NullProgress()).task(f"teaching {lesson.task}", total=settings.updates) as task:
        while not teaching.finished:
            before, length = teaching.updates, teaching.length
            teaching.advance()
            task.advance(teaching.updates - before)
            task.note(f"{teaching.accuracy.steps:.1%} right over {length} steps")
    return Taught(teaching.policy, teaching.updates, teaching.accuracy)


def new_policy(
    lesson: Lesson, settings: TeachSettings, *, generator: torch.Generator, cell: Literal["gru", "lstm"] = "gru"
) -> GRUPolicy | LSTMPolicy:
    """Return an untaught policy for the task of `lesson`."""
    language = lesson.language
    width = 1 if language.n_symbols <= 2 or lesson.tomita is None else language.n_symbols
    policy = build_network(
        env_id=lesson.env_id,
        observation_shape=(width,),
        observation_dtype="float32",
        action_names=action_names(lesson.env_id, language.n_actions),
        architecture=Architecture(sizes=settings.sizes, cell=cell, units=settings.units, critic=False),
    )
    initialise(policy, generator=generator, actor_gain=1.0)
    return policy


def unroll(
    policy: RecurrentPolicy, batch: Batch, *, noise: float = 0.0, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Return the states (T, N, H) and logits (T, N, A) of `policy` on `batch`; `noise` is added to every state."""
    seen = torch.from_numpy(batch.observations)
    features = policy.features(seen.flatten(0, 1)).reshape(*seen.shape[:2], -1)
    state = policy.initial_state(seen.shape[1])
    states, logits = [], []
    for row in features:
        state = policy.core(row, state)
        if noise:
            state = state + noise * torch.randn(state.shape, generator=generator)
        states.append(state)
        logits.append(policy.heads(state)[0])
    return torch.stack(states), torch.stack(logits)


def answer_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Return the mean cross-entropy of `logits (T, N, A)` over the answers that `batch.mask` counts."""
    mask = torch.from_numpy(batch.mask)
    return functional.cross_entropy(logits[mask], torch.from_numpy(batch.labels)[mask])


def take_step(optimiser: torch.optim.Optimizer, loss: Tensor, *, clip: float) -> None:
    """Follow the gradient of `loss` once."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(parameters, clip)
    optimiser.step()


def judge(policy: RecurrentPolicy, batch: Batch) -> Accuracy:
    """Return how often the greedy answers of `policy` on `batch` are right, without noise."""
    with torch.no_grad():
        _, logits = unroll(policy, batch)
    mask = torch.from_numpy(batch.mask)
    right = logits.argmax(dim=-1) == torch.from_numpy(batch.labels)
    return Accuracy(float(right[mask].float().mean()), float((right | ~mask).all(dim=0).float().mean()))
