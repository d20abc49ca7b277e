"""Everything that plays in a policy's place: who decides, from what, and what happens off the recorded trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from moorelens.envs.playing import play_batch
from moorelens.envs.rollouts import Rollouts
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.reductions import reduce
from moorelens.fsm.automata.run import compile_machine, compile_reduced
from moorelens.fsm.extract import machine_of
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.players import AssistedPlayer, MachinePlayer, NetworkPlayer
from moorelens.fsm.reading import FeatureReader
from tests.fsm.small_networks import TablePolicy, Words, slow_step, small_network, table_network

# Three states that count how often symbol 1 or 2 came, symbol 3 holds; the last state acts.
COUNTER = ([[0, 1, 2, 0], [1, 2, 0, 1], [2, 0, 1, 2]], [0, 1, 2])
SEEN = [[0, 1, 0], [1, 1, 1], [0, 0, 1, 2, 1]]
words_of_the_counter = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8), min_size=1, max_size=5)


def played(player: Any, words: Sequence[Sequence[int]]) -> Rollouts:
    return play_batch(Words(words), range(len(words)), player)


def machine_from(words: Sequence[Sequence[int]]) -> tuple[MooreMachineNetwork, MooreMachine]:
    """The counter, and the machine read off it while it watched `words`."""
    network = table_network(*COUNTER)
    player = NetworkPlayer(network)
    return network, machine_of(played(player, words), player=player)[0]


def edges_by_code(machine: MooreMachine) -> dict[tuple[bytes, bytes], bytes]:
    return {
        (machine.state_codes[s].tobytes(), machine.symbol_codes[o].tobytes()): machine.state_codes[t].tobytes()
        for s, o, t in zip(machine.sources, machine.symbols, machine.targets, strict=True)
    }


class Unloaded:
    """A policy of which only the feature net may run."""

    def __init__(self, policy: Any) -> None:
        self.spec, self.features, self.tensors = policy.spec, policy.features, policy.tensors

    def initial_state(self, batch: int) -> Tensor:
        raise AssertionError("the memory was asked for its start while a machine played")

    def core(self, features: Tensor, state: Tensor) -> Tensor:
        raise AssertionError("the core ran while a machine played")

    def heads(self, state: Tensor) -> tuple[Tensor, Tensor | None]:
        raise AssertionError("the heads ran while a machine played")


class NoQuantiser:
    """A state quantiser that must not be asked either."""

    levels = (3, 3, 3)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the state quantiser was asked for {name} while a machine played")


def unloaded(network: MooreMachineNetwork) -> MooreMachineNetwork:
    state: Any = NoQuantiser()
    return MooreMachineNetwork(Unloaded(network.policy), observation=network.observation, state=state)


class TestNetworkPlayer:
    @given(words_of_the_counter)
    def test_it_plays_the_machine_that_the_network_is(self, words: list[list[int]]) -> None:
        found = played(NetworkPlayer(table_network(*COUNTER)), words)
        at = 0
        for word in words:
            state = 0
            for symbol in word:
                state = COUNTER[0][state][symbol]
                assert found.actions[at] == COUNTER[1][state], "the action is that of the state *after* the symbol"
                assert found.extras["state"][at].argmax() == state
                assert found.extras["symbol"][at].argmax() == symbol
                assert found.extras["value"][at] == state
                at += 1
        assert at == len(found.actions)

    def test_episodes_do_not_see_each_other(self) -> None:
        network = small_network(seed=4)
        observations = 3 * np.random.default_rng(0).normal(size=(12, 5, 4)).astype(np.float32)
        together, memory = NetworkPlayer(network), NetworkPlayer(network).start(5)
        actions = np.stack([together.act(memory, np.arange(5), row) for row in observations])
        for column in range(5):
            alone, single = NetworkPlayer(network), NetworkPlayer(network).start(1)
            for t in range(12):
                assert alone.act(single, np.array([0]), observations[t, column : column + 1]) == actions[t, column]

    def test_rows_that_do_not_act_stay_where_they_are(self) -> None:
        player = NetworkPlayer(table_network(*COUNTER))
        memory = player.start(3)
        before = memory.at.copy()
        player.act(memory, np.array([1]), np.array([[1.0]], np.float32))
        assert memory.at[[0, 2]].tolist() == before[[0, 2]].tolist() and memory.at[1] != before[1]

    def test_a_shared_reader_reads_features_for_several_players(self) -> None:
        network = small_network(seed=4)
        reader = FeatureReader(network.policy)
        observations = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
        first, second = (NetworkPlayer(network, features=features) for features in (reader, None))
        both = [player.act(player.start(3), np.arange(3), observations).tolist() for player in (first, second)]
        assert both[0] == both[1]


class TestMachinePlayer:
    def test_on_its_own_trace_it_repeats_itself_and_everything_is_decided(self) -> None:
        network, machine = machine_from(SEEN)
        original = played(NetworkPlayer(network), SEEN)
        for stepper in (compile_machine(machine), compile_reduced(reduce(machine).reduced)):
            again = played(MachinePlayer(stepper, network), SEEN)
            assert again.actions.tolist() == original.actions.tolist()
            assert again.extras["decided"].all() and again.extras["known"].all()

    @given(words_of_the_counter)
    def test_neither_memory_nor_heads_run(self, words: list[list[int]]) -> None:
        network, machine = machine_from(SEEN)
        assert isinstance(network.policy, TablePolicy)
        before = list(network.policy.asked)
        player = MachinePlayer(compile_machine(machine), unloaded(network))
        played(player, words)
        assert network.policy.asked == before

    @given(words_of_the_counter)
    def test_off_the_trace_it_falls_back_as_documented(self, words: list[list[int]]) -> None:
        network, machine = machine_from(SEEN)
        found = played(MachinePlayer(compile_machine(machine), unloaded(network)), words)
        at = 0
        for word in words:
            state = machine.start
            for symbol in word:
                state, known, defined = slow_step(machine, state, np.eye(4, dtype=np.int8)[symbol])
                assert found.actions[at] == machine.actions[state]
                assert found.extras["known"][at] == known
                assert found.extras["decided"][at] == (known and defined)
                assert found.extras["position"][at] == state
                at += 1

    def test_an_unseen_symbol_is_the_nearest_known_one_and_nothing_decided_it(self) -> None:
        network, machine = machine_from(SEEN)
        found = played(MachinePlayer(compile_machine(machine), network), [[0, 3, 1]])
        # Symbol 3 is two digits from each of the others; 1 was read most often, and leads from state 0 to state 1.
        assert Counter(symbol for word in SEEN for symbol in word).most_common(1)[0][0] == 1
        assert found.extras["known"].tolist() == [True, False, True]
        assert found.extras["decided"].tolist() == [True, False, True]
        assert found.actions.tolist() == [0, 1, 2]

    def test_an_undefined_transition_follows_the_nearest_symbol_defined_there(self) -> None:
        network, machine = machine_from([[1, 1, 2], [2]])
        # State 1 was only ever left by symbol 1, so symbol 2 is read as 1 there.
        found = played(MachinePlayer(compile_machine(machine), network), [[1, 2, 2]])
        assert found.extras["known"].all()
        assert found.extras["decided"].tolist() == [True, False, True]
        assert found.actions.tolist() == [1, 2, 1]

    def test_a_state_without_a_way_out_stays(self) -> None:
        network, machine = machine_from([[1]])
        found = played(MachinePlayer(compile_machine(machine), network), [[1, 1, 0]])
        assert found.actions.tolist() == [1, 1, 1]
        assert found.extras["decided"].tolist() == [True, False, False]


class TestAssistedPlayer:
    def test_the_network_is_asked_only_where_no_transition_was_recorded(self) -> None:
        network, machine = machine_from(SEEN)
        assert isinstance(network.policy, TablePolicy)
        player = AssistedPlayer(network, edges=edges_by_code(machine))
        network.policy.asked.clear()
        found = played(player, SEEN)
        assert network.policy.asked == [] and found.extras["decided"].all()

        words = [[0, 3, 1, 1], [2, 0], [3, 3]]
        found = played(player, words)
        recorded = {(s, o) for word in SEEN for s, o in pairs(word)}
        assert found.extras["decided"].tolist() == [pair in recorded for word in words for pair in pairs(word)]
        missing = {pair for word in words for pair in pairs(word)} - recorded
        assert sorted(network.policy.asked) == sorted(missing), "each missing pair once"

    @settings(max_examples=30)
    @given(words_of_the_counter)
    def test_with_help_it_acts_as_the_network_does(self, words: list[list[int]]) -> None:
        network, machine = machine_from(SEEN)
        helped = played(AssistedPlayer(network, edges=edges_by_code(machine)), words)
        assert helped.actions.tolist() == played(NetworkPlayer(network), words).actions.tolist()

    def test_recorded_transitions_win_over_the_network(self) -> None:
        network, machine = machine_from(SEEN)
        edges = edges_by_code(machine)
        one_hot = [row.tobytes() for row in np.eye(4, dtype=np.int8)]
        states = [row.tobytes() for row in np.eye(3, dtype=np.int8)]
        edges[states[0], one_hot[0]] = states[2]  # pruned: the machine goes elsewhere than the network would
        found = played(AssistedPlayer(network, edges=edges), [[0, 3]])
        assert found.actions.tolist() == [2, 2]
        assert found.extras["decided"].tolist() == [True, False], "and the network goes on from the machine's state"


def pairs(word: Sequence[int]) -> list[tuple[int, int]]:
    """The (state, symbol) pairs that the counter runs through."""
    state, found = 0, []
    for symbol in word:
        found.append((state, symbol))
        state = COUNTER[0][state][symbol]
    return found
