"""Playing by copies: each worker process plays some of the games to their end with a copy of the player."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.playing import Player, play_batch
from moorelens.envs.rollouts import Rollouts, concatenate, in_order
from moorelens.errors import MooreLensError
from moorelens.runs.progress import Progress, TaskProgress

if TYPE_CHECKING:
    from moorelens.envs.atari import Emulators
    from moorelens.envs.pool import Workers

Kept = dict[str, Any]


class Parcel(NamedTuple):
    """How a worker makes a copy of a player: `make(kept, *details)`, `kept` being what it keeps between games."""

    make: Callable[..., PortablePlayer]
    details: tuple[Any, ...]


@runtime_checkable
class PortablePlayer(Player, Protocol):
    """A player of which a copy, in another process, chooses what it would choose itself, to the last bit."""

    def parcel(self) -> Parcel | None:
        """Return how a copy is made, or None where this player cannot be copied."""
        ...

    def findings(self, frames: npt.NDArray[Any]) -> Any:
        """Return what it found out about `frames (M, *obs)`, all seen while playing, that spares others the work."""
        ...

    def learn(self, frames: npt.NDArray[Any], findings: Any) -> None:
        """Take over what a copy found out about `frames (M, *obs)`."""
        ...


def play_shards(
    requests: Sequence[EnvironmentRequest],
    seeds: Sequence[int],
    player: Player,
    *,
    workers: Workers,
    max_steps: int | None,
    progress: Progress,
) -> Rollouts | None:
    """Deal the games round-robin to the workers, let copies of `player` play them and join what they recorded.

    The recording is that of `play` in one process, byte for byte. None where the player cannot be copied, or a copy
    failed in a way of its own: then the original has to play, and meets the failure itself where there is one.
    """
    parcel = player.parcel() if isinstance(player, PortablePlayer) else None
    if parcel is None or not isinstance(player, PortablePlayer):
        return None
    count = min(workers.count, len(seeds))
    workers.take()
    usable = False
    try:
        if not _dealt(requests, seeds, parcel, workers=workers, count=count, max_steps=max_steps):
            usable = True
            return None
        with progress.task("playing", total=len(seeds)) as task:
            answers = _answers(workers, count, task)
        usable = True
    finally:
        workers.give_back(usable=usable)
    for answer in answers:
        if answer[0] == "error":
            raise answer[1](answer[2])
    if any(answer[0] == "declined" for answer in answers):
        return None
    for _, part, findings in answers:
        player.learn(part.frames, findings)
    return in_order(concatenate([part for _, part, _ in answers]), _places(len(seeds), count))


def _dealt(
    requests: Sequence[EnvironmentRequest],
    seeds: Sequence[int],
    parcel: Parcel,
    *,
    workers: Workers,
    count: int,
    max_steps: int | None,
) -> bool:
    """Send the workers what they play; False, with nothing sent, where the parcel cannot travel."""
    for worker in range(count):
        dealt = (list(requests[worker::count]), [int(seed) for seed in seeds[worker::count]])
        try:
            workers.send(worker, ("play", *dealt, parcel, max_steps))
        except MooreLensError:
            raise
        except Exception:  # whatever a user's own module raises when it is to be sent; nothing has left yet
            return False
    return True


def _answers(workers: Workers, count: int, task: TaskProgress) -> list[tuple[Any, ...]]:
    """Return the last word of each worker; until then they say how many games have ended."""
    last: dict[int, tuple[Any, ...]] = {}
    while len(last) < count:
        for worker in workers.ready([worker for worker in range(count) if worker not in last]):
            said = workers.receive(worker)
            if isinstance(said, int):
                task.advance(said)
            else:
                last[worker] = said
    return [last[worker] for worker in range(count)]


def _places(episodes: int, count: int) -> npt.NDArray[np.int64]:
    """Return where each episode stands among those of the first worker, then the second, and so on."""
    dealt = np.concatenate([np.arange(worker, episodes, count) for worker in range(count)])
    return np.argsort(dealt).astype(np.int64)


class _Abandoned(Exception):
    """The parent is gone."""


class _Reporting:
    """Says through a pipe how many games have ended; raises `_Abandoned` when nobody listens any more."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def task(self, name: str, total: int | None = None) -> _Reporting:
        return self

    def advance(self, n: int = 1) -> None:
        # The parent says nothing while a worker plays: what can be read is the end of the pipe.
        if self._pipe.poll():
            raise _Abandoned
        if n:
            self._pipe.send(n)

    def note(self, text: str) -> None:
        pass

    def __enter__(self) -> _Reporting:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def play_dealt(
    pipe: Connection,
    requests: Sequence[EnvironmentRequest],
    seeds: Sequence[int],
    parcel: Parcel,
    max_steps: int | None,
    *,
    kept: Kept,
    emulators: Emulators,
) -> tuple[Any, ...] | None:
    """Play in a worker what it was dealt; return its last word, None where the parent is gone."""
    from moorelens.envs.workers import AtariBatch

    batch = None
    try:
        player = parcel.make(kept, *parcel.details)
        batch = AtariBatch(requests, seeds, emulators=emulators)
        played = play_batch(batch, seeds, player, max_steps=max_steps, progress=_Reporting(pipe))
        return "done", played, player.findings(played.frames)
    except (_Abandoned, BrokenPipeError):
        return None
    except MooreLensError as error:
        return "error", type(error), str(error)
    except Exception:  # a user's own code: the original meets it again, where it can be shown
        return ("declined",)
    finally:
        if batch is not None:
            batch.close()
