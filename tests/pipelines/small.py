"""Small policies and environments for whole jobs that take a second: published files with both quantisers."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from moorelens.envs.config import EnvironmentRequest
from moorelens.pipelines.config import ExplainConfig
from moorelens.pipelines.job import Job, open_job
from moorelens.pipelines.published import published_quantisers
from moorelens.policies.config import Architecture
from moorelens.policies.native import write_native
from moorelens.policies.networks import GRUPolicy, LSTMPolicy, build_network, initialise

DIGITS = 3


def published(
    path: Path, *, inputs: int = 4, actions: int = 2, seed: int = 4, quantisers: bool = True, blind: bool = False
) -> dict[str, Tensor]:
    """Write a checkpoint in the published layout, with random weights, and return its tensors.

    `blind`: what is seen changes nothing, so that the machine has no decision point.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    network = {
        "input_ff.0.weight": draw(6, inputs) * (0.0 if blind else 20.0),
        "input_ff.0.bias": draw(6),
        "input_ff.2.weight": draw(4, 6),
        "input_ff.2.bias": draw(4),
        "gru.weight_ih": draw(3 * 5, 4),
        "gru.weight_hh": draw(3 * 5, 5),
        "gru.bias_ih": draw(3 * 5),
        "gru.bias_hh": draw(3 * 5),
        "actor_linear.weight": draw(actions, 5),
        "actor_linear.bias": draw(actions),
        "critic_linear.weight": draw(1, 5),
        "critic_linear.bias": draw(1),
    }
    if quantisers:
        network = {f"gru_net.{name}": tensor for name, tensor in network.items()}
        network |= {f"obx_net.{name}": tensor for name, tensor in _qbn(4, generator).items()}
        network |= {f"bhx_net.{name}": tensor for name, tensor in _qbn(5, generator).items()}
    torch.save(network, path)
    return network


def _qbn(size: int, generator: torch.Generator) -> dict[str, Tensor]:
    widths = (size, 8, DIGITS)
    return {
        f"{part}.{2 * i}.{kind}": torch.randn(*([b, a] if kind == "weight" else [b]), generator=generator)
        for part, sizes in {"encoder": widths, "decoder": widths[::-1]}.items()
        for i, (a, b) in enumerate(itertools.pairwise(sizes))
        for kind in ("weight", "bias")
    }


def quantised(job: Job, *, seed: int = 0) -> Job:
    """Return the job with random quantisers, as if they had come with its policy: no search is needed."""
    generator = torch.Generator().manual_seed(seed)
    spec = job.loaded.policy.spec
    found = {"observation": _qbn(spec.feature_size, generator), "state": _qbn(spec.state_size, generator)}
    loaded = dataclasses.replace(job.loaded, quantisers=found)
    return dataclasses.replace(job, loaded=loaded, published=published_quantisers(loaded))


def job_on(folder: Path, policy: GRUPolicy | LSTMPolicy, request: EnvironmentRequest, **options: Any) -> Job:
    """Write a native policy into `folder` and return the job on it, to be run in `folder/run`."""
    file = folder / "small.safetensors"
    file.write_bytes(write_native(policy, request))
    sizes: dict[str, Any] = {"episodes": 3, "held_out": 2, "preset": "quick", "trust": True}
    given = {"out": str(folder / "run"), **sizes, **options}
    return open_job(ExplainConfig(policy=str(file), **given))


def explaining(path: Path, out: Path, **options: Any) -> ExplainConfig:
    """Ask for a job on a published file that takes a second: games of 15 steps, 3 to fit and 2 held out."""
    given: dict[str, Any] = {
        "env": "CartPole-v1",
        "env_kwargs": {"max_episode_steps": 15},
        "episodes": 3,
        "held_out": 2,
        "preset": "quick",
        **options,
    }
    return ExplainConfig(policy=f"mmn:{path}", out=str(out), **given)


def words(path: Path, out: Path, *options: str, verb: str = "explain") -> list[str]:
    """The same request as a command line."""
    task = ["--env", "CartPole-v1", "--env-kwargs", '{"max_episode_steps": 15}']
    size = ["--episodes", "3", "--held-out", "2", "--preset", "quick", "--quiet"]
    return [verb, f"mmn:{path}", "--out", str(out), *task, *size, *options]


def network(
    *,
    env_id: str = "CartPole-v1",
    shape: tuple[int, ...] = (4,),
    dtype: str = "float32",
    actions: tuple[str, ...] = ("a", "b"),
    **options: Any,
) -> GRUPolicy | LSTMPolicy:
    """Return a native policy with random weights that are large enough for it to choose differently now and then."""
    sizes = {"mlp": (6, 4), "conv": (2, 2)}[options.get("body", "mlp")]
    policy = build_network(
        env_id=env_id,
        observation_shape=shape,
        observation_dtype=dtype,
        action_names=actions,
        architecture=Architecture(**{"sizes": sizes, "units": 5, **options}),
    )
    initialise(policy, generator=torch.Generator().manual_seed(3), actor_gain=5.0)
    return policy


def request() -> EnvironmentRequest:
    return EnvironmentRequest(id="CartPole-v1", kwargs={"max_episode_steps": 15})


class Moody(gymnasium.Env[Any, Any]):  # type: ignore[misc]
    """A walk on four numbers for ten steps; while the file `switch` is there, it shows the fault that the file names,
    in episodes of seeds from `since` on, at the third step."""

    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (4,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, *, switch: str = "", since: int = 0) -> None:
        self._switch, self._since = Path(switch), since

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        faulty = self._switch.is_file() and (seed or 0) >= self._since
        self._fault = self._switch.read_text() if faulty else ""
        self._t, self._at = 0, self.np_random.normal(size=4).astype(np.float32)
        return self._at.copy(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._t += 1
        self._at = np.clip(self._at + self.np_random.normal(size=4) + 0.3 * (action - 0.5), -9, 9).astype(np.float32)
        if self._t == 3 and self._fault == "dies":
            raise OSError("the simulator went away")
        if self._t == 3 and self._fault == "nan":
            self._at[1] = np.nan
        return self._at.copy(), 1.0, self._t >= 10, False, {}


def moody(**options: Any) -> Moody:
    return Moody(**options)


def faulty_factory() -> Moody:
    raise RuntimeError("no licence")


class Pictures(gymnasium.Env[Any, Any]):  # type: ignore[misc]
    """Pictures (C, 16, 16) of a square that walks about; bytes, or numbers in [0, 1]."""

    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, *, channels: int = 1, floats: bool = False) -> None:
        self._kind: Any = np.float32 if floats else np.uint8
        self._high = 1.0 if floats else 255
        self.observation_space = gymnasium.spaces.Box(0, self._high, (channels, 16, 16), self._kind)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._t, self._x = 0, 6
        return self._seen(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._t += 1
        self._x = int(np.clip(self._x + (2 * action - 1) * self.np_random.integers(1, 3), 0, 12))
        return self._seen(), 1.0, self._t >= 12, False, {}

    def _seen(self) -> Any:
        picture = np.zeros(self.observation_space.shape, self._kind)
        picture[:, 4:8, self._x : self._x + 4] = self._high
        return picture


def pictures(**options: Any) -> Pictures:
    return Pictures(**options)


class Odd:
    """A policy that is fine but for the one method that is replaced."""

    def __init__(self, **methods: Any) -> None:
        policy = network()
        self.spec, self.tensors = policy.spec, policy.tensors
        for name in ("initial_state", "features", "core", "heads"):
            setattr(self, name, methods.get(name, getattr(policy, name)))


def odd_in_heads() -> Odd:
    return Odd(heads=lambda state: (torch.zeros(len(state), 3), None))


def odd_in_value() -> Odd:
    return Odd(heads=lambda state: (torch.zeros(len(state), 2), torch.zeros(len(state), 1)))


def odd_in_state() -> Odd:
    return Odd(initial_state=lambda batch: torch.zeros(batch, 4))


def odd_in_core() -> Odd:
    return Odd(core=lambda features, state: state * float("nan"))


def odd_in_features() -> Odd:
    return Odd(features=lambda observations: 1 / 0)
