"""The memory tasks under their Gymnasium ids, registered when one of them is first asked for."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium

PREFIX = "moorelens/"


class MemoryTask(NamedTuple):
    """What is registered: where its class is, its arguments, its time limit and the return of a perfect player."""

    entry_point: str
    kwargs: dict[str, Any]
    max_episode_steps: int | None
    reward_threshold: float | None


def _tasks() -> dict[str, MemoryTask]:
    modes, words = "moorelens.envs.memory.modes:ModeCounterEnv", "moorelens.envs.memory.reading"
    walks = "moorelens.envs.memory.corridors"
    tasks = {
        f"{kind.capitalize()}-v0": MemoryTask(modes, {"kind": kind}, 300, 300.0)
        for kind in ("amnesia", "blind", "tracker")
    }
    tasks |= {f"Tomita{n}-v0": MemoryTask(f"{words}:TomitaEnv", {"number": n}, None, 1.0) for n in range(1, 8)}
    return tasks | {
        "Tomita3Later-v0": MemoryTask(f"{words}:TomitaEnv", {"number": 3, "variant": "later"}, None, 1.0),
        "Language-v0": MemoryTask(f"{words}:LanguageEnv", {}, None, 1.0),
        "TMaze-v0": MemoryTask(f"{walks}:TMazeEnv", {}, None, 1.0),
        "RepeatPrevious-v0": MemoryTask(f"{walks}:RepeatPreviousEnv", {}, None, 48.0),
        "CartPoleNoVelocity-v0": MemoryTask(f"{walks}:CartPoleNoVelocityEnv", {}, 500, 475.0),
    }


MEMORY_TASKS = {PREFIX + name: task for name, task in _tasks().items()}


def register_memory_tasks() -> tuple[str, ...]:
    """Make the memory tasks known to `gymnasium.make` and return their ids; calling it again changes nothing.

    MooreLens calls it itself for every id that begins with `moorelens/`, in worker processes too.
    """
    for env_id, task in MEMORY_TASKS.items():
        if env_id not in gymnasium.registry:
            gymnasium.register(
                env_id,
                entry_point=task.entry_point,
                kwargs=task.kwargs,
                max_episode_steps=task.max_episode_steps,
                reward_threshold=task.reward_threshold,
            )
    return tuple(MEMORY_TASKS)
