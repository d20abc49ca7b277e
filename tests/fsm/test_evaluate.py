"""What a machine does where nothing was recorded, one fallback after another, and players under disturbances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from moorelens.envs.playing import play
from moorelens.errors import OptionError
from moorelens.fsm.automata.build import build_machine
from moorelens.fsm.automata.run import compile_machine
from moorelens.fsm.evaluate import Disturbance, DisturbedPlayer, FallbackPlayer
from moorelens.fsm.extract import machine_of
from moorelens.fsm.players import MachinePlayer, NetworkPlayer
from tests.fsm.small_networks import small_network
from tests.pipelines.small import network as small_policy
from tests.pipelines.small import request

ACTIONS = ("left", "right", "wait")


class Symbols:
    """A network whose symbols are the observations themselves, as digits."""

    observation = None

    def __init__(self) -> None:
        self.policy = self

    def codes(self, observations: Any) -> Any:
        return np.asarray(observations, dtype=np.int8)


@pytest.fixture
def machine() -> Any:
    """Two runs: start -00-> A(left) -01-> B(right) -01-> C(left) -11-> D(wait), and start -00-> A -11-> C."""
    code = {"start": [0, 0], "A": [0, 1], "B": [1, 0], "C": [1, 1], "D": [-1, 1]}
    states = ["A", "B", "C", "D", "A", "C"]
    symbols = [[0, 0], [0, 1], [0, 1], [1, 1], [0, 0], [1, 1]]
    return build_machine(
        start_codes=np.array([code["start"]] * 2, np.int8),
        state_codes=np.array([code[s] for s in states], np.int8),
        symbol_codes=np.array(symbols, np.int8),
        actions=[{"A": 0, "B": 1, "C": 0, "D": 2}[s] for s in states],
        offsets=[0, 4, 6],
        terminated=[True, True],
        truncated=[False, False],
        action_names=ACTIONS,
    )[0]


def driven(
    machine: Any, word: list[list[int]], monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[list[str], Any]:
    """The actions of a machine led through symbols, and what was recorded in the last step."""
    monkeypatch.setattr("moorelens.fsm.evaluate.SymbolReader", lambda network, features=None: network)
    player = FallbackPlayer(machine, Symbols(), **options)  # type: ignore[arg-type]
    state = player.start(1)
    rows = np.array([0])
    taken = [ACTIONS[int(player.act(state, rows, np.array([symbol]))[0])] for symbol in word]
    return taken, player.recorded(state)


UNDEFINED = [[0, 0], [0, 0]]  # at A, 00 has no transition; 01 has, and is nearer than 11
UNSEEN = [[0, 0], [-1, 1]]  # one digit from 01 and from 11, which were read twice each: 01 is first


@pytest.mark.parametrize(
    ("options", "word", "action"),
    [
        ({"undefined": "nearest"}, UNDEFINED, "right"),  # 01 is nearer to 00 than 11: to B
        ({"undefined": "stay"}, UNDEFINED, "left"),  # stays in A
        ({"undefined": "default_action"}, UNDEFINED, "left"),  # left was recorded most often
        ({"undefined": "nearest_state"}, UNDEFINED, "left"),  # only the start knows 00: to A
        ({"undefined": "error"}, UNDEFINED, "right"),
        ({"unseen": "nearest"}, UNSEEN, "right"),  # read as 01: to B
        ({"unseen": "stay"}, UNSEEN, "left"),
        ({"unseen": "error"}, UNSEEN, "right"),
        ({"unseen": "stay"}, [[-1, -1]], "left"),  # at the silent start: the commonest action
        ({"open_loop": ()}, [[0, 0], [0, 1], [-1, -1]], "left"),
    ],
)
def test_each_fallback_does_what_is_written(
    machine: Any, options: dict[str, Any], word: list[list[int]], action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, last = driven(machine, word, monkeypatch, **options)
    assert taken[-1] == action
    assert not last["decided"][0]
    assert last["stopped"][0] == ("error" in options.values())


def test_what_was_recorded_is_decided_and_stops_nothing(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, last = driven(machine, [[0, 0], [0, 1], [0, 1], [1, 1]], monkeypatch, unseen="error", undefined="error")
    assert taken == ["left", "right", "left", "wait"]
    assert last["decided"][0] and not last["stopped"][0]


def test_a_run_that_stopped_stays_stopped(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, last = driven(machine, [[0, 0], [0, 0], [0, 1]], monkeypatch, undefined="error")
    assert last["stopped"][0]


def test_an_open_loop_state_takes_its_only_transition_whatever_is_seen(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = int(np.flatnonzero(machine.actions == 1)[0])
    for symbol in ([0, 0], [1, 1], [-1, -1]):
        taken, last = driven(
            machine, [[0, 0], [0, 1], symbol], monkeypatch, unseen="error", undefined="error", open_loop=(b,)
        )
        assert taken[-1] == "left" and last["decided"][0] and not last["stopped"][0]


@pytest.fixture(scope="module")
def extracted() -> Any:
    network = small_network(small_policy())
    player = NetworkPlayer(network)
    played = play(request(), (1, 2), player)
    return network, machine_of(played, player=player)[0]


def test_the_nearest_fallback_is_what_a_machine_does_anyway(extracted: Any) -> None:
    network, machine = extracted
    seeds = (11, 12, 13)
    plain = play(request(), seeds, MachinePlayer(compile_machine(machine), network))
    same = play(request(), seeds, FallbackPlayer(machine, network))
    assert np.array_equal(plain.actions, same.actions)
    for name in ("decided", "known"):
        assert np.array_equal(plain.extras[name], same.extras[name])


def test_with_the_network_as_fallback_the_machine_plays_as_the_network(extracted: Any) -> None:
    network, machine = extracted
    seeds = (11, 12, 13)
    own = play(request(), seeds, NetworkPlayer(network))
    helped = play(request(), seeds, FallbackPlayer(machine, network, unseen="network", undefined="network"))
    assert np.array_equal(own.actions, helped.actions)
    assert not helped.extras["stopped"].any()


def test_a_foreign_network_cannot_help(machine: Any) -> None:
    with pytest.raises(OptionError, match="extracted from it"):
        FallbackPlayer(machine, small_network(), unseen="network")


class Steady:
    """Always takes action 1, and remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def start(self, n: int) -> None:
        self.seen.clear()

    def act(self, state: None, rows: Any, observations: Any) -> Any:
        self.seen.append(observations.copy())
        return np.ones(len(rows), dtype=np.intp)


def test_a_disturbance_depends_on_the_seed_only() -> None:
    what = Disturbance(starts=4, sticky=0.5)
    both = play(request(), (5, 6), DisturbedPlayer(Steady(), (5, 6), what, n_actions=2))
    alone = play(request(), (6,), DisturbedPlayer(Steady(), (6,), what, n_actions=2))
    assert np.array_equal(both.actions[both.offsets[1] :], alone.actions)


def test_random_first_actions_are_few_and_then_the_player_decides() -> None:
    seeds = tuple(range(40))
    played = play(request(), seeds, DisturbedPlayer(Steady(), seeds, Disturbance(starts=3), n_actions=2))
    late = np.concatenate(
        [played.actions[a + 3 : b] for a, b in zip(played.offsets[:-1], played.offsets[1:], strict=True)]
    )
    assert np.all(late == 1)
    assert (played.actions[played.offsets[:-1]] == 0).any()


def test_sticky_actions_repeat_the_last_one() -> None:
    always = Disturbance(starts=1, sticky=1.0)
    seeds = tuple(range(20))
    played = play(request(), seeds, DisturbedPlayer(Steady(), seeds, always, n_actions=2))
    for a, b in zip(played.offsets[:-1], played.offsets[1:], strict=True):
        assert len(set(played.actions[a:b].tolist())) == 1


def test_noise_is_seen_by_the_player_and_not_recorded() -> None:
    player = Steady()
    what = Disturbance(noise=0.5, scale=np.array([1.0, 0.0, 1.0, 1.0]))
    played = play(request(), (3,), DisturbedPlayer(player, (3,), what, n_actions=2))
    clean = play(request(), (3,), Steady())
    assert np.array_equal(played.frames, clean.frames)
    seen, shown = np.concatenate(player.seen), clean.frames[clean.frame_index]
    assert seen.dtype == shown.dtype
    assert np.array_equal(seen[:, 1], shown[:, 1])
    assert not np.isclose(seen[:, 0], shown[:, 0]).any()
