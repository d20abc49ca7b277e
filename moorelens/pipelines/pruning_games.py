"""The games on which candidates for pruning are judged; each is played once, and kept across a kill."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
import numpy as np

from moorelens.envs.config import EnvironmentRequest
from moorelens.envs.playing import play
from moorelens.envs.pool import Workers
from moorelens.envs.rollouts import Rollouts
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.evaluate import FallbackPlayer
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.prune import Outcome
from moorelens.fsm.reading import FeatureReader
from moorelens.runs.checkpoints import Checkpoint
from moorelens.runs.hashing import digest


class PruningGames:
    """Plays machines on the pruning seeds. Equal machines play equal games, so what was played is looked up.

    `network`: whether the quantised core answers where nothing was recorded, instead of the nearest symbol.
    """

    def __init__(
        self,
        request: EnvironmentRequest,
        seeds: tuple[int, ...],
        network: MooreMachineNetwork,
        reader: FeatureReader,
        *,
        helped: bool,
        workers: int | Workers,
        checkpoint: Checkpoint,
    ) -> None:
        self._request, self._seeds, self._network, self._reader = request, seeds, network, reader
        self._fallback: Any = "network" if helped else "nearest"
        self._workers, self._checkpoint = workers, checkpoint
        saved = checkpoint.load()
        self._known: dict[str, Any] = msgspec.msgpack.decode(saved["games"]) if saved else {}

    def __call__(self, machine: MooreMachine, *, open_loop: frozenset[int], rows: Collection[int]) -> Outcome:
        """Return the outcome of the games `rows`."""
        chosen = tuple(self._seeds[row] for row in rows)
        edges = [getattr(machine, name) for name in ("sources", "symbols", "targets", "counts", "actions", "visits")]
        key = digest([*edges, sorted(open_loop), chosen])
        if key not in self._known:
            self._known[key] = _packed(self._play(machine, open_loop, chosen), machine.start)
            if self._checkpoint.due():
                self._checkpoint.save({"games": msgspec.msgpack.encode(self._known)})
        return _unpacked(self._known[key])

    def _play(self, machine: MooreMachine, open_loop: frozenset[int], seeds: tuple[int, ...]) -> Rollouts:
        player = FallbackPlayer(
            machine,
            self._network,
            unseen=self._fallback,
            undefined=self._fallback,
            open_loop=open_loop,
            features=self._reader,
        )
        return play(self._request, seeds, player, workers=self._workers)


def _packed(played: Rollouts, start: int) -> list[Any]:
    """Return what `_unpacked` makes an outcome of, in lists."""
    decided, symbols, position = (played.extras[name] for name in ("decided", "symbol", "position"))
    games = []
    for first, end in zip(played.offsets[:-1].tolist(), played.offsets[1:].tolist(), strict=True):
        before = np.concatenate([[start], position[first : end - 1]])
        after = np.where(decided[first:end], position[first:end], -1)
        pairs = np.unique(np.stack([before, after], axis=1), axis=0)
        games.append(
            [
                float(played.rewards[first:end].sum()),
                int(np.sum(~decided[first:end])),
                pairs.tolist(),
                np.unique(symbols[first:end]).tolist(),
            ]
        )
    return games


def _unpacked(games: list[Any]) -> Outcome:
    return Outcome(
        returns=np.array([game[0] for game in games], dtype=np.float64),
        gaps=np.array([game[1] for game in games], dtype=np.int64),
        passed=tuple(frozenset((a, b) for a, b in game[2]) for game in games),
        read=tuple(frozenset(game[3]) for game in games),
    )
