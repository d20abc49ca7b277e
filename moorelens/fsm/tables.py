"""The quantised core as a table that fills itself: each (state, symbol) is asked of the network once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moorelens.fsm.network import MooreMachineNetwork, chunk_sizes, unrounded
from moorelens.policies.batching import ChunkedFunction, RowWise, evaluate_in_chunks

Codes = npt.NDArray[np.int8]
Ids = npt.NDArray[np.int64]

_CHUNK = 64


class NetworkTable:
    """States and symbols that a network has met, numbered by first sight, and the successors that it gave.

    Evaluating a pair twice could give two codes, since floating point differs between batch sizes; evaluated once, in
    padded chunks, the network is a function, and the machine read off it is exact.
    """

    def __init__(self, network: MooreMachineNetwork) -> None:
        self.network = network
        before, self._sizes = unrounded(network.state), chunk_sizes(network)
        self._read_symbols = self._chunked(network.symbol_features)
        self._decode = self._chunked(network.state.decode)
        self._judge = self._chunked(self._heads)
        self._advance = self._chunked(
            self._successor_codes,
            unrounded=before and (lambda features, vectors: before(self._core(features, vectors))),
        )
        if before is None:  # nothing shows whether a bit changes under the rounding
            self._advance = ChunkedFunction(self._successor_codes, chunk=_CHUNK, sizes=(), call_cost=_CHUNK)
        self._symbols: dict[bytes, int] = {}
        self._states: dict[bytes, int] = {}
        self._successors: dict[tuple[int, int], int] = {}
        self._symbol_features: list[Tensor] = []
        self._vectors: list[Tensor] = []
        self._codes: list[Codes] = []
        self._actions: list[int] = []
        self._values: list[float] = []
        self.start = self._start()

    @property
    def start_code(self) -> Codes:
        """The code (K,) of the start state."""
        return self._codes[self.start]

    def symbols(self, codes: Codes) -> Ids:
        """Return the symbol ids (b,) of symbol codes (b, L)."""
        keys = [row.tobytes() for row in codes]
        fresh = list({key: i for i, key in enumerate(keys) if key not in self._symbols}.values())
        if fresh:
            found = self._read_symbols(torch.from_numpy(codes[fresh]))[0]
            for row, i in enumerate(fresh):
                self._symbols[keys[i]] = len(self._symbol_features)
                self._symbol_features.append(found[row])
        return np.array([self._symbols[key] for key in keys], dtype=np.int64)

    def states(self, codes: Codes) -> Ids:
        """Return the state ids (b,) of state codes (b, K)."""
        keys = [row.tobytes() for row in codes]
        fresh = list({key: i for i, key in enumerate(keys) if key not in self._states}.values())
        if fresh:
            self._add_states(codes[fresh], [keys[i] for i in fresh])
        return np.array([self._states[key] for key in keys], dtype=np.int64)

    def step(self, states: Ids, symbols: Ids) -> Ids:
        """Return the successors (b,) of `states (b,)` under `symbols (b,)`."""
        pairs = list(zip(states.tolist(), symbols.tolist(), strict=True))
        fresh = list(dict.fromkeys(pair for pair in pairs if pair not in self._successors))
        if fresh:
            vectors = torch.stack([self._vectors[state] for state, _ in fresh])
            features = torch.stack([self._symbol_features[symbol] for _, symbol in fresh])
            codes = self._advance(features, vectors)[0]
            self._successors |= dict(zip(fresh, self.states(codes.numpy()).tolist(), strict=True))
        return np.array([self._successors[pair] for pair in pairs], dtype=np.int64)

    def codes(self, states: Ids) -> Codes:
        """Return the codes (b, K) of state ids."""
        return np.stack([self._codes[state] for state in states.tolist()])

    def actions(self, states: Ids) -> Ids:
        """Return the greedy action (b,) of each state."""
        return np.array([self._actions[state] for state in states.tolist()], dtype=np.int64)

    def values(self, states: Ids) -> npt.NDArray[np.float64]:
        """Return the value (b,) of each state, NaN where the policy has none."""
        return np.array([self._values[state] for state in states.tolist()], dtype=np.float64)

    def _start(self) -> int:
        raw = self.network.policy.initial_state(1)
        codes = evaluate_in_chunks(self.network.state.encode, raw, chunk=_CHUNK)[0]
        return int(self.states(codes.numpy())[0])

    def _chunked(self, function: RowWise, *, unrounded: RowWise | None = None) -> ChunkedFunction:
        return ChunkedFunction(function, chunk=_CHUNK, sizes=self._sizes, call_cost=_CHUNK, unrounded=unrounded)

    def _core(self, features: Tensor, vectors: Tensor) -> Tensor:
        return self.network.policy.core(features, vectors)

    def _successor_codes(self, features: Tensor, vectors: Tensor) -> Tensor:
        return self.network.state.encode(self._core(features, vectors))

    def _add_states(self, codes: Codes, keys: list[bytes]) -> None:
        vectors = self._decode(torch.from_numpy(codes))[0]
        logits, *value = self._judge(vectors)
        actions = logits.argmax(dim=1).tolist()
        values = value[0].tolist() if value else [float("nan")] * len(keys)
        for row, key in enumerate(keys):
            self._states[key] = len(self._vectors)
            self._vectors.append(vectors[row])
            self._codes.append(codes[row])
            self._actions.append(actions[row])
            self._values.append(values[row])

    def _heads(self, vectors: Tensor) -> tuple[Tensor, ...]:
        logits, value = self.network.heads(vectors)
        return (logits,) if value is None else (logits, value)
