"""A policy as a player: batched, greedy or sampling, each row with a memory of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moorelens.envs.shards import Kept, Parcel
from moorelens.errors import PolicyFailure
from moorelens.policies.base import RecurrentPolicy, SamplesFromFeatures, identity
from moorelens.policies.batching import ChunkedFunction
from moorelens.policies.reading import FeatureReader, reader_in

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.intp]
Recordable = Literal["logits", "values", "hidden", "features"]

STEP_CHUNK, _STEP_SIZES, _STEP_CALL_COST = 64, (4, 5, 6, 8, 10, 12, 16, 32), 64


@dataclass(kw_only=True)
class PolicyMemory:
    """What a policy player remembers of n episodes: `hidden (n, H)`, and what it recorded in its last `act`."""

    hidden: Tensor
    rngs: list[np.random.Generator]
    reader: FeatureReader
    last: dict[str, Array] = field(default_factory=dict)


class PolicyPlayer:
    """Plays a `RecurrentPolicy`; a row's choices depend on its own observations only.

    `greedy`: the likeliest action (default), or else one sampled from the policy with a generator per row drawn from
    `seed`. `record`: which of logits, values, hidden (the state after the step) and features go into `Rollouts.extras`.
    `chunk`: rows per network call, padded, so that the result does not depend on how many episodes are still running
    (default 64 for vectors, 2 for images, of which a single game shows one at a time). `features`: a reader of this
    policy that knows images from earlier episodes (default: images are forgotten at each `start`).
    Raises `PolicyFailure` where the policy does not answer in finite numbers.
    """

    def __init__(
        self,
        policy: RecurrentPolicy,
        *,
        greedy: bool = True,
        seed: int | None = None,
        record: Iterable[Recordable] = (),
        chunk: int | None = None,
        features: FeatureReader | None = None,
    ) -> None:
        """Wrap a policy; nothing is evaluated yet."""
        self._policy, self._greedy, self._seed = policy, greedy, seed or 0
        self._record = frozenset(record)
        self._chunk, self._reader = chunk, features
        self._advance = ChunkedFunction(self._step, chunk=STEP_CHUNK, sizes=_STEP_SIZES, call_cost=_STEP_CALL_COST)

    def start(self, n: int) -> PolicyMemory:
        """Return the memory of `n` fresh episodes."""
        with torch.no_grad():
            hidden = self._policy.initial_state(n).clone()
        rngs = [] if self._greedy else [np.random.default_rng([self._seed, row]) for row in range(n)]
        reader = self._reader or FeatureReader(self._policy, chunk=self._chunk)
        return PolicyMemory(hidden=hidden, rngs=rngs, reader=reader)

    def act(self, state: PolicyMemory, rows: Rows, observations: Array) -> npt.NDArray[np.intp]:
        """Choose actions (b,) for `observations (b, *obs)` of `rows (b,)`."""
        features = state.reader.features(observations)
        index = torch.from_numpy(np.asarray(rows, dtype=np.int64))
        hidden, logits, *value = self._advance(features, state.hidden[index])
        state.hidden[index] = hidden
        found = {"logits": logits, "hidden": hidden, "features": features} | ({"values": value[0]} if value else {})
        state.last = {name: found[name].cpu().numpy() for name in sorted(self._record & found.keys())}
        scores = logits.cpu().numpy()
        if not np.isfinite(scores).all():
            raise PolicyFailure(_no_number(self._policy, rows, scores))
        return np.asarray(scores.argmax(axis=1), dtype=np.intp) if self._greedy else self._sample(state, rows, logits)

    def recorded(self, state: PolicyMemory) -> Mapping[str, Array]:
        """Return what `record` asked for, for the rows of the last `act`."""
        return state.last

    def parcel(self) -> Parcel | None:
        """Return what makes a copy of a greedy player in another process (`PortablePlayer`)."""
        # What is drawn depends on a row's place, and several threads may round otherwise than one.
        if not self._greedy or torch.get_num_threads() != 1:
            return None
        key = identity(self._policy) if self._reader else None
        return Parcel(_copy, (self._policy, key, tuple(sorted(self._record)), self._chunk))

    def findings(self, frames: Array) -> Array | None:
        """Return the features (M, F) of `frames (M, *obs)` where they are kept from one play to the next."""
        return self._reader.known(frames) if self._reader else None

    def learn(self, frames: Array, findings: Array | None) -> None:
        """Take over the features of `frames (M, *obs)` that a copy has read."""
        if self._reader:
            self._reader.adopt(frames, findings)

    def _step(self, features: Tensor, hidden: Tensor) -> tuple[Tensor, ...]:
        hidden = self._policy.core(features, hidden)
        logits, value = self._policy.heads(hidden)
        if not self._greedy and isinstance(self._policy, SamplesFromFeatures):
            logits = self._policy.logits_of(features)
        return (hidden, logits) if value is None else (hidden, logits, value)

    def _sample(self, state: PolicyMemory, rows: Rows, logits: Tensor) -> npt.NDArray[np.intp]:
        cumulative = torch.softmax(logits.double(), dim=1).cumsum(dim=1).cpu().numpy()
        draws = np.array([state.rngs[row].random() for row in rows])
        chosen = (cumulative < draws[:, None] * cumulative[:, -1:]).sum(axis=1)
        return np.asarray(np.minimum(chosen, cumulative.shape[1] - 1), dtype=np.intp)


def _copy(
    kept: Kept, policy: RecurrentPolicy, key: str | None, record: tuple[Recordable, ...], chunk: int | None
) -> PolicyPlayer:
    torch.set_num_threads(1)
    reader = reader_in(kept, key, policy) if key else None
    return PolicyPlayer(policy, record=record, chunk=chunk, features=reader)


def _no_number(policy: RecurrentPolicy, rows: Rows, logits: Array) -> str:
    row = int(np.asarray(rows)[~np.isfinite(logits).all(axis=1)][0])
    return (
        f"A policy answers every observation with finite logits and that for {policy.spec.env_id} gave NaN or infinity "
        f"in episode {row} of those played: its weights or an observation are out of range, so check them with "
        "moorelens.testing.check_policy."
    )
