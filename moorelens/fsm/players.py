"""Everything that plays an episode in a policy's place: the quantised network, machines, and a table of symbols."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from moorelens.envs.shards import Kept, Parcel, PortablePlayer
from moorelens.fsm.automata.run import Stepper
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.reading import FeatureReader, SymbolReader
from moorelens.fsm.tables import NetworkTable
from moorelens.policies.base import identity
from moorelens.policies.reading import reader_in

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.intp]
Ids = npt.NDArray[np.int64]


@dataclass(kw_only=True)
class Positions:
    """Where each of n episodes stands, and what was recorded in the last `act`."""

    at: npt.NDArray[Any]
    last: dict[str, Array] = field(default_factory=dict)


class _SharedFeatures:
    """What a player and its copies in other processes (`PortablePlayer`) tell one another: features of frames."""

    _reader: SymbolReader

    def findings(self, frames: Array) -> Array | None:
        """Return the features (M, F) of `frames (M, *obs)`."""
        return self._reader.features.known(frames)

    def learn(self, frames: Array, findings: Array | None) -> None:
        """Take over the features of `frames (M, *obs)` that a copy has read."""
        self._reader.features.adopt(frames, findings)


class NetworkPlayer(_SharedFeatures):
    """Plays a Moore machine network through its table; records state codes, symbol codes and values."""

    def __init__(self, network: MooreMachineNetwork, *, features: FeatureReader | None = None) -> None:
        self.table = NetworkTable(network)
        self._reader = SymbolReader(network, features=features)

    def start(self, n: int) -> Positions:
        """Return `n` episodes in the start state."""
        return Positions(at=np.full(n, self.table.start, dtype=np.int64))

    def act(self, state: Positions, rows: Rows, observations: Array) -> npt.NDArray[np.intp]:
        """Choose actions (b,) for `observations (b, *obs)` of `rows (b,)`."""
        codes = self._reader.codes(observations)
        reached = self.table.step(state.at[rows], self.table.symbols(codes))
        state.at[rows] = reached
        state.last = {"state": self.table.codes(reached), "symbol": codes, "value": self.table.values(reached)}
        return self.table.actions(reached).astype(np.intp)

    def parcel(self) -> Parcel | None:
        """Return what makes a copy in another process (`PortablePlayer`)."""
        return _parcel(_network_copy, self.table.network)

    def recorded(self, state: Positions) -> Mapping[str, Array]:
        """Return `state (b, K)`, `symbol (b, L)` and `value (b,)` of the last `act`."""
        return state.last


class MachinePlayer(_SharedFeatures):
    """Plays a compiled machine with the network's core and heads unloaded (design, "Who plays").

    Only the feature net and the observation quantiser run. Records `decided` (a recorded transition chose the step),
    `known` (the symbol had been seen) and `position`.
    """

    def __init__(
        self, stepper: Stepper, network: MooreMachineNetwork, *, features: FeatureReader | None = None
    ) -> None:
        self._stepper, self._network = stepper, network
        self._reader = SymbolReader(network, features=features)

    def start(self, n: int) -> Positions:
        """Return `n` runs before their first symbol."""
        return Positions(at=self._stepper.start(n))

    def act(self, state: Positions, rows: Rows, observations: Array) -> npt.NDArray[np.intp]:
        """Choose actions (b,) for `observations (b, *obs)` of `rows (b,)`."""
        symbols, known = self._stepper.recognise(self._reader.codes(observations))
        reached, actions, decided = self._stepper.step(state.at[rows], symbols)
        state.at[rows] = reached
        state.last = {"decided": decided & known, "known": known, "position": reached}
        return actions.astype(np.intp)

    def parcel(self) -> Parcel | None:
        """Return what makes a copy in another process (`PortablePlayer`)."""
        return _parcel(_machine_copy, self._network, self._stepper)

    def recorded(self, state: Positions) -> Mapping[str, Array]:
        """Return `decided`, `known` and `position`, each (b,), of the last `act`."""
        return state.last


class AssistedPlayer:
    """Plays a machine that asks the network wherever it has no recorded transition (`returns_assisted`).

    An unknown symbol or an undefined transition is answered by the quantised core, evaluated at the code of the
    machine's state; the run rejoins the machine as soon as the code it reaches is one of the machine's.
    """

    def __init__(
        self,
        network: MooreMachineNetwork,
        *,
        edges: Mapping[tuple[bytes, bytes], bytes],
        features: FeatureReader | None = None,
    ) -> None:
        self._edges = edges
        self.table = NetworkTable(network)
        self._reader = SymbolReader(network, features=features)

    def start(self, n: int) -> Positions:
        """Return `n` episodes in the start state."""
        return Positions(at=np.full(n, self.table.start, dtype=np.int64))

    def act(self, state: Positions, rows: Rows, observations: Array) -> npt.NDArray[np.intp]:
        """Choose actions (b,) for `observations (b, *obs)` of `rows (b,)`."""
        codes = self._reader.codes(observations)
        at = state.at[rows]
        pairs = zip(self.table.codes(at), codes, strict=True)
        targets = [self._edges.get((state_code.tobytes(), code.tobytes())) for state_code, code in pairs]
        helped = np.array([target is None for target in targets])
        reached = np.empty(len(rows), dtype=np.int64)
        if helped.any():
            reached[helped] = self.table.step(at[helped], self.table.symbols(codes[helped]))
        if not helped.all():
            found = [np.frombuffer(target, dtype=np.int8) for target in targets if target is not None]
            reached[~helped] = self.table.states(np.stack(found))
        state.at[rows] = reached
        state.last = {"decided": ~helped}
        return self.table.actions(reached).astype(np.intp)

    def recorded(self, state: Positions) -> Mapping[str, Array]:
        """Return `decided (b,)` of the last `act`."""
        return state.last


def _parcel(make: Callable[..., PortablePlayer], network: MooreMachineNetwork, *details: Any) -> Parcel | None:
    # Several threads may round otherwise than the one that a worker has.
    if torch.get_num_threads() != 1:
        return None
    return Parcel(make, (identity(network.policy), network, *details))


def _network_copy(kept: Kept, key: str, network: MooreMachineNetwork) -> NetworkPlayer:
    torch.set_num_threads(1)
    return NetworkPlayer(network, features=reader_in(kept, key, network.policy))


def _machine_copy(kept: Kept, key: str, network: MooreMachineNetwork, stepper: Stepper) -> MachinePlayer:
    torch.set_num_threads(1)
    return MachinePlayer(stepper, network, features=reader_in(kept, key, network.policy))
