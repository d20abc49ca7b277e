"""Merging codes that decode to the same behaviour: fewer states and symbols, judged by the return they keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moorelens.envs.rollouts import Rollouts
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.quantisers.base import FittableQuantiser
from moorelens.fsm.quantisers.merged import merged
from moorelens.policies.batching import evaluate_in_chunks

Part = Literal["state", "observation"]
Codes = npt.NDArray[np.int8]

_SHRINK = 0.7  # each step of the ladder has so many of the codes of the one before
_PROBES = 64
_CHUNK = 64
_APART = 1e3  # between codes of different actions: more than any distance of decoded states


@dataclass(frozen=True, kw_only=True)
class Merging:
    """One attempt: how many codes of `part` were left of how many, the score, and whether it was good enough."""

    part: Part
    before: int
    after: int
    score: float
    kept: bool


def merge_codes(
    quantisers: Mapping[str, FittableQuantiser],
    *,
    network: MooreMachineNetwork,
    played: Rollouts,
    score: Callable[[MooreMachineNetwork], float],
    at_least: float,
) -> tuple[dict[str, FittableQuantiser], tuple[Merging, ...]]:
    """Merge codes as far as the score allows: states first, then symbols; return the quantisers and every attempt.

    `network`: the policy with `quantisers` inserted. `played`: episodes that it played (`NetworkPlayer`), whose codes
    and their frequencies count. `score`: return of a network on the selection seeds; a merge must reach `at_least`.

    Two state codes behave alike where what they stand for takes the same action and is led to near states by the 64
    symbols read most (Euclidean distance of the successors as decoded, weighted by how often each symbol is read); two
    symbols where they lead the 64 states visited most to near states. Codes are joined from the nearest pair on
    (average linkage), states of different actions never; the code met most often stands for its cluster. How far is
    found by bisection on a ladder of sizes, each 0.7 times the one before.
    """
    found, attempts = dict(quantisers), list[Merging]()
    parts: tuple[Part, Part] = ("state", "observation")
    for part in parts:
        clusters = _clusters(part, network, played)

        def attempt(size: int, part: Part = part, clusters: _Clusters = clusters) -> bool:
            candidate = {**found, part: clusters.merged(quantisers[part], size)}
            reached = score(_network(network, candidate))
            before = len(clusters.codes)
            attempts.append(Merging(part=part, before=before, after=size, score=reached, kept=reached >= at_least))
            return attempts[-1].kept

        size = _smallest(ladder(len(clusters.codes), floor=clusters.floor), attempt)
        if size < len(clusters.codes):
            found[part] = clusters.merged(quantisers[part], size)
    return found, tuple(attempts)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Clusters:
    """The codes of one part, most frequent first, what they lead to, and how few they may become."""

    codes: Codes
    behaviour: npt.NDArray[np.float64]
    floor: int

    def merged(self, quantiser: FittableQuantiser, size: int) -> FittableQuantiser:
        """Return `quantiser` with its codes in `size` clusters, each written as its most frequent code."""
        from sklearn.cluster import AgglomerativeClustering

        labels = AgglomerativeClustering(n_clusters=size, linkage="average").fit_predict(self.behaviour).tolist()
        first = {label: i for i, label in reversed(list(enumerate(labels)))}
        names = self.codes[[first[label] for label in labels]]
        return merged(quantiser, codes=torch.from_numpy(self.codes), names=torch.from_numpy(names))


def ladder(count: int, *, floor: int) -> list[int]:
    """Return the sizes to try, from `count` down to `floor`, each at most 0.7 times the one before."""
    sizes = [count]
    while sizes[-1] > floor:
        sizes.append(max(floor, min(sizes[-1] - 1, int(sizes[-1] * _SHRINK))))
    return sizes


def _smallest(sizes: list[int], good: Callable[[int], bool]) -> int:
    """Return the smallest good size by bisection, taking the first one, which needs no proof, for good."""
    low, high = 0, len(sizes)
    while high - low > 1:
        middle = (low + high) // 2
        if good(sizes[middle]):
            low = middle
        else:
            high = middle
    return sizes[low]


def _met(recorded: npt.NDArray[Any]) -> tuple[Codes, npt.NDArray[np.int64]]:
    """Return the codes (M, K) that were met and how often (M,), the most frequent first."""
    codes, counts = np.unique(recorded.astype(np.int8), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return codes[order], counts[order].astype(np.int64)


def _clusters(part: Part, network: MooreMachineNetwork, played: Rollouts) -> _Clusters:
    codes, _ = _met(played.extras["state" if part == "state" else "symbol"])
    behaviour, floor = _behaviour(part, network, played, codes), 1
    if part == "state":
        actions = _actions(network, codes)
        behaviour = np.concatenate([behaviour, _APART * np.eye(int(actions.max()) + 1)[actions]], axis=1)
        floor = len(np.unique(actions))
    return _Clusters(codes=codes, behaviour=behaviour, floor=floor)


def _behaviour(part: Part, network: MooreMachineNetwork, played: Rollouts, codes: Codes) -> npt.NDArray[np.float64]:
    """Return what each code (M,) leads to as one row: decoded successors under the most frequent partners."""
    other, counts = _met(played.extras["symbol" if part == "state" else "state"])
    partners, weights = other[:_PROBES], np.sqrt(counts[:_PROBES] / counts[:_PROBES].sum())
    own = network.state.decode if part == "state" else network.symbol_features
    theirs = network.symbol_features if part == "state" else network.state.decode
    mine = _evaluated(own, codes)
    columns = []
    for partner, weight in zip(_evaluated(theirs, partners), weights, strict=True):
        repeated = partner.expand(len(mine), -1)
        features, states = (repeated, mine) if part == "state" else (mine, repeated)
        # Where the next step begins: the decoded code, not what the core said.
        successors = evaluate_in_chunks(network.core, features, states, chunk=_CHUNK)[0]
        columns.append(weight * successors.numpy().astype(np.float64))
    return np.concatenate(columns, axis=1)


def _actions(network: MooreMachineNetwork, codes: Codes) -> npt.NDArray[np.int64]:
    def logits(states: Tensor) -> Tensor:
        return network.heads(states)[0]

    found = evaluate_in_chunks(logits, _evaluated(network.state.decode, codes), chunk=_CHUNK)[0]
    return np.asarray(found.argmax(dim=1).numpy(), dtype=np.int64)


def _evaluated(function: Callable[[Tensor], Tensor], codes: Codes) -> Tensor:
    found: Tensor = evaluate_in_chunks(function, torch.from_numpy(codes), chunk=_CHUNK)[0]
    return found


def _network(network: MooreMachineNetwork, quantisers: Mapping[str, FittableQuantiser]) -> MooreMachineNetwork:
    return MooreMachineNetwork(network.policy, observation=quantisers["observation"], state=quantisers["state"])
