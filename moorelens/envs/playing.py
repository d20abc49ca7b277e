"""Playing episodes: a player chooses, the environments answer, everything is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from moorelens.envs.episodes import EpisodeBatch, OverlappingBatch, Requests, Step, open_episodes, per_seed
from moorelens.envs.pool import Workers
from moorelens.envs.rollouts import Rollouts, by_first_sight
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
    request: Requests,
    seeds: Sequence[int],
    player: Player,
    *,
    workers: int | Workers = 1,
    max_steps: int | None = None,
    progress: Progress | None = None,
) -> Rollouts:
    """Play one episode per seed to its end and return the recording.

    `request`, `workers`: see `open_episodes`; a pool of several processes is dealt whole games where copies of the
    player can play them (`envs/shards.py`). `max_steps`: cut episodes off (truncated) after so many decisions, None
    for the environment's own limit. Raises `EnvironmentFailure` where an environment breaks.
    """
    if max_steps is not None and max_steps < 1:
        raise OptionError(f"An episode has at least one step and max_steps is {max_steps}: pass 1 or more, or None.")
    if isinstance(workers, Workers) and workers.count > 1 and len(seeds) > 1 and per_seed(request, seeds)[0].is_atari:
        from moorelens.envs.shards import play_shards

        dealt = play_shards(
            per_seed(request, seeds),
            seeds,
            player,
            workers=workers,
            max_steps=max_steps,
            progress=progress or NullProgress(),
        )
        if dealt is not None:
            return dealt
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
    """Play the episodes of an open batch from their start; see `play`.

    Where the batch can, one group of episodes is stepped while the player thinks about another.
    """
    recorder = _Recorder(len(seeds))
    observations = batch.reset()
    state = player.start(len(seeds))
    recording = player if isinstance(player, RecordingPlayer) else None
    overlapping = batch if isinstance(batch, OverlappingBatch) else None
    everyone: Rows = np.arange(len(seeds), dtype=np.intp)
    groups = [_Group(rows, observations[rows]) for rows in (overlapping.groups() if overlapping else [everyone])]
    with (progress or NullProgress()).task("playing", total=len(seeds)) as task:
        while groups:
            for group in groups:
                if group.begun:
                    step = overlapping.finish(group.rows) if overlapping else batch.step(group.rows, group.actions)
                    task.advance(group.advance(step, recorder, limit=max_steps))
                if len(group.rows):
                    group.actions = np.asarray(player.act(state, group.rows, group.observations), dtype=np.intp)
                    extras = recording.recorded(state) if recording else {}
                    if overlapping:
                        overlapping.begin(group.rows, group.actions)
                    group.begin(recorder, extras)
            groups = [group for group in groups if len(group.rows)]
    return recorder.rollouts(seeds)


@dataclass
class _Group:
    """Episodes that are stepped together: where they stand, and the step that has begun."""

    rows: Rows
    observations: Array
    actions: Rows = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    columns: dict[str, Array] = field(default_factory=dict)
    begun: bool = False
    steps: int = 0

    def begin(self, recorder: _Recorder, extras: Mapping[str, Array]) -> None:
        """Note what was seen, chosen and said."""
        self.columns = {"rows": self.rows, "frame": recorder.frame_ids(self.observations), "actions": self.actions}
        self.columns |= {f"extra/{name}": np.array(array) for name, array in extras.items()}
        self.begun = True

    def advance(self, step: Step, recorder: _Recorder, *, limit: int | None) -> int:
        """Record the step, keep the episodes that go on and return how many ended."""
        recorder.add(self.columns | {"rewards": step.rewards})
        self.steps += 1
        truncated = step.truncated | (limit is not None and self.steps >= limit)
        ended = step.terminated | truncated
        recorder.end(self.rows[ended], step.terminated[ended], truncated[ended])
        self.rows, self.observations = self.rows[~ended], step.observations[~ended]
        return int(ended.sum())


class _Recorder:
    """Collects steps in the order of play and hands them out episode by episode."""

    def __init__(self, episodes: int) -> None:
        self._known: dict[bytes, int] = {}
        self._shape: tuple[int, ...] = ()
        self._dtype = np.dtype(np.uint8)
        self._columns: dict[str, list[Array]] = {}
        self._terminated = np.zeros(episodes, dtype=bool)
        self._truncated = np.zeros(episodes, dtype=bool)

    def add(self, columns: Mapping[str, Array]) -> None:
        for name, array in columns.items():
            self._columns.setdefault(name, []).append(array)

    def end(self, rows: Rows, terminated: Array, truncated: Array) -> None:
        self._terminated[rows] = terminated
        self._truncated[rows] = truncated

    def rollouts(self, seeds: Sequence[int]) -> Rollouts:
        columns = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        rows = columns.pop("rows")
        order = np.argsort(rows, kind="stable")
        columns = {name: np.ascontiguousarray(column[order]) for name, column in columns.items()}
        # Frames are numbered by first sight in file order, so that the numbering does not depend on the batch.
        sequence, number = by_first_sight(columns["frame"])
        return Rollouts(
            frames=self._stacked(sequence),
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

    def _stacked(self, sequence: npt.NDArray[np.intp]) -> Array:
        frames = np.empty((len(sequence), *self._shape), dtype=self._dtype)
        keys = list(self._known)
        for place, number in enumerate(sequence.tolist()):
            frames[place] = np.frombuffer(keys[number], dtype=self._dtype).reshape(self._shape)
        return frames

    def frame_ids(self, observations: Array) -> npt.NDArray[np.int64]:
        """Return the numbers (b,) of `observations (b, *obs)`; those seen for the first time are kept."""
        known = self._known
        self._shape, self._dtype = observations.shape[1:], observations.dtype
        # The bytes of a frame are its key: they are what is kept of it, so they cost no memory of their own.
        ids = [known.setdefault(observation.tobytes(), len(known)) for observation in observations]
        return np.array(ids, dtype=np.int64)
