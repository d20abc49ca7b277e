"""Teaching a memory task with the answers of its oracle, as a training that is made in slices."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from moorelens.envs.memory.lessons import Lesson
from moorelens.envs.playing import play
from moorelens.errors import OptionError
from moorelens.policies.networks import GRUPolicy, LSTMPolicy
from moorelens.policies.players import PolicyPlayer
from moorelens.policies.training import checkpoint
from moorelens.policies.training.config import TrainConfig, selection_seeds, training_request
from moorelens.policies.training.supervised import Accuracy, Teaching, TeachSettings

TASKS = ("Amnesia", "Blind", "Tracker", *(f"Tomita{number}" for number in range(1, 8)), "Tomita3Later")
_PERFECT = {"tomita": 1.0, "modes": 300.0}


class OracleFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The numbers beside the tensors of a taught policy: counters, the curve, the states of its generators."""

    format: str = checkpoint.FORMAT
    config: str
    updates: int
    length: int
    right: int
    shown: int
    seconds: float
    accuracy: tuple[float, float]
    best: tuple[float, ...] | None
    curve: list[dict[str, float]]
    lessons: dict[str, Any]
    checks: dict[str, Any]


class OracleTraining:
    """A `Training` on right answers: the policy is told, at every step, what the machine of the task would do."""

    algorithm = "supervised: the right answer at every step"
    gamma = 1.0

    def __init__(self, config: TrainConfig) -> None:
        """Begin; raises `OptionError` for a task that has no oracle, and for settings of other ways of training."""
        _only_its_own(config)
        self.config, self.request = config, training_request(config.env)
        self.selection = selection_seeds(self.request)
        self.teacher: str | None = "the machine of the task"
        lesson = lesson_for(config.env)
        self.settings = TeachSettings(units=config.units)
        self._teaching = Teaching(lesson, self.settings, seed=config.seed, cell=config.cell)
        self.total = self.settings.updates * self.settings.batch * self.settings.longest
        if config.steps is not None:
            self.total = min(self.total, config.steps)
        self.evaluate_every = config.evaluate_every or max(1, self.total // 20)
        self.target: float | None = config.target or _PERFECT["modes" if lesson.tomita is None else "tomita"]
        self.seconds = 0.0
        self.curve: list[dict[str, float]] = []
        self.best: tuple[float, ...] | None = None
        self.best_policy: GRUPolicy | LSTMPolicy | None = None

    @property
    def steps(self) -> int:
        """Observations shown so far."""
        return self._teaching.shown

    @property
    def finished(self) -> bool:
        """Whether its answers were right often enough, or all that was to be shown has been."""
        return self._teaching.finished or self.steps >= self.total

    def advance(self) -> None:
        """Learn until the answers are judged next."""
        began = time.perf_counter()
        self._teaching.advance()
        self.seconds += time.perf_counter() - began

    def evaluate(self) -> dict[str, float]:
        """Play the selection seeds greedily, keep the policy if it is the best so far, and add a row to the curve."""
        policy = self._copy()
        returns = play(self.request, self.selection, PolicyPlayer(policy)).returns
        row = {
            "steps": float(self.steps),
            "seconds": round(self.seconds, 1),
            "selection_mean": float(returns.mean()),
            "selection_min": float(returns.min()),
            "selection_max": float(returns.max()),
            "agreement": self._teaching.accuracy.steps,
        }
        self.curve.append(row)
        score = (row["selection_mean"], row["selection_min"])
        if self.best is None or score >= self.best:
            self.best, self.best_policy = score, policy
        return row

    def save(self) -> bytes:
        """Return everything that the training needs to go on."""
        teaching = self._teaching
        tensors = {f"policy/{name}": tensor for name, tensor in teaching.policy.state_dict().items()}
        tensors |= checkpoint.optimiser_tensors(teaching.optimiser)
        tensors["generator"] = teaching.generator.get_state()
        if self.best_policy is not None:
            tensors |= {f"best/{name}": tensor for name, tensor in self.best_policy.tensors().items()}
        facts = OracleFacts(
            config=self._fingerprint(),
            updates=teaching.updates,
            length=teaching.length,
            right=teaching.right,
            shown=teaching.shown,
            seconds=self.seconds,
            accuracy=(teaching.accuracy.steps, teaching.accuracy.sequences),
            best=self.best,
            curve=self.curve,
            lessons=checkpoint.generator_state(teaching.lessons),
            checks=checkpoint.generator_state(teaching.checks),
        )
        return checkpoint.encode(tensors, facts)

    def restore(self, data: bytes) -> None:
        """Go on from what `save` returned; raises `RunFolderError` where that was another training."""
        tensors, facts = checkpoint.decode(data, OracleFacts)
        checkpoint.same_training(facts.config, self._fingerprint())
        teaching = self._teaching
        teaching.policy.load_state_dict(checkpoint.under(tensors, "policy/"))
        checkpoint.restore_optimiser(teaching.optimiser, tensors)
        teaching.generator.set_state(tensors["generator"])
        teaching.updates, teaching.length, teaching.right = facts.updates, facts.length, facts.right
        teaching.shown, teaching.accuracy = facts.shown, Accuracy(*facts.accuracy)
        teaching.lessons.bit_generator.state = checkpoint.to_generator_state(facts.lessons)
        teaching.checks.bit_generator.state = checkpoint.to_generator_state(facts.checks)
        self.seconds, self.curve, self.best = facts.seconds, list(facts.curve), facts.best
        if self.best is not None:
            self.best_policy = self._copy()
            self.best_policy.load_state_dict(checkpoint.under(tensors, "best/"))

    def close(self) -> None:
        """Nothing is held open."""

    def _copy(self) -> GRUPolicy | LSTMPolicy:
        policy = self._teaching.policy
        copy = type(policy)(policy.spec, policy.architecture)
        # In numbers that float16 holds: what is scored is then what the zoo's file will be.
        copy.load_state_dict({name: tensor.detach().half().float() for name, tensor in policy.state_dict().items()})
        return copy.eval()

    def _fingerprint(self) -> str:
        return checkpoint.fingerprint(self.config, self.settings, self.total)


def _only_its_own(config: TrainConfig) -> None:
    for name in ("ppo", "imitation", "start"):
        if getattr(config, name):
            raise OptionError(
                f"--{name} belongs to training by rewards or by a script that plays, and --teacher oracle has lessons "
                "of its own: leave one of the two out."
            )


def lesson_for(env: str) -> Lesson:
    """Return what the policy of a memory task is taught; raises `OptionError` for a task without an oracle."""
    name = env.removeprefix("moorelens/").removesuffix("-v0")
    if name not in TASKS or not env.startswith("moorelens/"):
        raise OptionError(
            f"--teacher oracle teaches tasks whose right answers are known ({', '.join(TASKS)}) and {env} is none of "
            f"them: choose one, such as moorelens/{TASKS[2]}-v0, or leave the teacher out."
        )
    later = name.endswith("Later")
    return Lesson(task=name.removesuffix("Later").lower(), variant="later" if later else "gym_x")
