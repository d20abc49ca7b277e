"""Atari games as a Stable-Baselines3 vector environment, with exactly the preprocessing that extraction uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import msgspec
import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.description import describe
from moorelens.envs.workers import AtariBatch

Array = npt.NDArray[Any]


class AtariVecEnv(VecEnv):  # type: ignore[misc]
    """`n` games without end: where one ends, the next begins on a seed that was not played before.

    The observation of the step that ends a game is the first one of the next, and the last one of the old game is
    `infos[i]["terminal_observation"]`, as SB3 expects. ale-py's own vector environment is not used: it resets one step
    late (that row is no transition), counts no-op starts in another way and hands out frames that are already shrunk,
    so its games would not be those of extraction.
    """

    def __init__(
        self, request: EnvironmentRequest, n: int, *, first_seed: int, frames: bool = True, plain: int = 0
    ) -> None:
        """Start `n` games on the seeds from `first_seed`, every `plain`-th without sticky actions (0: none)."""
        spec = describe(request)
        super().__init__(
            n,
            gymnasium.spaces.Box(0, 255, spec.observation_shape, np.uint8),
            gymnasium.spaces.Discrete(len(spec.action_names)),
        )
        self._next = first_seed + n
        without = msgspec.structs.replace(request, sticky=0.0)
        self._requests = [without if plain and row % plain == plain - 1 else request for row in range(n)]
        self._batch = AtariBatch(self._requests, range(first_seed, first_seed + n), frames=frames)
        self._rows = np.arange(n, dtype=np.intp)
        self._actions = np.zeros(n, dtype=np.intp)

    def reset(self) -> Array:
        """Start all games over."""
        return self._batch.reset()

    def step_async(self, actions: Array) -> None:
        """Remember the actions (n,)."""
        self._actions = np.asarray(actions, dtype=np.intp)

    def step_wait(self) -> tuple[Array, Array, Array, list[dict[str, Any]]]:
        """Take the actions; see the class for what happens at the end of a game."""
        step = self._batch.step(self._rows, self._actions)
        done = step.terminated | step.truncated
        infos: list[dict[str, Any]] = [{} for _ in self._rows]
        for row in self._rows[done].tolist():
            infos[row] = {
                "terminal_observation": step.observations[row].copy(),
                "TimeLimit.truncated": bool(step.truncated[row] and not step.terminated[row]),
            }
            step.observations[row] = self._batch.restart(row, self._next, request=self._requests[row])
            self._next += 1
        return step.observations, step.rewards.astype(np.float32), done, infos

    def rams(self, rows: npt.NDArray[np.intp]) -> Array:
        """Return the emulators' memories, (b, 128)."""
        return self._batch.rams(rows)

    def close(self) -> None:
        """Let go of the games."""
        self._batch.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of every game: only `render_mode` is asked for, and there is none."""
        return [None for _ in self._indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Games have no attributes to set."""
        raise AttributeError(f"Atari games have no attribute {attr_name!r} to set: change the request instead.")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Games have no methods to call."""
        raise AttributeError(f"Atari games have no method {method_name!r} to call: use the batch itself.")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """No game is wrapped."""
        return [False for _ in self._indices(indices)]

    def _indices(self, indices: Any) -> Sequence[int]:
        chosen: Sequence[int] = list(self._get_indices(indices))
        return chosen
