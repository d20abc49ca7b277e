"""Imitation of a teacher that reads the emulator's memory by a recurrent policy that sees single frames (DAgger)."""

from __future__ import annotations

import time
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.logger import Logger, configure
from stable_baselines3.common.utils import get_device
from torch import Tensor
from torch.nn import functional

from moorelens.envs.description import describe
from moorelens.envs.playing import play
from moorelens.errors import OptionError
from moorelens.policies.base import to_input
from moorelens.policies.config import Architecture
from moorelens.policies.networks import GRUPolicy, LSTMPolicy, build_network, initialise
from moorelens.policies.players import PolicyPlayer
from moorelens.policies.training import checkpoint
from moorelens.policies.training.collector import Collector
from moorelens.policies.training.config import (
    TrainConfig,
    defaults_for,
    selection_seeds,
    training_request,
)
from moorelens.policies.training.sb3_policy import NativeRecurrentPolicy, SequenceCell
from moorelens.policies.training.segments import Segments, Step
from moorelens.policies.training.start import begin_with
from moorelens.policies.training.teachers import RamTeacher, ShowingTeacher, ram_teacher
from moorelens.policies.training.telling import Telling, telling_tensors

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.intp]


def see_contrast(network: GRUPolicy | LSTMPolicy, *, gain: float = 3.0) -> None:
    """Make the first filters blind to the mean brightness, and `gain` times as strong, in place.

    Two thirds of a Freeway frame are road of one grey: with plain filters the features say little else, and 400 updates
    pass before a car is noticed; with these, 100. What the cell reads is weakened, because features that grow while the
    filters learn would drive all its units to the ends of their range, from which they do not come back.
    """
    with torch.no_grad():
        network.cell.weight_ih.mul_(0.3)
        filters = cast(Tensor, next(network.body.parameters()))
        filters.sub_(filters.mean(dim=(1, 2, 3), keepdim=True)).mul_(gain)


class Imitator:
    """DAgger in slices, with the face of `Trainer`."""

    algorithm = "DAgger"

    def __init__(self, config: TrainConfig, *, tensorboard: str | None = None) -> None:
        """Draw the weights from the seed and start the games."""
        self._logger = configure(tensorboard, ["tensorboard"]) if tensorboard else Logger(None, [])
        if config.cell != "gru":
            raise OptionError(
                f"A pupil of --teacher ram has a GRU and --cell {config.cell} was asked for: leave --cell out."
            )
        defaults = defaults_for(config.env)
        self.config = config
        self.settings = settings = config.imitation or msgspec.structs.replace(defaults.imitation, units=config.units)
        self.total = config.steps or defaults.steps
        self.evaluate_every = config.evaluate_every or defaults.evaluate_every
        self.target = defaults.target if config.target is None else config.target
        self.stop_at = defaults.stop_at if config.target is None else config.target
        self.request, self.gamma = training_request(config.env), settings.gamma
        self.selection = selection_seeds(self.request)
        teacher = ram_teacher(config.env)
        self.teacher: str | None = (type(teacher).__doc__ or "").split("\n")[0]
        spec = describe(self.request)
        self.network = build_network(
            env_id=spec.id,
            observation_shape=spec.observation_shape,
            observation_dtype=spec.observation_dtype,
            action_names=spec.action_names,
            architecture=Architecture(
                body=settings.body, sizes=settings.channels, hidden="relu", output="relu6", units=settings.units
            ),
        )
        initialise(self.network, generator=torch.Generator().manual_seed(config.seed), actor_gain=1.0)
        see_contrast(self.network)
        self._guided = settings.guided
        if config.start is not None:
            begin_with(self.network, config.start)
            self._guided = 0.0
        self.device = get_device(config.device)
        self.network.to(self.device)
        self.network.body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._cell = SequenceCell(self.network.cell, "gru", self.network.spec.feature_size, settings.units)
        # The policy is the running mean of the weights: its greedy choices do not jump from update to update.
        self._mean = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        self.updates, self._looking = 0, settings.settle > 0
        self._rng = np.random.default_rng([config.seed, 7])
        self.collector = self._collector(1_000_000 * (config.seed + 1))
        noted = self.collector.notes().shape[1] if settings.notes else 0
        self.segments = Segments(
            settings,
            settings.units,
            len(spec.action_names),
            notes=noted,
            features=self.network.spec.feature_size if settings.settle else 0,
        )
        self._telling = self._taught(teacher, noted)
        learned = [p for n, p in self.network.named_parameters() if not n.startswith("critic")]
        if self._telling is not None:
            learned += list(self._telling.parameters())
        self.optimiser = torch.optim.Adam(learned)
        self._hidden = self.network.initial_state(settings.games)
        self.steps, self.seconds = 0, 0.0
        self.curve: list[dict[str, float]] = []
        self.best: tuple[float, ...] | None = None
        self.best_policy: GRUPolicy | LSTMPolicy | None = None
        self.agreement = self.loss = float("nan")

    @property
    def finished(self) -> bool:
        """Whether all steps are taken, or the last evaluation reached what the task asks for."""
        reached = self.stop_at is not None and bool(self.curve) and self.curve[-1]["selection_mean"] >= self.stop_at
        return self.steps >= self.total or reached

    def advance(self) -> None:
        """Play one segment of every game, then learn from segments old and new."""
        began = time.perf_counter()
        self._collect()
        self._settle_in_time()
        rate = self.settings.learning_rate * max(1.0 - self.steps / self.total, 0.02)
        if self._looking:
            rate = self.settings.look_rate * max(1.0 - self.steps / (self.settings.settle * self.total), 0.02)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        for _ in range(self.settings.batches):
            if self._looking:
                self._look()
            else:
                self._learn(self.segments.draw(self.settings.batch_size, self._rng))
        self.seconds += time.perf_counter() - began

    def evaluate(self) -> dict[str, float]:
        """Play the selection seeds greedily, keep the policy if it is the best so far, and add a row to the curve."""
        policy = self.policy()
        returns = play(self.request, self.selection, PolicyPlayer(policy)).returns
        recent = self.collector.returns[-20:]
        row = {
            "steps": float(self.steps),
            "seconds": round(self.seconds, 1),
            "training_return": float(np.mean(recent)) if recent else float("nan"),
            "selection_mean": float(returns.mean()),
            "selection_min": float(returns.min()),
            "selection_max": float(returns.max()),
            "agreement": self.agreement,
            "loss": self.loss,
        }
        # What is not measured yet is left out: JSON has no number for it, and the row goes into checkpoint and card.
        row = {name: value for name, value in row.items() if np.isfinite(value)}
        self.curve.append(row)
        for name, value in row.items():
            self._logger.record(f"imitation/{name}", value)
        self._logger.dump(self.steps)
        score = (row["selection_mean"], row["selection_min"])
        if self.best is None or score >= self.best:
            self.best, self.best_policy = score, policy
        return row

    def policy(self) -> GRUPolicy | LSTMPolicy:
        """Return a copy of the current policy: the running mean of the weights, rounded to float16."""
        copy = type(self.network)(self.network.spec, self.network.architecture)
        # In numbers that float16 holds: what is scored is then what the zoo's file will be.
        copy.load_state_dict({name: tensor.cpu().half().float() for name, tensor in self._mean.items()})
        return copy.eval()

    def save(self) -> bytes:
        """Return everything that the training needs to go on, except the recorded segments and the games under way."""
        tensors = {f"policy/{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"mean/{name}": tensor for name, tensor in self._mean.items()}
        tensors |= checkpoint.optimiser_tensors(self.optimiser) | telling_tensors(self._telling)
        if self.best_policy is not None:
            tensors |= {f"best/{name}": tensor for name, tensor in self.best_policy.tensors().items()}
        facts = checkpoint.ImitationFacts(
            config=self._fingerprint(),
            steps=self.steps,
            updates=self.updates,
            seconds=self.seconds,
            best=self.best,
            curve=self.curve,
            next_seed=self.collector.next_seed,
            generator=checkpoint.generator_state(self._rng),
        )
        return checkpoint.encode(tensors, facts)

    def restore(self, data: bytes) -> None:
        """Go on from what `save` returned; raises `RunFolderError` where that was another training."""
        tensors, facts = checkpoint.decode(data, checkpoint.ImitationFacts)
        checkpoint.same_training(facts.config, self._fingerprint())
        self.network.load_state_dict(checkpoint.under(tensors, "policy/"))
        checkpoint.restore_optimiser(self.optimiser, tensors)
        if self._telling is not None:
            self._telling.load_state_dict(checkpoint.under(tensors, "telling/"))
        mean = checkpoint.under(tensors, "mean/")
        self._mean, self.updates = {name: tensor.to(self.device) for name, tensor in mean.items()}, facts.updates
        self.steps, self.seconds, self.curve, self.best = facts.steps, facts.seconds, list(facts.curve), facts.best
        if self.best is not None:
            self.best_policy = self.policy()
            self.best_policy.load_state_dict(checkpoint.under(tensors, "best/"))
        self._rng.bit_generator.state = checkpoint.to_generator_state(facts.generator)
        self.collector = self._collector(facts.next_seed)
        self._hidden = self.network.initial_state(self.settings.games)
        self._settle_in_time()

    def close(self) -> None:
        """Let go of the log; the games are in this process."""
        self._logger.close()

    def _taught(self, teacher: RamTeacher, notes: int) -> Telling | None:
        """Return what the pupil tells with, None where its teacher notes nothing."""
        shown = teacher.shown if isinstance(teacher, ShowingTeacher) else ()
        if self._looking and not (notes and shown):
            raise OptionError(
                f"A feature net learns to see from notes that a frame shows and the teacher of {self.config.env} has "
                f"none: leave out settle, which is {self.settings.settle:g}."
            )
        if not notes:
            return None
        spec = self.network.spec
        return Telling(features=spec.feature_size, units=spec.state_size, notes=notes, shown=shown).to(self.device)

    def _collector(self, first_seed: int) -> Collector:
        teacher = ram_teacher(self.config.env)
        return Collector(self.request, teacher, self.settings.games, first_seed, plain=self.settings.plain)

    def _fingerprint(self) -> str:
        return checkpoint.fingerprint(self.config, self.settings, self.total)

    def _collect(self) -> None:
        games, guided_steps = self.collector, self._guided * self.total
        share = max(1.0 - self.steps / guided_steps, 0.0) if guided_steps else 0.0
        states = self._hidden.cpu().numpy().copy()
        steps: list[Step] = []
        for _ in range(self.settings.length):
            wanted, notes = games.label(), games.notes()[:, : self.segments.notes.shape[2]]
            with torch.no_grad():
                keep = torch.from_numpy(1.0 - games.starts)[:, None].to(self.device)
                features = self.network.features(to_input(games.observations).to(self.device))
                self._hidden = self.network.core(features, keep * self._hidden)
                chosen = self.network.heads(self._hidden)[0].argmax(dim=1).cpu().numpy()
            kept = features.cpu().numpy()[:, : self.segments.features.shape[2]]
            steps.append(Step(games.observations, wanted, notes, kept, games.starts))
            guided = self._rng.random(len(chosen)) < share
            games.step(np.where(guided, wanted.argmax(axis=1), chosen).astype(np.intp))
        self.segments.add(steps, states)
        self.steps += self.settings.length * self.settings.games

    def _look(self) -> None:
        """Learn to tell from single frames what the teacher notes: only the feature net, on frames drawn at random."""
        assert self._telling is not None  # or it was refused
        count, length = self.settings.look_size, self.settings.length
        slots, at = self._rng.integers(self.segments.held, size=count), self._rng.integers(length, size=count)
        frames = to_input(self.segments.frames[slots, at]).to(self.device)
        notes = torch.from_numpy(self.segments.notes[slots, at]).to(self.device)
        told = self._telling.seen_loss(self.network.features(frames), notes)
        self._improve(told)
        self.loss = _smoothed(self.loss, told.item())

    def _settle_in_time(self) -> None:
        """Keep the feature net as it is, in numbers that float16 holds, and look at the recorded frames once more."""
        if not self._looking or self.steps < self.settings.settle * self.total:
            return
        body = {name: t.half().float() for name, t in self.network.state_dict().items() if name.startswith("body.")}
        self.network.load_state_dict(body, strict=False)
        self._mean |= {name: tensor.clone() for name, tensor in body.items()}
        self.network.body.requires_grad_(False)
        with torch.no_grad():
            for slot in range(self.segments.held):
                seen = self.network.features(to_input(self.segments.frames[slot]).to(self.device))
                self.segments.features[slot] = seen.cpu().numpy()
        self._looking, self.agreement, self.loss = False, float("nan"), float("nan")

    def _seen(self, slots: Rows) -> Tensor:
        """Return the features (B T, F) of segments."""
        if self.settings.settle:
            return torch.from_numpy(self.segments.features[slots]).to(self.device).flatten(0, 1)
        frames = to_input(self.segments.frames[slots].reshape(-1, 1, 80, 80)).to(self.device)
        # Chunks that fit the cache: one pass over all frames takes four times as long.
        return torch.cat([self.network.features(chunk) for chunk in torch.split(frames, 128)])

    def _learn(self, slots: Rows) -> None:
        count, length = len(slots), self.settings.length
        starts = torch.from_numpy(self.segments.starts[slots]).to(self.device)
        labels = torch.from_numpy(self.segments.labels[slots]).to(self.device)
        state = torch.from_numpy(self.segments.states[slots])[None].to(self.device)
        features = self._seen(slots)
        shown, _ = NativeRecurrentPolicy._process_sequence(
            features, (state, torch.zeros_like(state)), starts.flatten(), self._cell
        )

        def counted(rows: Tensor) -> Tensor:
            return rows.reshape(count, length, -1)[:, self.settings.warm_up :].flatten(0, 1)

        shown, wanted = counted(shown), counted(labels)
        logits = self.network.heads(shown)[0]
        loss = _loss(logits, wanted)
        total = loss
        if self._telling is not None:
            notes = torch.from_numpy(self.segments.notes[slots]).to(self.device)
            told = self._telling.loss(shown, counted(notes))
            # Less and less: in the end the state need not hold what the choice does not need.
            total = loss + self.settings.notes * max(1.0 - self.steps / self.total, 0.0) * told
        self._improve(total)
        agreement = float((logits.argmax(dim=1) == wanted.argmax(dim=1)).float().mean())
        self.agreement, self.loss = _smoothed(self.agreement, agreement), _smoothed(self.loss, loss.item())

    def _improve(self, loss: Tensor) -> None:
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.max_grad_norm)
        self.optimiser.step()
        self._follow()

    def _follow(self) -> None:
        self.updates += 1
        # Short at first, so that the weights drawn at random are soon forgotten.
        keep = min(self.settings.averaging, self.updates / (10.0 + self.updates))
        with torch.no_grad():
            for name, tensor in self.network.state_dict().items():
                self._mean[name].lerp_(tensor, 1.0 - keep)


def _smoothed(before: float, value: float) -> float:
    return 0.98 * before + 0.02 * value if np.isfinite(before) else value


def _loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the cross-entropy, each moment weighted by how far the teacher's first choice is above its second.

    A moment in which two actions are as good as each other teaches a tenth as much as one that decides.
    """
    first, second = wanted.topk(2, dim=1).values.unbind(dim=1)
    weights = 0.1 + 0.9 * (first - second)
    losses = functional.cross_entropy(logits, wanted, reduction="none")
    return (losses * weights).sum() / weights.sum()
