"""Playing episodes: a player chooses, the environments answer, everything is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.episodes import EpisodeBatch, open_episodes
from moorelens.envs.rollouts import Rollouts
from moorelens.errors import OptionError
from moorelens.runs.progress import NullProgress, Progress

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.intp]


class Player(Protocol):
    """Whatever chooses actions: a policy, a Moore machine network, a machine, a table."""

    def start(self, n: int) -> Any:
        """Return the memory of `n` fresh episodes: any object with row-indexed arrays."""
        ...

    def act(self, state: Any, rows: Rows, observations: Array) -> npt.NDArray[np.intp]:
        """Choose actions (b,) for `observations (b, *obs)` of `rows (b,)`, and change `state` at these rows only."""
        ...


@runtime_checkable
class RecordingPlayer(Player, Protocol):
    """A player that has more to say about each choice than the action."""

    def recorded(self, state: Any) -> Mapping[str, Array]:
        """Return, for the rows of the last `act`, name -> (b, ...); it becomes `Rollouts.extras`. May be empty."""
        ...


def play(
    request: EnvironmentRequest,
    seeds: Sequence[int],
    player: Player,
    *,
    workers: int = 1,
    max_steps: int | None = None,
    progress: Progress | None = None,
) -> Rollouts:
    """Play one episode per seed to its end and return the recording.

    `max_steps`: cut episodes off (truncated) after so many decisions, None for the environment's own limit.
    Raises `EnvironmentFailure` where an environment breaks.
    """
    if max_steps is not None and max_steps < 1:
        raise OptionError(f"An episode has at least one step and max_steps is {max_steps}: pass 1 or more, or None.")
    batch = open_episodes(request, seeds, workers=workers)
    try:
        return play_batch(batch, seeds, player, max_steps=max_steps, progress=progress)
    finally:
        batch.close()


def play_batch(
    batch: EpisodeBatch,
    seeds: Sequence[int],
    player: Player,
    *,
    max_steps: int | None = None,
    progress: Progress | None = None,
) -> Rollouts:
    """Play the episodes of an open batch from their start; see `play`."""
    recorder = _Recorder(len(seeds))
    observations = batch.reset()
    state = player.start(len(seeds))
    rows: Rows = np.arange(len(seeds), dtype=np.intp)
    limit = np.inf if max_steps is None else max_steps
    done = 0
    with (progress or NullProgress()).task("playing", total=len(seeds)) as task:
        while len(rows):
            actions = np.asarray(player.act(state, rows, observations), dtype=np.intp)
            extras = player.recorded(state) if isinstance(player, RecordingPlayer) else {}
            step = batch.step(rows, actions)
            recorder.add(rows, observations, actions, step.rewards, extras)
            done += 1
            truncated = step.truncated | (done >= limit)
            ended = step.terminated | truncated
            recorder.end(rows[ended], step.terminated[ended], truncated[ended])
            task.advance(int(ended.sum()))
            rows, observations = rows[~ended], step.observations[~ended]
    return recorder.rollouts(seeds)


class _Recorder:
    """Collects steps in the order of play and hands them out episode by episode."""

    def __init__(self, episodes: int) -> None:
        self._known: dict[bytes, int] = {}
        self._frames: list[Array] = []
        self._columns: dict[str, list[Array]] = {}
        self._terminated = np.zeros(episodes, dtype=bool)
        self._truncated = np.zeros(episodes, dtype=bool)

    def add(self, rows: Rows, observations: Array, actions: Array, rewards: Array, extras: Mapping[str, Array]) -> None:
        columns = {"rows": rows, "frame": self._frame_ids(observations), "actions": actions, "rewards": rewards}
        for name, array in (columns | {f"extra/{name}": array for name, array in extras.items()}).items():
            self._columns.setdefault(name, []).append(np.array(array))

    def end(self, rows: Rows, terminated: Array, truncated: Array) -> None:
        self._terminated[rows] = terminated
        self._truncated[rows] = truncated

    def rollouts(self, seeds: Sequence[int]) -> Rollouts:
        columns = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        rows = columns.pop("rows")
        order = np.argsort(rows, kind="stable")
        columns = {name: np.ascontiguousarray(column[order]) for name, column in columns.items()}
        # Frames are numbered by first sight in file order, so that the numbering does not depend on the batch.
        first_seen = np.unique(columns["frame"], return_index=True)[1]
        sequence = np.argsort(first_seen, kind="stable")
        number = np.empty(len(sequence), dtype=np.int32)
        number[sequence] = np.arange(len(sequence), dtype=np.int32)
        return Rollouts(
            frames=np.stack([self._frames[i] for i in sequence]),
            frame_index=number[columns["frame"]],
            actions=columns["actions"].astype(np.int32),
            rewards=columns["rewards"].astype(np.float64),
            offsets=np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(seeds)))]).astype(np.int64),
            terminated=self._terminated,
            truncated=self._truncated,
            seeds=np.array(seeds, dtype=np.int64),
            extras={
                name.removeprefix("extra/"): column for name, column in columns.items() if name.startswith("extra/")
            },
        )

    def _frame_ids(self, observations: Array) -> npt.NDArray[np.int64]:
        ids = np.empty(len(observations), dtype=np.int64)
        for i, observation in enumerate(observations):
            key = observation.tobytes()
            known = self._known.get(key)
            if known is None:
                known = self._known[key] = len(self._frames)
                self._frames.append(observation.copy())
            ids[i] = known
        return ids
