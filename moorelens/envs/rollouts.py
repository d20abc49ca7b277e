"""Recorded episodes, with every distinct observation kept once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.errors import InvariantError
from moorelens.runs.arrays import decode_arrays, encode_arrays

Array = npt.NDArray[Any]
_EXTRA = "extra/"


@dataclass(frozen=True, kw_only=True, eq=False)
class Rollouts:
    """N episodes of T steps in all, episode after episode; the arrays are read-only.

    `frames (M, *obs)`: the distinct observations in the order of first sight within the file (episode by episode).
    `frame_index (T,) int32`: which frame was seen before each action. `actions (T,) int32`, `rewards (T,) float64`.
    `offsets (N+1,) int64`: episode n is steps offsets[n]:offsets[n+1].
    `terminated`, `truncated (N,) bool`: how it ended.
    `seeds (N,) int64`. `extras`: what the player recorded, name -> (T, ...) (see `RecordingPlayer`).
    """

    frames: Array
    frame_index: Array
    actions: Array
    rewards: Array
    offsets: Array
    terminated: Array
    truncated: Array
    seeds: Array
    extras: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the arrays fit each other and make them read-only."""
        steps, episodes = len(self.actions), len(self.seeds)
        per_step = [self.frame_index, self.actions, self.rewards, *self.extras.values()]
        fits = (
            all(len(array) == steps for array in per_step)
            and len(self.offsets) == episodes + 1
            and len(self.terminated) == len(self.truncated) == episodes
            and (episodes == 0 or (self.offsets[0] == 0 and self.offsets[-1] == steps))
            and bool((np.diff(self.offsets) >= 0).all())
            and (steps == 0 or (self.frame_index.min() >= 0 and self.frame_index.max() < len(self.frames)))
        )
        if not fits:
            raise InvariantError(
                "The arrays of a rollout must agree in length and these do not: record the episodes again."
            )
        for array in (*per_step, self.frames, self.offsets, self.terminated, self.truncated, self.seeds):
            array.setflags(write=False)

    @property
    def returns(self) -> npt.NDArray[np.float64]:
        """The undiscounted return of each episode, (N,)."""
        spans = zip(self.offsets[:-1], self.offsets[1:], strict=True)
        return np.array([self.rewards[a:b].sum() for a, b in spans], dtype=np.float64)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The number of steps of each episode, (N,)."""
        return np.diff(self.offsets).astype(np.int64)

    def to_bytes(self) -> bytes:
        """Return an `.npz` file that is the same, byte for byte, for equal rollouts."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extras"}
        return encode_arrays(arrays | {_EXTRA + name: array for name, array in self.extras.items()})

    @classmethod
    def from_bytes(cls, data: bytes) -> Rollouts:
        """Read what `to_bytes` wrote."""
        arrays = dict(decode_arrays(data))
        extras = {name.removeprefix(_EXTRA): arrays.pop(name) for name in sorted(arrays) if name.startswith(_EXTRA)}
        return cls(**arrays, extras=extras)


def concatenate(parts: Sequence[Rollouts]) -> Rollouts:
    """Return the episodes of all `parts` as one recording; frames that recur between parts are kept once.

    Raises `InvariantError` where there is no part, or the parts recorded different things.
    """
    if not parts or any(part.extras.keys() != parts[0].extras.keys() for part in parts):
        raise InvariantError(
            "Recordings are joined when they hold the same things, and these do not: record them alike."
        )
    known: dict[bytes, int] = {}
    frames: list[Array] = []
    index: list[Array] = []
    for part in parts:
        places = np.empty(len(part.frames), dtype=np.int32)
        for i, frame in enumerate(part.frames):
            key = frame.tobytes()
            if key not in known:
                known[key] = len(frames)
                frames.append(frame)
            places[i] = known[key]
        index.append(places[part.frame_index])
    steps = np.cumsum([0, *(len(part.actions) for part in parts)])
    offsets = [part.offsets[1:] + first for part, first in zip(parts, steps, strict=False)]
    return Rollouts(
        frames=np.stack(frames) if frames else parts[0].frames,
        frame_index=np.concatenate(index),
        actions=np.concatenate([part.actions for part in parts]),
        rewards=np.concatenate([part.rewards for part in parts]),
        offsets=np.concatenate([[0], *offsets]).astype(np.int64),
        terminated=np.concatenate([part.terminated for part in parts]),
        truncated=np.concatenate([part.truncated for part in parts]),
        seeds=np.concatenate([part.seeds for part in parts]),
        extras={name: np.concatenate([part.extras[name] for part in parts]) for name in parts[0].extras},
    )


def in_order(rollouts: Rollouts, order: npt.NDArray[np.int64]) -> Rollouts:
    """Return the same episodes in another `order (N,)`, frames numbered by first sight in it."""
    spans = [np.arange(rollouts.offsets[n], rollouts.offsets[n + 1]) for n in order.tolist()]
    steps = np.concatenate(spans).astype(np.int64)
    index = rollouts.frame_index[steps]
    sequence, number = by_first_sight(index)
    return Rollouts(
        frames=rollouts.frames[sequence],
        frame_index=number[index],
        actions=rollouts.actions[steps],
        rewards=rollouts.rewards[steps],
        offsets=np.concatenate([[0], np.cumsum([len(span) for span in spans])]).astype(np.int64),
        terminated=rollouts.terminated[order],
        truncated=rollouts.truncated[order],
        seeds=rollouts.seeds[order],
        extras={name: array[steps] for name, array in rollouts.extras.items()},
    )


def by_first_sight(index: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
    """Return the numbers that `index (T,)` holds in the order of their first place, and for each number its new one."""
    seen, first = np.unique(index, return_index=True)
    sequence = seen[np.argsort(first, kind="stable")]
    number = np.zeros(int(sequence.max(initial=-1)) + 1, dtype=np.int32)
    number[sequence] = np.arange(len(sequence), dtype=np.int32)
    return sequence, number
