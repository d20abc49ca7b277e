"""A policy as a player: batched, greedy or sampling, each row with a memory of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moorelens.policies.base import RecurrentPolicy, to_input
from moorelens.policies.batching import evaluate_in_chunks

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.intp]
Recordable = Literal["logits", "values", "hidden", "features"]


@dataclass(kw_only=True)
class PolicyMemory:
    """What a policy player remembers of n episodes: `hidden (n, H)`, and what it recorded in its last `act`."""

    hidden: Tensor
    rngs: list[np.random.Generator]
    last: dict[str, Array] = field(default_factory=dict)
    known: dict[bytes, Tensor] = field(default_factory=dict)


class PolicyPlayer:
    """Plays a `RecurrentPolicy`; a row's choices depend on its own observations only.

    `greedy`: the likeliest action (default), or else one sampled from the policy with a generator per row drawn from
    `seed`. `record`: which of logits, values, hidden (the state after the step) and features go into `Rollouts.extras`.
    `chunk`: rows per network call, padded, so that the result does not depend on how many episodes are still running
    (default 64 for vectors, 2 for images, of which a single game shows one at a time).
    """

    def __init__(
        self,
        policy: RecurrentPolicy,
        *,
        greedy: bool = True,
        seed: int | None = None,
        record: Iterable[Recordable] = (),
        chunk: int | None = None,
    ) -> None:
        """Wrap a policy; nothing is evaluated yet."""
        self._policy, self._greedy, self._seed = policy, greedy, seed or 0
        self._record = frozenset(record)
        self._image = len(policy.spec.observation_shape) > 1
        self._chunk = chunk or (2 if self._image else 64)

    def start(self, n: int) -> PolicyMemory:
        """Return the memory of `n` fresh episodes."""
        with torch.no_grad():
            hidden = self._policy.initial_state(n).clone()
        rngs = [] if self._greedy else [np.random.default_rng([self._seed, row]) for row in range(n)]
        return PolicyMemory(hidden=hidden, rngs=rngs)

    def act(self, state: PolicyMemory, rows: Rows, observations: Array) -> npt.NDArray[np.intp]:
        """Choose actions (b,) for `observations (b, *obs)` of `rows (b,)`."""
        features = self._features(state, observations)
        index = torch.from_numpy(np.asarray(rows, dtype=np.int64))
        hidden, logits, *value = evaluate_in_chunks(self._step, features, state.hidden[index], chunk=64)
        state.hidden[index] = hidden
        found = {"logits": logits, "hidden": hidden, "features": features} | ({"values": value[0]} if value else {})
        state.last = {name: found[name].cpu().numpy() for name in sorted(self._record & found.keys())}
        if self._greedy:
            return np.asarray(logits.argmax(dim=1).cpu().numpy(), dtype=np.intp)
        return self._sample(state, rows, logits)

    def recorded(self, state: PolicyMemory) -> Mapping[str, Array]:
        """Return what `record` asked for, for the rows of the last `act`."""
        return state.last

    def _step(self, features: Tensor, hidden: Tensor) -> tuple[Tensor, ...]:
        hidden = self._policy.core(features, hidden)
        logits, value = self._policy.heads(hidden)
        return (hidden, logits) if value is None else (hidden, logits, value)

    def _features(self, state: PolicyMemory, observations: Array) -> Tensor:
        if not self._image:
            return evaluate_in_chunks(self._policy.features, self._input(observations), chunk=self._chunk)[0]
        # Images repeat between episodes (and within one, while nothing moves): each distinct one is evaluated once.
        keys = [observation.tobytes() for observation in observations]
        fresh = list({key: i for i, key in enumerate(keys) if key not in state.known}.values())
        if fresh:
            found = evaluate_in_chunks(self._policy.features, self._input(observations[fresh]), chunk=self._chunk)[0]
            state.known |= {keys[i]: found[j] for j, i in enumerate(fresh)}
        return torch.stack([state.known[key] for key in keys])

    def _input(self, observations: Array) -> Tensor:
        return to_input(observations)

    def _sample(self, state: PolicyMemory, rows: Rows, logits: Tensor) -> npt.NDArray[np.intp]:
        cumulative = torch.softmax(logits.double(), dim=1).cumsum(dim=1).cpu().numpy()
        draws = np.array([state.rngs[row].random() for row in rows])
        chosen = (cumulative < draws[:, None] * cumulative[:, -1:]).sum(axis=1)
        return np.asarray(np.minimum(chosen, cumulative.shape[1] - 1), dtype=np.intp)
