"""Fidelity: a machine led through recorded symbols decides as it would when it plays, and its own traces give 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moorelens.envs.playing import play_batch
from moorelens.envs.rollouts import Rollouts
from moorelens.errors import InvariantError
from moorelens.fsm.automata.folding import fold
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.reductions import reduce
from moorelens.fsm.automata.run import Stepper, compile_machine, compile_reduced
from moorelens.fsm.automata.traces import Traces
from moorelens.fsm.extract import machine_of
from moorelens.fsm.fidelity import agreement, drive, policy_choices, share_repeated
from moorelens.fsm.players import MachinePlayer, NetworkPlayer
from moorelens.fsm.reading import FeatureReader
from tests.fsm.small_networks import Words, slow_step, small_policy, table_network, words_as_rollouts

RING = ([[0, 1, 2, 0], [1, 2, 0, 1], [2, 0, 1, 2]], [0, 1, 2])
SEEN = [[0, 1, 0], [1, 1, 1], [0, 0, 1, 2, 1]]
ONE_HOT = np.eye(4, dtype=np.int8)
some_words = st.lists(st.lists(st.integers(0, 3), max_size=8), max_size=5)


def recorded(words: Sequence[Sequence[int]]) -> tuple[MooreMachine, Traces, Rollouts]:
    player = NetworkPlayer(table_network(*RING))
    rollouts = play_batch(Words(words), range(len(words)), player)
    machine, traces = machine_of(rollouts, player=player)
    return machine, traces, rollouts


MACHINE, TRACES, ROLLOUTS = recorded(SEEN)
SYMBOLS = ROLLOUTS.extras["symbol"]


def forms() -> dict[str, Stepper]:
    return {
        "machine": compile_machine(MACHINE),
        "reduced": compile_reduced(reduce(MACHINE).reduced),
        "folded": compile_machine(fold(MACHINE, traces=TRACES).machine),
    }


def codes_and_offsets(words: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    letters = [letter for word in words for letter in word]
    return ONE_HOT[letters].reshape(-1, 4), np.concatenate([[0], np.cumsum([len(word) for word in words])]).astype(int)


class TestDrive:
    @given(some_words)
    def test_each_episode_is_walked_from_the_start(self, words: list[list[int]]) -> None:
        driven = drive(compile_machine(MACHINE), *codes_and_offsets(words))
        at = 0
        for word in words:
            state = MACHINE.start
            for letter in word:
                state, known, defined = slow_step(MACHINE, state, ONE_HOT[letter])
                assert driven.actions[at] == MACHINE.actions[state]
                assert driven.known[at] == known and driven.decided[at] == (known and defined)
                at += 1
        assert at == len(driven.actions) == len(driven.known) == len(driven.decided)

    @pytest.mark.parametrize("form", ["machine", "reduced", "folded"])
    @settings(max_examples=25)
    @given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8), min_size=1, max_size=5))
    def test_it_is_what_the_player_does(self, form: str, words: list[list[int]]) -> None:
        stepper = forms()[form]
        played = play_batch(Words(words), range(len(words)), MachinePlayer(stepper, table_network(*RING)))
        driven = drive(stepper, *codes_and_offsets(words))
        assert driven.actions.tolist() == played.actions.tolist()
        assert driven.decided.tolist() == played.extras["decided"].tolist()
        assert driven.known.tolist() == played.extras["known"].tolist()

    def test_an_unseen_symbol_is_counted_and_stops_nothing(self) -> None:
        driven = drive(compile_machine(MACHINE), *codes_and_offsets([[3, 3, 1]]))
        assert driven.known.tolist() == [False, False, True] and not driven.decided[:2].any()


class TestReplay:
    @pytest.mark.parametrize("form", ["machine", "reduced", "folded"])
    def test_its_own_traces_give_one(self, form: str) -> None:
        offsets = ROLLOUTS.offsets
        assert share_repeated(forms()[form], symbol_codes=SYMBOLS, actions=ROLLOUTS.actions, offsets=offsets) == 1.0

    def test_a_wrong_machine_does_not(self) -> None:
        wrong = MACHINE.actions.copy()
        wrong[MACHINE.actions == 2] = 1
        facts = {name: getattr(MACHINE, name) for name in MACHINE.__dataclass_fields__} | {"actions": wrong}
        share = share_repeated(
            compile_machine(MooreMachine(**facts)),
            symbol_codes=SYMBOLS,
            actions=ROLLOUTS.actions,
            offsets=ROLLOUTS.offsets,
        )
        assert share == float(np.mean(ROLLOUTS.actions != 2)) < 1.0

    def test_no_step_is_no_replay(self) -> None:
        codes, offsets = codes_and_offsets([[], []])
        with pytest.raises(InvariantError, match="play at least one"):
            share_repeated(compile_machine(MACHINE), symbol_codes=codes, actions=np.zeros(0, int), offsets=offsets)


def test_the_policy_is_asked_under_the_observations_of_another_player() -> None:
    """The policy steps through each episode by itself; what was played does not matter to it."""
    policy = small_policy()
    generator = np.random.default_rng(0)
    plain = words_as_rollouts([[0] * n for n in (6, 1, 9)])
    rollouts = Rollouts(
        frames=3 * generator.normal(size=(10, 4)).astype(np.float32),
        frame_index=generator.integers(0, 10, 16).astype(np.int32),
        **{
            name: getattr(plain, name) for name in ("actions", "rewards", "offsets", "terminated", "truncated", "seeds")
        },
    )
    choices = []
    for n in range(3):
        state = policy.initial_state(1)
        for index in rollouts.frame_index[rollouts.offsets[n] : rollouts.offsets[n + 1]]:
            with torch.no_grad():
                state = policy.core(policy.features(torch.tensor(rollouts.frames[index])[None]), state)
                choices.append(int(policy.heads(state)[0].argmax()))
    found = policy_choices(policy, rollouts, reader=FeatureReader(policy))
    assert found.tolist() == choices and len(set(choices)) > 1


def test_agreement_is_the_share_of_equal_decisions() -> None:
    assert agreement(np.array([0, 1, 2, 1]), np.array([0, 1, 1, 1])) == 0.75
    assert np.isnan(agreement(np.zeros(0), np.zeros(0)))
