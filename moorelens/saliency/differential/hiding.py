"""What hiding a part of the observation costs: the network plays, and from a decision point on it no longer sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.players import NetworkPlayer, Positions
from moorelens.fsm.reading import FeatureReader

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.intp]


@dataclass(kw_only=True)
class HidingState:
    """Where each of n episodes stands, and whether it has passed the decision point: `hiding (n,)`."""

    inner: Positions
    hiding: npt.NDArray[np.bool_]


class HidingPlayer:
    """The quantised network, which no longer sees `parts` once it has been in the state of a decision point.

    `code (K,)`: of that state. `parts`: indices into the flat observation, all channels of an image alike. `fill`: what
    is shown there instead, of the shape of an observation.
    """

    def __init__(
        self,
        network: MooreMachineNetwork,
        *,
        code: npt.NDArray[np.int8],
        parts: npt.NDArray[np.int64],
        fill: Array,
        features: FeatureReader | None = None,
    ) -> None:
        self._inner = NetworkPlayer(network, features=features)
        self._state = int(self._inner.table.states(code[None])[0])
        shape = fill.shape if fill.ndim < 3 else (1, *fill.shape[1:])
        hidden = np.zeros(int(np.prod(shape)), dtype=np.bool_)
        hidden[parts] = True
        self._hidden, self._fill = np.broadcast_to(hidden.reshape(shape), fill.shape), fill

    def start(self, n: int) -> HidingState:
        """Return `n` episodes in the start state, seeing everything."""
        return HidingState(inner=self._inner.start(n), hiding=np.zeros(n, dtype=np.bool_))

    def act(self, state: HidingState, rows: Rows, observations: Array) -> npt.NDArray[np.intp]:
        """Choose actions (b,) for `observations (b, *obs)` of `rows (b,)`."""
        state.hiding[rows] |= state.inner.at[rows] == self._state
        blind = state.hiding[rows].reshape(-1, *[1] * (observations.ndim - 1))
        seen = np.where(blind & self._hidden[None], self._fill[None].astype(observations.dtype), observations)
        return self._inner.act(state.inner, rows, seen)

    def recorded(self, state: HidingState) -> Mapping[str, Array]:
        """Return what the network records of the last `act`."""
        return self._inner.recorded(state.inner)
