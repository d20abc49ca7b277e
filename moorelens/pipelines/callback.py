"""A callback for Stable-Baselines3: every so many steps the policy's machine, logged, and at the end a page."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
from stable_baselines3.common.callbacks import BaseCallback

from moorelens.envs.config import EnvironmentRequest
from moorelens.errors import MooreLensError, OptionError
from moorelens.fsm.automata.exchange.machine_json import encode_machine
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.pipelines.growth import GrowthPlan, grown
from moorelens.pipelines.growth_pages import GROWTH, machine_file, stage_of
from moorelens.pipelines.threads import limited_threads
from moorelens.policies.sb3.live import from_sb3
from moorelens.reports.growth import Growth, Stage, Training, render_growth
from moorelens.runs.atomic import storage_errors, write_atomic

LOGGED = ("states", "symbols", "decisions", "loss", "gain", "reactivity", "open_loop", "policy", "machine", "seconds")


class MachineCallback(BaseCallback):  # type: ignore[misc]
    """Extracts a machine from the current policy every `every` steps and when the training ends.

    `model.learn(100_000, callback=MachineCallback("CartPole-v1", every=10_000, out="runs/growth"))` logs
    `machine/states`, `machine/loss` and others to the model's logger (TensorBoard too, where the model has it) and
    writes `growth.html`, `growth.json` and `machine-<steps>.json` into `out`. `env`: the environment of the training as
    a request or id; frame stacks and VecNormalize are taken from the model. `plan`: how much work a checkpoint is.
    The training itself is left exactly as it would be. Where no machine can be made of a policy, the page says why.
    Raises `OptionError` for `every` below 1 and `StorageError` where `out` cannot be written.
    """

    def __init__(
        self,
        env: EnvironmentRequest | str,
        *,
        every: int,
        out: str | Path,
        plan: GrowthPlan | None = None,
        verbose: int = 0,
    ) -> None:
        """Prepare; nothing is written before the first checkpoint."""
        super().__init__(verbose)
        if every < 1:
            raise OptionError(f"A machine is extracted every 1 step or more, and every={every} is not: pass 10_000.")
        self._request = EnvironmentRequest(id=env) if isinstance(env, str) else env
        self._every, self._out, self._plan = every, Path(out), plan or GrowthPlan()
        self._next = every
        self._last: MooreMachine | None = None
        self.stages: list[Stage] = []

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._next:
            self._next = (self.num_timesteps // self._every + 1) * self._every
            self._checkpoint()
        return True

    def _on_training_end(self) -> None:
        if not self.stages or self.stages[-1].growth.steps != self.num_timesteps:
            self._checkpoint()

    def _checkpoint(self) -> None:
        began = time.perf_counter()
        growth, machine = self._grown()
        growth = msgspec.structs.replace(growth, seconds=round(time.perf_counter() - began, 3))
        for name in LOGGED:
            value = getattr(growth, name)
            if value is not None:
                self.logger.record(f"machine/{name}", value)
        self.logger.dump(self.num_timesteps)
        self.stages.append(stage_of(growth, machine, self._last, place=len(self.stages)))
        self._last = machine or self._last
        self._write(growth, machine)

    def _grown(self) -> tuple[Growth, MooreMachine | None]:
        try:
            with limited_threads(1):
                policy, request = from_sb3(self.model, self._request)
                return grown(policy, request, steps=self.num_timesteps, plan=self._plan)
        except MooreLensError as error:
            # A policy on its way may answer with NaN, or play no machine at all; hours of training are worth more.
            return Growth(steps=self.num_timesteps, note=" ".join(str(error).split())), None

    def _write(self, growth: Growth, machine: MooreMachine | None) -> None:
        """Write after each checkpoint: a training that is stopped leaves the page as far as it came."""
        with storage_errors(self._out):
            self._out.mkdir(parents=True, exist_ok=True)
        if machine is not None:
            write_atomic(self._out / machine_file(growth.steps), encode_machine(machine))
        training = Training(
            policy=type(self.model).__name__,
            env=self._request.id,
            settings=(
                f"It was read off {self._plan.episodes} games, the quantisers were chosen on "
                f"{self._plan.quantise.selection_episodes} others, and {self._plan.held_out} more were held out."
            ),
            checkpoints=tuple(stage.growth for stage in self.stages),
        )
        write_atomic(self._out / GROWTH, msgspec.json.format(msgspec.json.encode(training), indent=2) + b"\n")
        page = render_growth(self.stages, policy=training.policy, env=training.env, settings=training.settings)
        write_atomic(self._out / "growth.html", page)
