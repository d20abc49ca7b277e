"""The quantised network: a recurrent policy like any other, a function by construction, read frame by frame."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from moorelens.envs.playing import play_batch
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.players import NetworkPlayer
from moorelens.fsm.quantisers.qbn import TernaryQBN
from moorelens.fsm.reading import FeatureReader, SymbolReader, codes_of, features_of, symbol_codes_of
from moorelens.fsm.tables import NetworkTable
from moorelens.policies.base import RecurrentPolicy, identity
from moorelens.policies.networks import GRUPolicy
from moorelens.testing.policies import PolicyConformance, check_policy
from tests.fsm.small_networks import (
    Rounding,
    TablePolicy,
    Words,
    small_network,
    small_policy,
    small_qbn,
    table_network,
    words_as_rollouts,
)


class TestQuantisedGRU(PolicyConformance):
    def make_policy(self) -> RecurrentPolicy:
        return small_network()


class TestQuantisedLSTMOnImages(PolicyConformance):
    def make_policy(self) -> RecurrentPolicy:
        return small_network(small_policy(cell="lstm", image=True, critic=False))


class TestOnlyTheStateQuantised(PolicyConformance):
    def make_policy(self) -> RecurrentPolicy:
        return small_network(observation=False)


class HeadsReadFeatures:
    """A policy whose heads read the features as well: they are appended to the state."""

    def __init__(self) -> None:
        self._inner = small_policy()
        self.spec = msgspec.structs.replace(self._inner.spec, state_size=12, heads_read_features=True)

    def initial_state(self, batch: int) -> Tensor:
        return torch.zeros(batch, 12)

    def features(self, observations: Tensor) -> Tensor:
        return self._inner.features(observations)

    def core(self, features: Tensor, state: Tensor) -> Tensor:
        return torch.cat([self._inner.core(features, state[:, :8]), features], dim=1)

    def heads(self, state: Tensor) -> tuple[Tensor, Tensor | None]:
        logits, value = self._inner.heads(state[:, :8])
        return logits + state[:, 8:11], value

    def tensors(self) -> Any:
        return self._inner.tensors()


class Memoryless(HeadsReadFeatures):
    """A policy whose state is the greedy action of the step."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = msgspec.structs.replace(self.spec, state_size=3, cell="none", heads_read_features=False)

    def initial_state(self, batch: int) -> Tensor:
        return torch.eye(3)[:1].repeat(batch, 1)

    def core(self, features: Tensor, state: Tensor) -> Tensor:
        return torch.eye(3)[features[:, :3].argmax(dim=1)]

    def heads(self, state: Tensor) -> tuple[Tensor, Tensor | None]:
        return state, None


def test_heads_that_read_features_read_quantised_ones() -> None:
    policy = HeadsReadFeatures()
    check_policy(policy)
    check_policy(small_network(policy))


def test_a_memoryless_policy_stays_one_where_its_state_is_kept_as_it_is() -> None:
    policy = Memoryless()
    check_policy(policy)
    observation = small_network(policy).observation
    check_policy(MooreMachineNetwork(policy, observation=observation, state=Rounding(3)))


def slow_run(network: MooreMachineNetwork, observations: Tensor) -> dict[str, list[Any]]:
    """Spec-fsm 1.1 and 2, one episode (T, *obs) step by step with the framework's own layers."""
    policy, observation, state = network.policy, network.observation, network.state
    assert isinstance(policy, GRUPolicy) and isinstance(observation, TernaryQBN) and isinstance(state, TernaryQBN)
    weights = policy.tensors()
    body = nn.Sequential(nn.Linear(4, 8), nn.ELU(), nn.Linear(8, 4), nn.ReLU6())
    body.load_state_dict({name.removeprefix("body."): t for name, t in weights.items() if name.startswith("body.")})
    cell = nn.GRUCell(4, 8)
    cell.load_state_dict({name.removeprefix("cell."): t for name, t in weights.items() if name.startswith("cell.")})

    def code(qbn: TernaryQBN, x: Tensor) -> Tensor:
        for i, layer in enumerate(qbn.encoder):
            x = layer(x if i == 0 else torch.tanh(x))
        return (1.5 * torch.tanh(x) + 0.5 * torch.tanh(-3 * x)).round()

    def back(qbn: TernaryQBN, x: Tensor) -> Tensor:
        for i, layer in enumerate(qbn.decoder):
            x = layer(x if i == 0 else torch.tanh(x))
        return torch.tanh(x) if qbn.spec.output == "tanh" else nn.functional.relu6(x)

    found: dict[str, list[Any]] = {"symbols": [], "states": [], "actions": [], "logits": [], "values": []}
    with torch.no_grad():
        h = back(state, code(state, torch.zeros(1, 8)))  # the start state is quantised as well
        for row in observations:
            o = code(observation, body(row[None]))
            c = code(state, cell(back(observation, o), h))
            h = back(state, c)
            logits = h @ weights["actor.weight"].T + weights["actor.bias"]
            value = h @ weights["critic.weight"].T + weights["critic.bias"]
            found["symbols"].append(o[0].int().tolist())
            found["states"].append(c[0].int().tolist())
            found["actions"].append(int(logits.argmax()))
            found["logits"].append(logits[0].tolist())
            found["values"].append(float(value))
    return found


OBSERVATIONS = 3 * torch.randn(60, 4, generator=torch.Generator().manual_seed(5))


class TestDefinition:
    @pytest.mark.parametrize("seed", [0, 4, 10])
    def test_it_is_the_policy_with_its_features_and_states_quantised(self, seed: int) -> None:
        network = small_network(seed=seed)
        slow = slow_run(network, OBSERVATIONS)
        assert len({tuple(code) for code in slow["states"]}) > 4 and len({tuple(code) for code in slow["symbols"]}) > 4
        state = network.initial_state(1)
        with torch.no_grad():
            for t, row in enumerate(OBSERVATIONS):
                features = network.policy.features(row[None])
                assert network.symbol_codes(features)[0].tolist() == slow["symbols"][t]
                state = network.core(network.features(row[None]), state)
                logits, value = network.heads(state)
                assert np.allclose(logits[0], slow["logits"][t], atol=1e-5)
                assert value is not None and abs(float(value[0]) - slow["values"][t]) < 1e-5

    @pytest.mark.parametrize("seed", [0, 4, 10])
    def test_the_player_walks_through_the_same_codes(self, seed: int) -> None:
        network = small_network(seed=seed)
        slow = slow_run(network, OBSERVATIONS)
        player = NetworkPlayer(network)
        memory = player.start(1)
        for t, row in enumerate(OBSERVATIONS.numpy()):
            action = player.act(memory, np.array([0]), row[None])
            recorded = player.recorded(memory)
            assert action.tolist() == [slow["actions"][t]]
            assert recorded["state"].tolist() == [slow["states"][t]]
            assert recorded["symbol"].tolist() == [slow["symbols"][t]]
            assert np.allclose(recorded["value"], [slow["values"][t]], atol=1e-5)

    def test_the_start_is_quantised(self) -> None:
        network = small_network()
        raw = network.policy.initial_state(3)
        assert torch.equal(network.initial_state(3), network.state.decode(network.state.encode(raw)))
        assert not torch.equal(network.initial_state(3), raw)

    def test_training_reaches_both_quantisers(self) -> None:
        network = small_network()
        state = network.initial_state(5)
        for _ in range(3):
            state = network.core(network.features(OBSERVATIONS[:5]), state)
        parameters = [*network.state.parameters(), *network.observation.parameters()]  # type: ignore[attr-defined,union-attr]
        gradients = torch.autograd.grad(network.heads(state)[0].square().sum(), parameters)
        assert all(bool((gradient != 0).any()) for gradient in gradients)

    def test_its_tensors_are_the_policy_and_both_quantisers(self) -> None:
        network = small_network()
        names = set(network.tensors())
        assert {"policy.cell.weight_hh", "state.encoder.0.weight", "observation.decoder.1.bias"} <= names
        assert {name.split(".")[0] for name in small_network(observation=False).tensors()} == {"policy", "state"}
        other = MooreMachineNetwork(network.policy, observation=network.observation, state=small_qbn(8, 4, seed=99))
        assert identity(network) == identity(small_network()) != identity(other)


class TestRawSymbols:
    """Without an observation quantiser the symbol is the feature vector itself (the published Tomita networks)."""

    NETWORK = small_network(observation=False)

    @settings(max_examples=50)
    @given(st.lists(st.floats(-9, 9, width=32), min_size=4, max_size=4))
    def test_a_code_stands_for_its_features_exactly(self, values: list[float]) -> None:
        features = torch.tensor([values])
        codes = self.NETWORK.symbol_codes(features)
        assert codes.dtype == torch.int8 and codes.shape == (1, 16)
        assert torch.equal(self.NETWORK.symbol_features(codes), features)

    def test_minus_zero_is_zero(self) -> None:
        codes = self.NETWORK.symbol_codes(torch.tensor([[0.0, -0.0, 1.0, -0.0], [-0.0, 0.0, 1.0, 0.0]]))
        assert torch.equal(codes[0], codes[1])

    def test_it_plays_like_the_network_it_is(self) -> None:
        player = NetworkPlayer(self.NETWORK)
        memory, state = player.start(1), self.NETWORK.initial_state(1)
        for row in OBSERVATIONS[:30]:
            action = player.act(memory, np.array([0]), row[None].numpy())
            with torch.no_grad():
                state = self.NETWORK.core(self.NETWORK.features(row[None]), state)
                assert action[0] == int(self.NETWORK.heads(state)[0].argmax())


RING = ([[1, 2, 0], [2, 0, 1], [0, 1, 2]], [0, 1, 0])


class TestTable:
    def test_each_state_and_symbol_is_asked_of_the_network_once(self) -> None:
        network = table_network(*RING)
        words = [[0, 1, 2, 0, 0, 1, 1], [0, 1, 2, 0, 0, 1, 1], [2, 2, 1], [0]]
        player = NetworkPlayer(network)
        for _ in range(2):
            play_batch(Words(words), range(len(words)), player)
        expected = set()
        for word in words:
            state = 0
            for symbol in word:
                expected.add((state, symbol))
                state = RING[0][state][symbol]
        assert isinstance(network.policy, TablePolicy)
        assert sorted(network.policy.asked) == sorted(expected)

    def test_ids_are_given_by_first_sight_and_codes_come_back(self) -> None:
        table = NetworkTable(table_network(*RING))
        codes = np.eye(3, dtype=np.int8)
        assert table.start == 0 and table.start_code.tolist() == [1, 0, 0]
        assert table.states(codes[[2, 0, 2, 1]]).tolist() == [1, 0, 1, 2]
        assert table.symbols(codes[[1, 1, 0]]).tolist() == [0, 0, 1]
        assert np.array_equal(table.codes(np.array([1, 0, 2])), codes[[2, 0, 1]])
        assert table.actions(np.array([0, 1, 2])).tolist() == [0, 0, 1]
        assert table.values(np.array([0, 1, 2])).tolist() == [0.0, 2.0, 1.0]

    def test_codes_that_are_slices_are_known_again(self) -> None:
        table = NetworkTable(table_network(*RING))
        wide = np.zeros((3, 6), dtype=np.int8)
        wide[:, 5::-2] = np.eye(3, dtype=np.int8)
        for ids in (table.states, table.symbols):
            assert ids(wide[:, 5::-2]).tolist() == ids(np.eye(3, dtype=np.int8)).tolist()

    def test_a_policy_without_values_has_none(self) -> None:
        table = NetworkTable(small_network(small_policy(critic=False)))
        assert np.isnan(table.values(np.array([table.start]))).all()

    def test_the_network_only_ever_sees_batches_of_one_size(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Products of different sizes may differ in the last bit, and so in a code."""
        network, sizes = small_network(seed=4), set[int]()

        def watched(function: Any) -> Any:
            def spy(*inputs: Tensor) -> Any:
                sizes.add(len(inputs[0]))
                return function(*inputs)

            return spy

        for part, name in ((network.policy, "core"), (network.policy, "heads"), (network.state, "encode")):
            monkeypatch.setattr(part, name, watched(getattr(part, name)))
        player = NetworkPlayer(network)
        for n in (1, 60):
            player.act(player.start(n), np.arange(n), OBSERVATIONS[:n].numpy())
        assert len(sizes) == 1

    @settings(max_examples=15)
    @given(st.randoms(use_true_random=False))
    def test_results_do_not_depend_on_who_is_asked_together(self, shuffle: Any) -> None:
        network = small_network(seed=4)
        states = network.state.encode(torch.randn(90, 8, generator=torch.Generator().manual_seed(1))).numpy()
        symbols = codes_of(network, features_of(network.policy, OBSERVATIONS.numpy()))[:45].repeat(2, axis=0)
        together = NetworkTable(network)
        expected = together.step(together.states(states), together.symbols(symbols))
        apart = NetworkTable(network)
        order = list(range(90))
        shuffle.shuffle(order)
        while order:
            rows = [order.pop() for _ in range(min(len(order), shuffle.randint(1, 9)))]
            reached = apart.step(apart.states(states[rows]), apart.symbols(symbols[rows]))
            assert np.array_equal(apart.codes(reached), together.codes(expected[rows]))
            assert np.array_equal(apart.values(reached), together.values(expected[rows])), "the same bits"


class CountingPolicy(TablePolicy):
    """Counts how often each observation is read; its images hold one number, repeated."""

    def __init__(self) -> None:
        super().__init__(*RING)
        self.spec = msgspec.structs.replace(self.spec, observation_shape=(1, 2, 2), observation_dtype="uint8")
        self.read: list[int] = []

    def features(self, observations: Tensor) -> Tensor:
        numbers = (observations[:, 0, 0, 0] * 255).round().long()
        self.read += [number for number in numbers.tolist() if number]  # padding is 0
        return torch.eye(3)[numbers % 3]


class TestReading:
    def test_each_distinct_image_is_read_once(self) -> None:
        policy = CountingPolicy()
        reader = FeatureReader(policy)
        for numbers in ([5, 7, 5], [7, 9], [5]):
            images = np.array(numbers, dtype=np.uint8)[:, None, None, None].repeat(2, 2).repeat(2, 3)
            assert torch.equal(reader.features(images), torch.eye(3)[torch.tensor(numbers) % 3])
        assert policy.read == [5, 7, 9]

    @pytest.mark.parametrize("image", [False, True])
    def test_features_have_the_same_bits_in_any_batch(self, image: bool) -> None:
        policy = small_policy(image=image)
        generator = np.random.default_rng(0)
        shape = (70, *policy.spec.observation_shape)
        rows: Any = generator.integers(0, 256, shape, dtype=np.uint8) if image else generator.normal(size=shape)
        rows = rows if image else rows.astype(np.float32)
        together = features_of(policy, rows)
        assert torch.equal(together, torch.cat([features_of(policy, row[None]) for row in rows]))
        assert torch.equal(together, FeatureReader(policy).features(rows))
        with torch.no_grad():
            plain = policy.features(torch.from_numpy(rows) / 255 if image else torch.from_numpy(rows))
        assert torch.allclose(together, plain, atol=1e-5)

    def test_nothing_gives_nothing(self) -> None:
        network = small_network()
        assert features_of(network.policy, np.zeros((0, 4), np.float32)).shape == (0, 4)
        assert codes_of(network, torch.zeros(0, 4)).shape == (0, 3)

    def test_symbols_of_a_recording_are_those_read_step_by_step(self) -> None:
        network = table_network(*RING)
        words = [[2, 0, 2], [1]]
        codes = symbol_codes_of(network, words_as_rollouts(words))
        assert codes.tolist() == np.eye(3, dtype=int)[[2, 0, 2, 1]].tolist()
        reader = SymbolReader(network)
        assert reader.codes(np.array([[2.0], [1.0]], np.float32)).tolist() == [[0, 0, 1], [0, 1, 0]]
