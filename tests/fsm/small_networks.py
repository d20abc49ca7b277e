"""Small networks that the tests share: random quantised policies, and policies that are exactly a given machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from moorelens.envs.episodes import Step
from moorelens.envs.rollouts import Rollouts
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.quantisers.qbn import OutputActivation, QBNSpec, TernaryQBN
from moorelens.policies.config import Architecture, PolicySpec
from moorelens.policies.networks import GRUPolicy, LSTMPolicy, build_network, initialise

REFERENCE = Path(__file__).parents[2] / "../shared/reference"
needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="the published checkpoints (shared/reference) are not on this machine"
)


def small_policy(
    *, cell: str = "gru", image: bool = False, units: int = 8, critic: bool = True, seed: int = 0
) -> GRUPolicy | LSTMPolicy:
    """A policy with random weights, three actions, and features in [0, 6].

    Widths are multiples of 4: with others, MKL's products may differ in the last bit by the row's place in a chunk.
    """
    policy = build_network(
        env_id="x",
        observation_shape=(1, 8, 8) if image else (4,),
        observation_dtype="uint8" if image else "float32",
        action_names=("a", "b", "c"),
        architecture=Architecture(
            body="conv" if image else "mlp",
            sizes=(4, 2) if image else (8, 4),
            cell="lstm" if cell == "lstm" else "gru",
            units=units,
            critic=critic,
        ),
    )
    initialise(policy, generator=torch.Generator().manual_seed(seed), actor_gain=1.0)
    return policy


def small_qbn(
    size: int, digits: int, *, output: OutputActivation = "tanh", seed: int = 0, gain: float = 16.0, levels: Any = 3
) -> TernaryQBN:
    """A quantiser with random weights, the last layers enlarged so that codes differ, and what they stand for."""
    spec = QBNSpec(size=size, hidden=(8 * digits,), digits=digits, output=output, levels=levels)
    qbn = TernaryQBN(spec, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in (*qbn.encoder[-1].parameters(), *qbn.decoder[-1].parameters()):
            parameter.mul_(gain)
    return qbn


def small_network(
    policy: Any = None, *, digits: tuple[int, int] = (4, 3), observation: bool = True, seed: int = 0, gain: float = 16.0
) -> MooreMachineNetwork:
    """A quantised policy with random weights; `digits` of state and observation."""
    policy = small_policy(seed=seed) if policy is None else policy
    return MooreMachineNetwork(
        policy,
        observation=small_qbn(policy.spec.feature_size, digits[1], output="relu6", seed=seed + 1, gain=gain)
        if observation
        else None,
        state=small_qbn(policy.spec.state_size, digits[0], seed=seed + 2, gain=gain),
    )


class Rounding:
    """A quantiser that writes vectors of -1, 0 and 1 down as they are."""

    def __init__(self, size: int) -> None:
        self.levels = (3,) * size

    def encode(self, x: Tensor) -> Tensor:
        return x.detach().round().to(torch.int8)

    def decode(self, codes: Tensor) -> Tensor:
        return codes.to(torch.float32)

    def relaxed(self, x: Tensor) -> Tensor:
        return x + (self.decode(self.encode(x)) - x).detach()

    def tensors(self) -> Mapping[str, Tensor]:
        return {}


class TablePolicy:
    """A policy that is the machine of `successors (S, O)` and `actions (S,)`, state 0 first; the observation (1,) is
    the number of the symbol. `asked` lists every (state, symbol) that the core was asked for, padding left out."""

    def __init__(self, successors: Sequence[Sequence[int]], actions: Sequence[int]) -> None:
        self.successors, self.actions = torch.tensor(successors), torch.tensor(actions)
        self.asked: list[tuple[int, int]] = []
        states, symbols = self.successors.shape
        self.spec = PolicySpec(
            env_id="words",
            observation_shape=(1,),
            observation_dtype="float32",
            action_names=tuple("abcdefgh"[: max(actions) + 1]),
            feature_size=symbols,
            state_size=states,
        )

    def initial_state(self, batch: int) -> Tensor:
        return torch.eye(self.spec.state_size)[:1].repeat(batch, 1)

    def features(self, observations: Tensor) -> Tensor:
        return torch.eye(self.spec.feature_size)[observations[:, 0].long()]

    def core(self, features: Tensor, state: Tensor) -> Tensor:
        source, symbol = state.argmax(dim=1), features.argmax(dim=1)
        real = (features.sum(dim=1) > 0) & (state.sum(dim=1) > 0)
        self.asked += list(zip(source[real].tolist(), symbol[real].tolist(), strict=True))
        return torch.eye(self.spec.state_size)[self.successors[source, symbol]]

    def heads(self, state: Tensor) -> tuple[Tensor, Tensor | None]:
        at = state.argmax(dim=1)
        return torch.eye(len(self.spec.action_names))[self.actions[at]], at.float()

    def tensors(self) -> Mapping[str, Tensor]:
        return {"successors": self.successors, "actions": self.actions}


def table_network(successors: Sequence[Sequence[int]], actions: Sequence[int]) -> MooreMachineNetwork:
    """The machine of a table as a quantised network whose codes are one digit a state and a symbol."""
    policy = TablePolicy(successors, actions)
    return MooreMachineNetwork(
        policy, observation=Rounding(policy.spec.feature_size), state=Rounding(policy.spec.state_size)
    )


class Words:
    """Episodes that show the letters of given words, whatever is done; the reward is the number of the action."""

    def __init__(self, words: Sequence[Sequence[int]]) -> None:
        self._words, self._at = words, np.zeros(len(words), dtype=np.int64)

    def reset(self) -> npt.NDArray[Any]:
        self._at[:] = 0
        return np.array([[word[0]] for word in self._words], dtype=np.float32)

    def step(self, rows: npt.NDArray[np.intp], actions: npt.NDArray[np.intp]) -> Step:
        self._at[rows] += 1
        shown = [[self._words[row][min(self._at[row], len(self._words[row]) - 1)]] for row in rows]
        ended = np.array([self._at[row] >= len(self._words[row]) for row in rows])
        return Step(np.array(shown, dtype=np.float32), actions.astype(np.float64), ended, np.zeros_like(ended))

    def close(self) -> None:
        pass


def words_as_rollouts(words: Sequence[Sequence[int]]) -> Rollouts:
    """The observations of `words` as a recording in which nobody has acted yet (all actions 0)."""
    letters = np.array([letter for word in words for letter in word])
    symbols, index = np.unique(letters, return_inverse=True)
    steps = len(letters)
    return Rollouts(
        frames=symbols[:, None].astype(np.float32),
        frame_index=index.astype(np.int32),
        actions=np.zeros(steps, np.int32),
        rewards=np.zeros(steps),
        offsets=np.concatenate([[0], np.cumsum([len(word) for word in words])]),
        terminated=np.ones(len(words), bool),
        truncated=np.zeros(len(words), bool),
        seeds=np.arange(len(words)),
    )


def slow_step(machine: MooreMachine, state: int, code: np.ndarray[Any, Any]) -> tuple[int, bool, bool]:
    """Design, "Who plays": the nearest known symbol, then the nearest one defined at the state, else stay."""

    def nearest(candidates: list[tuple[int, int]]) -> int:
        distance = {symbol: int((machine.symbol_codes[symbol] != code).sum()) for symbol, _ in candidates}
        return min(candidates, key=lambda pair: (distance[pair[0]], -pair[1], pair[0]))[0]

    reads: Counter[int] = Counter()
    defined: Counter[int] = Counter()
    target = {}
    for source, symbol, count, reached in zip(
        machine.sources.tolist(),
        machine.symbols.tolist(),
        machine.counts.tolist(),
        machine.targets.tolist(),
        strict=True,
    ):
        reads[symbol] += count
        if source == state:
            defined[symbol] += count
            target[symbol] = reached
    exact = [symbol for symbol in reads if np.array_equal(machine.symbol_codes[symbol], code)]
    symbol = exact[0] if exact else nearest(list(reads.items()))
    if symbol in target:
        return target[symbol], bool(exact), True
    code = machine.symbol_codes[symbol]
    return (target[nearest(list(defined.items()))] if target else state), bool(exact), False
