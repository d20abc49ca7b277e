"""Learning memory tasks for `reproduce`: a taught policy with quantisers, tuned together until nothing fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from moorelens.envs.memory.lessons import Batch, Lesson, draw_lesson
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.pretrain import pretrain
from moorelens.fsm.quantisers.kmeans import KMeansQuantiser
from moorelens.fsm.quantisers.qbn import TernaryQBN
from moorelens.pipelines.reproduce_clusters import find_centres, imitate_centres, reached_states
from moorelens.pipelines.reproduce_probes import probe
from moorelens.policies.networks import GRUPolicy, LSTMPolicy
from moorelens.policies.training.supervised import (
    Accuracy,
    TeachSettings,
    answer_loss,
    judge,
    take_step,
    teach,
    unroll,
)
from moorelens.runs.progress import NullProgress, Progress

BLUR = 0.05  # standard deviation of what is added to vectors while an encoder learns which centre is nearest


class FitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the quantised network of a row is made.

    `teaching`: of the policy. `digits`: of the state and of the observation quantiser. `start`: quantisers begin with a
    code for each cluster of the policy's features and states, or with the published reconstruction; `start_updates` of
    Adam either way. Where answers are wrong then, at most `updates` of fine-tuning of all weights at `learning_rate`
    follow, on the oracle's answers, for the quantised and the plain network alike, on sequences of up to `longest`
    steps. `noise`: on the memory, before it is quantised. `state_weight`: of the distance between the memory and what
    its code stands for. `probes`: how many random endings of four symbols follow every transition of the network's own
    machine when it is checked (0: none). `patience`: checks in a row without a mistake, each with probes of its own.
    """

    teaching: TeachSettings
    digits: tuple[int, int]
    start_updates: int = 600
    start: Literal["clusters", "reconstruction"] = "clusters"
    updates: int = 400
    learning_rate: float = 5e-4
    batch: int = 64
    shortest: int = 8
    longest: int = 32
    noise: float = 0.03
    state_weight: float = 0.1
    check_every: int = 50
    probes: int = 2
    patience: int = 2


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a fit: updates spent, and how the policy and the network answered in the last check.

    `exact`: no answer of the network was wrong, on selection sequences and probes alike, `patience` checks in a row.
    """

    taught_updates: int
    tuned_updates: int
    policy: Accuracy
    inserted: Accuracy
    network: Accuracy
    clusters: dict[str, int]
    probed: float | None
    exact: bool


def fit_network(
    lesson: Lesson, settings: FitSettings, *, seed: int, progress: Progress | None = None
) -> tuple[MooreMachineNetwork, Fitted]:
    """Teach a policy, insert quantisers and tune all of it; equal settings and seeds give equal weights.

    Everything that is looked at here comes from seeds that neither extraction nor evaluation uses.
    """
    taught = teach(lesson, settings.teaching, seed=seed, progress=progress)
    work = _Tuning(lesson, settings, taught.policy, seed=seed)
    inserted = work.judged()
    updates, exact = 0, False
    with (progress or NullProgress()).task(f"quantising {lesson.task}", total=settings.updates) as task:
        while True:
            if updates % settings.check_every == 0:
                # Probes are drawn anew each time, so checking again is another test of the same weights.
                exact = all(work.check() for _ in range(settings.patience))
                task.note(f"{work.network_accuracy.steps:.2%} right")
            if exact or updates == settings.updates:
                break
            work.update(updates)
            updates += 1
            task.advance()
    report = Fitted(
        taught_updates=taught.updates,
        tuned_updates=updates,
        policy=judge(work.policy, work.selection),
        inserted=inserted,
        network=work.judged(),
        clusters=work.clusters,
        probed=work.probed,
        exact=exact,
    )
    work.network.state.requires_grad_(False)  # type: ignore[attr-defined]
    return work.network, report


class _Tuning:
    """A policy with quantisers inserted, and what is needed to tune them together."""

    def __init__(self, lesson: Lesson, settings: FitSettings, policy: GRUPolicy | LSTMPolicy, *, seed: int) -> None:
        self._lesson, self._settings, self.policy = lesson, settings, policy
        self._rng, self._generator = np.random.default_rng([seed, 3]), torch.Generator().manual_seed(seed + 1)
        self.selection = draw_lesson(lesson, np.random.default_rng([seed, 4]), n=4 * settings.batch)
        self.probed: float | None = None
        self.clusters: dict[str, int] = {}
        self.network_accuracy = Accuracy(0.0, 0.0)
        self._failed: Batch | None = None
        quantisers = self._quantisers(seed)
        self.network = MooreMachineNetwork(policy, observation=quantisers.get("observation"), state=quantisers["state"])
        parameters = [*policy.parameters(), *(p for one in quantisers.values() for p in one.parameters())]
        self._optimiser = torch.optim.Adam(parameters, lr=settings.learning_rate)

    def _quantisers(self, seed: int) -> dict[str, TernaryQBN]:
        batch = draw_lesson(self._lesson, self._rng, n=self._settings.batch, longest=60)
        with torch.no_grad():
            states, _ = unroll(self.policy, batch)
            mask = torch.from_numpy(batch.mask)
            features = self.policy.features(torch.from_numpy(batch.observations)[mask])
        rows = {"state": torch.cat([self.policy.initial_state(1), states[mask]]), "observation": features}
        sizes = dict(zip(("state", "observation"), self._settings.digits, strict=True))
        clusters = self._clusters(rows, batch) if self._settings.start == "clusters" else {}
        found = {}
        for name, x in rows.items():
            if not sizes[name]:
                continue
            qbn = TernaryQBN.shaped(x, digits=sizes[name], hidden=(8,), levels=3, generator=self._generator)
            updates = self._settings.start_updates
            if name in clusters:
                rows_met = reached_states(self.policy, clusters, features) if name == "state" else x
                imitate_centres(qbn, clusters[name], rows_met, updates=updates, noise=BLUR, generator=self._generator)
            else:
                pretrain(qbn, x, updates=updates, batch=256, learning_rate=1e-3, seed=seed)
            found[name] = qbn
        return found

    def _clusters(self, rows: Mapping[str, Tensor], batch: Batch) -> dict[str, KMeansQuantiser]:
        found = find_centres(self.policy, rows["observation"], rows["state"], batch, digits=self._settings.digits)
        self.clusters = {name: len(one.centres) for name, one in found.items()}
        return found

    def update(self, number: int) -> None:
        """Learn from one batch, and from the probes that failed in the last check."""
        settings = self._settings
        done = number / settings.updates
        for group in self._optimiser.param_groups:
            group["lr"] = settings.learning_rate * (0.02 + 0.98 * 0.5 * (1.0 + float(np.cos(np.pi * done))))
        length = int(settings.shortest + (settings.longest - settings.shortest) * min(1.0, 4.0 * done))
        loss = self._loss(draw_lesson(self._lesson, self._rng, n=settings.batch, longest=length))
        if self._failed is not None:
            loss = loss + self._loss(self._failed)
        take_step(self._optimiser, loss, clip=1.0)

    def _loss(self, batch: Batch) -> Tensor:
        logits, distance = self._quantised(batch)
        _, plain = unroll(self.policy, batch, noise=self._settings.noise, generator=self._generator)
        return answer_loss(plain, batch) + answer_loss(logits, batch) + self._settings.state_weight * distance

    def _quantised(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits (T, N, A) of the network, and how far its memory is from what its codes stand for."""
        seen = torch.from_numpy(batch.observations)
        features = self.network.features(seen.flatten(0, 1)).reshape(*seen.shape[:2], -1)
        state = self.network.initial_state(seen.shape[1])
        logits, distance = [], torch.zeros(())
        for row in features:
            reached = self.policy.core(row, state)
            noisy = reached
            if self._settings.noise:
                noisy = reached + self._settings.noise * torch.randn(reached.shape, generator=self._generator)
            state = self.network.state.relaxed(noisy)
            logits.append(self.policy.heads(state)[0])
            distance = distance + functional.mse_loss(state, reached.detach())
        return torch.stack(logits), distance / len(features)

    def check(self) -> bool:
        """Judge the network; say whether nothing was wrong. Probes that failed are learned from until the next check.

        Only the selection sequences count while they still show mistakes: probing a network that is wrong everywhere
        would be long and say nothing.
        """
        self.network_accuracy, self._failed, self.probed = self.judged(), None, None
        if self.network_accuracy.sequences < 1.0:
            return False
        if not self._settings.probes:
            return True
        with torch.no_grad():
            batch, right = probe(
                self.network, self._lesson, self.selection, rng=self._rng, endings=self._settings.probes
            )
        self.probed = float(np.mean(right))
        if self.probed == 1.0:
            return True
        wrong = np.flatnonzero(~right)[: self._settings.batch]
        self._failed = Batch(*(array[:, wrong] for array in batch))
        return False

    def judged(self) -> Accuracy:
        """Return how the network, as it is, answers the selection sequences."""
        return judge(self.network, self.selection)
