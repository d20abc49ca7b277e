"""Extraction: the machine read off a network that plays is the one it runs through, with counts, ends and a start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from moorelens.envs.playing import play_batch
from moorelens.envs.rollouts import Rollouts
from moorelens.errors import InvariantError
from moorelens.fsm.automata.machine import BOT, OBSERVED, MooreMachine
from moorelens.fsm.automata.run import compile_machine
from moorelens.fsm.automata.traces import Traces
from moorelens.fsm.extract import machine_of
from moorelens.fsm.fidelity import share_repeated
from moorelens.fsm.memory import reactivity
from moorelens.fsm.network import MooreMachineNetwork
from moorelens.fsm.players import MachinePlayer, NetworkPlayer
from moorelens.fsm.quantisers.qbn import from_published
from moorelens.policies.load import open_policy
from moorelens.policies.players import PolicyPlayer
from tests.fsm.small_networks import REFERENCE, Words, needs_reference, small_network, table_network

# State 0, where the network starts, is entered again by symbol 2; each state has an action of its own but the last two.
TABLE = ([[1, 2, 0], [1, 3, 0], [2, 3, 3], [0, 1, 2]], [2, 0, 1, 1])
some_words = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=6)


def extracted(network: MooreMachineNetwork, words: Sequence[Sequence[int]]) -> tuple[MooreMachine, Traces, Rollouts]:
    player = NetworkPlayer(network)
    rollouts = play_batch(Words(words), range(len(words)), player)
    machine, traces = machine_of(rollouts, player=player, meta={"seed": 3})
    return machine, traces, rollouts


@given(some_words)
def test_it_is_the_table_with_counts(words: list[list[int]]) -> None:
    """Spec-fsm 4.11 on a machine that is known: walk the words through the table and count."""
    machine, traces, _ = extracted(table_network(*TABLE), words)
    state_of = {None: machine.start} | {
        int(code.argmax()): i for i, code in enumerate(machine.state_codes) if i != machine.start
    }
    symbol_of = {int(code.argmax()): i for i, code in enumerate(machine.symbol_codes)}
    steps: Counter[tuple[int, int, int]] = Counter()
    visits, ends = Counter({machine.start: len(words)}), Counter[int]()
    for word in words:
        place, state = 0, machine.start
        for letter in word:
            place = TABLE[0][place][letter]
            steps[state, symbol_of[letter], state_of[place]] += 1
            state = state_of[place]
            visits[state] += 1
            assert machine.actions[state] == TABLE[1][place]
        ends[state] += 1
    found = zip(*(a.tolist() for a in (machine.sources, machine.symbols, machine.targets)), strict=True)
    assert dict(zip(found, machine.counts.tolist(), strict=True)) == steps
    assert dict(enumerate(machine.visits.tolist())) == {i: visits[i] for i in range(len(machine.visits))}
    assert machine.terminals.tolist() == [ends[i] for i in range(len(machine.visits))]
    assert not machine.truncations.any() and (machine.origins == OBSERVED).all()
    assert machine.n_conflicts == 0 and traces.n_steps == sum(map(len, words))


def test_the_start_is_silent_and_its_code_may_come_again_as_a_state() -> None:
    machine, _, _ = extracted(table_network(*TABLE), [[2, 2, 0]])
    assert machine.actions[machine.start] == BOT
    # 0 -2-> 0 -2-> 0 -0-> 1: the start is not entered, its code is entered as another state.
    assert machine.n_states == 2 and machine.actions.tolist() == [BOT, 2, 0]
    assert np.array_equal(machine.state_codes[machine.start], machine.state_codes[1])


@pytest.mark.parametrize("word", [[0], [1], [2]])
def test_the_action_answers_the_symbol_in_one_step_episodes_too(word: list[int]) -> None:
    network = table_network(*TABLE)
    machine, traces, rollouts = extracted(network, [word])
    answer = TABLE[1][TABLE[0][0][word[0]]]
    assert rollouts.actions.tolist() == traces.actions.tolist() == [answer]
    again = play_batch(Words([word]), [0], MachinePlayer(compile_machine(machine), network))
    assert again.actions.tolist() == [answer], "never the action of the state before the symbol"


@pytest.mark.parametrize("seed", [0, 4, 10])
def test_a_random_network_gives_a_machine_without_conflicts_that_repeats_it(seed: int) -> None:
    network = small_network(seed=seed)
    player = NetworkPlayer(network)

    class Noise(Words):
        """Episodes that show random vectors, the same whatever is done."""

        shown = 3 * np.random.default_rng(seed).normal(size=(40, 30, 4)).astype(np.float32)

        def reset(self) -> Any:
            super().reset()
            return self.shown[:, 0]

        def step(self, rows: Any, actions: Any) -> Any:
            found = super().step(rows, actions)
            return found._replace(observations=self.shown[rows, np.minimum(self._at[rows], 29)])

    rollouts = play_batch(Noise([[0] * (5 + n % 26) for n in range(40)]), range(40), player)
    machine, traces = machine_of(rollouts, player=player)
    assert machine.n_conflicts == 0 and machine.n_states > 2 and machine.n_symbols > 5
    assert machine.n_states == len({code.tobytes() for code in rollouts.extras["state"]})
    assert traces.n_steps == len(rollouts.actions)
    stepper = compile_machine(machine)
    symbols, offsets = rollouts.extras["symbol"], rollouts.offsets
    assert share_repeated(stepper, symbol_codes=symbols, actions=rollouts.actions, offsets=offsets) == 1.0


def test_equal_play_gives_equal_machines_with_the_given_facts() -> None:
    words = [[0, 1, 2, 2], [1, 1]]
    first, second = (extracted(table_network(*TABLE), words)[0] for _ in range(2))
    assert first == second and first.meta == {"seed": 3} and first.action_names == ("a", "b", "c")
    other, _, _ = extracted(table_network(*TABLE), [[1]])
    assert other.n_states == 1, "two machines of one process share nothing"


def test_what_a_policy_played_has_no_codes() -> None:
    network = table_network(*TABLE)
    rollouts = play_batch(Words([[0, 1]]), [0], PolicyPlayer(network.policy))
    with pytest.raises(InvariantError, match="play them with a NetworkPlayer"):
        machine_of(rollouts, player=NetworkPlayer(network))


@pytest.fixture(scope="module")
def network() -> MooreMachineNetwork:
    loaded = open_policy(f"mmn:{REFERENCE / 'dig_cartpole_mmn_4_4.p'}", env="CartPole-v1")
    return MooreMachineNetwork(
        loaded.policy,
        observation=from_published(loaded.quantisers["observation"], output="relu6"),
        state=from_published(loaded.quantisers["state"], output="tanh"),
    )


@pytest.fixture(scope="module")
def observations() -> Tensor:
    path = REFERENCE / "dig_cartpole_observations.pt"
    return torch.cat(torch.load(path, map_location="cpu", weights_only=True))


@needs_reference
class TestPublishedNetwork:
    """Spec-fsm 4.1: the published CartPole network (codes of 4 and 4 digits) on its 500 saved observations."""

    def test_with_the_start_quantised_it_has_five_states_with_it(
        self, network: MooreMachineNetwork, observations: Tensor
    ) -> None:
        class Saved(Words):
            def reset(self) -> Any:
                super().reset()
                return observations[:1].numpy()

            def step(self, rows: Any, actions: Any) -> Any:
                found = super().step(rows, actions)
                return found._replace(observations=observations[np.minimum(self._at[rows], 499)].numpy())

        player = NetworkPlayer(network)
        machine, _ = machine_of(play_batch(Saved([[0] * 500]), [0], player), player=player)
        assert machine.n_states + 1 == 5, "the published count has the start in it, ours has not"
        assert (machine.n_symbols, machine.n_transitions, machine.n_conflicts) == (7, 14, 0)
        assert machine.counts.sum() == 500

    def test_with_the_raw_start_it_is_the_published_count(
        self, network: MooreMachineNetwork, observations: Tensor
    ) -> None:
        """The reference starts from zeros that no code stands for, so it is walked through by hand."""
        policy, state_quantiser = network.policy, network.state
        hidden = policy.initial_state(1)
        start = tuple(state_quantiser.encode(hidden)[0].tolist())
        states, symbols, actions, steps = [], [], [], set()
        with torch.no_grad():
            before = start
            for row in observations:
                features = policy.features(row[None])
                code = state_quantiser.encode(policy.core(network.decoded(features), hidden))
                hidden = state_quantiser.decode(code)
                states.append(tuple(code[0].tolist()))
                symbols.append(tuple(network.symbol_codes(features)[0].tolist()))
                actions.append(int(policy.heads(hidden)[0].argmax()))
                steps.add((before, symbols[-1], states[-1]))
                before = states[-1]
        assert len({start, *states}) == 6 and len(set(symbols)) == 7 and len(steps) == 14
        assert len({(source, symbol) for source, symbol, _ in steps}) == 14, "no conflicts"
        successors = {source: {t for s, _, t in steps if s == source} for source, _, _ in steps}
        assert sum(len(found) > 1 for found in successors.values()) == 2
        assert Counter(actions) == {0: 250, 1: 250}
        ids = {symbol: i for i, symbol in enumerate(dict.fromkeys(symbols))}
        determined = {
            symbol for symbol in ids if len({a for s, a in zip(symbols, actions, strict=True) if s == symbol}) == 1
        }
        assert len(determined) == 6
        share = sum(symbol in determined for symbol in symbols) / 500
        assert reactivity(np.array([ids[symbol] for symbol in symbols]), np.array(actions)) == share
