"""Pruning: the cosmetic branch goes and the vital one stays, losses never add up, and the log says the truth."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorelens.fsm.automata.build import from_edges
from moorelens.fsm.automata.decisions import decision_points
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.fsm.automata.run import compile_machine
from moorelens.fsm.prune import Outcome, affected, effects, prune
from moorelens.fsm.pruning_moves import Move, apply, branches, moves


class Games:
    """Games that show given words and pay for each wanted action: `wanted[n][t]` is (action, reward)."""

    def __init__(self, words: Sequence[Sequence[int]], wanted: Sequence[Sequence[tuple[int, float]]]) -> None:
        self.words, self.wanted, self.played = words, wanted, 0

    def __call__(self, machine: MooreMachine, *, open_loop: frozenset[int], rows: Collection[int]) -> Outcome:
        stepper = compile_machine(machine)
        returns, gaps, passed, read = [], [], [], []
        for row in rows:
            self.played += 1
            at, total, missed = stepper.start(1), 0.0, 0
            steps = set()
            for symbol, (action, reward) in zip(self.words[row], self.wanted[row], strict=True):
                before = int(at[0])
                at, taken, decided = stepper.step(at, np.array([symbol], np.int32))
                total += reward * (int(taken[0]) == action)
                missed += int(not decided[0] and before not in open_loop)
                steps.add((before, int(at[0]) if decided[0] else -1))
            returns.append(total)
            gaps.append(missed)
            passed.append(frozenset(steps))
            read.append(frozenset(self.words[row]))
        return Outcome(returns=np.array(returns), gaps=np.array(gaps), passed=tuple(passed), read=tuple(read))


def chain(costs: Sequence[float]) -> tuple[MooreMachine, Games, dict[int, float]]:
    """Decisions one after another: the k-th sees o1 or o2 and should take a or b, which pays `costs[k]`; then all meet.

    The words of 40 games take o2 one time in four. Returned with the decision states and what each is worth.
    """
    edges, actions, decisions = [], [0], {}
    at = 0
    for cost in costs:
        decisions[len(actions)] = cost
        hub, left, right = len(actions), len(actions) + 1, len(actions) + 2
        actions += [2, 0, 1]
        edges += [(at, 0, hub, 40), (hub, 1, left, 30), (hub, 2, right, 10)]
        if at != 0:
            edges.append((at + 1, 0, hub, 10))
        at = left
    words, wanted = [], []
    for game in range(40):
        word, pay = [], []
        for cost in costs:
            odd = game % 4 == 0
            word += [0, 2 if odd else 1]
            pay += [(2, 0.0), (1 if odd else 0, 4 * cost)]
        words.append(word)
        wanted.append(pay)
    machine = from_edges(edges, actions=actions, start=0, action_names=("a", "b", "wait"))
    return machine, Games(words, wanted), decisions


def deciding(machine: MooreMachine) -> int:
    return sum(not point.silent for point in decision_points(machine))


@pytest.mark.parametrize("mode", ["branch", "state", "symbol"])
def test_the_cosmetic_decision_goes_and_the_vital_one_stays(mode: Any) -> None:
    machine, games, _ = chain([0.0, 1.0])
    assert deciding(machine) == 2
    found = prune(machine, games, games=40, tolerance=0.1, mode=mode)
    vital = sorted(branches(machine))[1]
    if mode == "symbol":  # both decisions look at the same symbols, so neither symbol can be forgotten
        assert deciding(found.machine) == 2
        return
    assert [state for state in branches(machine) if int(found.state_map[state]) in branches(found.machine)] == [vital]
    assert found.cost.mean == 0.0
    assert np.array_equal(found.outcome.returns, found.original.returns)
    assert {int(found.state_map[state]) for state in branches(machine) if state != vital} == found.open_loop


def test_a_symbol_that_tells_nothing_of_its_own_is_forgotten() -> None:
    machine = from_edges(
        [(0, 0, 1, 9), (1, 1, 2, 5), (1, 2, 3, 5), (1, 3, 2, 1)],
        actions=[0, 2, 0, 1],
        start=0,
        action_names=("a", "b", "wait"),
    )  # fmt: skip
    games = Games([[0, 1]] * 5 + [[0, 2]] * 5 + [[0, 3]], [[(2, 0.0), (0, 0.0)]] * 11)
    found = prune(machine, games, games=11, tolerance=0.0, mode="symbol")
    assert deciding(found.machine) == 0


def test_ten_tolerable_prunes_do_not_add_up_beyond_the_tolerance() -> None:
    machine, games, _ = chain([1.0] * 10)
    found = prune(machine, games, games=40, tolerance=2.9)
    alone = {effect.state: effect.cost for effect in effects(machine, games, original=found.original)
             if effect.target == effect.state + 1}  # fmt: skip
    assert all(cost.high is not None and cost.high <= 2.9 for cost in alone.values()), "each alone is tolerable"
    assert len(alone) == 10
    lost = found.original.returns.mean() - found.outcome.returns.mean()
    assert 1.0 <= lost <= 2.9
    assert found.cost.high is not None and found.cost.high <= 2.9
    assert 7 <= deciding(found.machine) <= 9


def test_without_tolerance_for_noise_a_lucky_mean_is_not_enough() -> None:
    """The mean loss is within the tolerance, the upper bound of its interval is not."""
    machine, games, _ = chain([1.0])
    assert deciding(prune(machine, games, games=40, tolerance=1.1).machine) == 1
    assert deciding(prune(machine, games, games=40, tolerance=2.0).machine) == 0


def test_effects_say_what_each_branch_costs_alone() -> None:
    machine, games, decisions = chain([0.0, 2.0, 0.5])
    original = games(machine, open_loop=frozenset(), rows=range(40))
    found = {(effect.state, effect.target): effect.cost.mean for effect in effects(machine, games, original=original)}
    hubs = sorted(branches(machine))
    for hub, cost in zip(hubs, decisions.values(), strict=True):
        common, rare = sorted(branches(machine)[hub], key=lambda target: -branches(machine)[hub][target])
        assert found[hub, common] == pytest.approx(cost)  # a quarter of the games lose 4 times the cost
        assert found[hub, rare] == pytest.approx(3 * cost)


def test_games_that_a_move_does_not_touch_are_not_played_again() -> None:
    machine, games, _ = chain([0.0])
    before = games(machine, open_loop=frozenset(), rows=range(40))
    hub = next(iter(branches(machine)))
    rare = min(branches(machine)[hub], key=lambda target: branches(machine)[hub][target])
    common = max(branches(machine)[hub], key=lambda target: branches(machine)[hub][target])
    rows = affected(Move(mode="branch", state=hub, source=rare, target=common), before)
    assert rows == list(range(0, 40, 4))
    games.played = 0
    prune(machine, games, games=40, tolerance=0.0)
    assert games.played == 40 + 10 + 40  # the original, the games of the rare branch, the result


def test_strict_pruning_refuses_what_leads_off_the_record() -> None:
    """After the prune the run meets a symbol that its new state never saw."""
    machine = from_edges(
        [(0, 0, 1, 8), (1, 1, 2, 4), (1, 2, 3, 4), (2, 1, 2, 4), (3, 2, 3, 4)],
        actions=[0, 0, 1, 1],
        start=0,
        action_names=("a", "b"),
    )
    games = Games([[0, 1, 1], [0, 2, 2]] * 4, [[(0, 1.0), (1, 1.0), (1, 1.0)]] * 8)
    assert deciding(prune(machine, games, games=8, tolerance=0.0).machine) == 0
    assert deciding(prune(machine, games, games=8, tolerance=0.0, strict=True).machine) == 1


def test_candidates_come_by_the_steps_that_they_change() -> None:
    machine, _, _ = chain([0.0, 1.0])
    weights = []
    for move in moves(machine, "branch"):
        weights.append(branches(machine)[move.state][move.source])
    assert weights == sorted(weights)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 3.0))
def test_whatever_the_machine_the_loss_stays_within_the_tolerance_and_pruning_ends(seed: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    states, symbols, games = 6, 3, 7
    edges = [(s, o, int(rng.integers(1, states)), int(rng.integers(1, 9)))
             for s in range(states) for o in range(symbols) if o == 0 or rng.random() < 0.7]  # fmt: skip
    machine = from_edges(edges, actions=[0, *rng.integers(0, 2, states - 1).tolist()], start=0, action_names=("a", "b"))
    words = rng.integers(0, symbols, (games, 8)).tolist()
    wanted = [[(int(rng.integers(0, 2)), float(rng.random())) for _ in word] for word in words]
    found = prune(machine, Games(words, wanted), games=games, tolerance=tolerance)
    assert found.original.returns.mean() - found.outcome.returns.mean() <= tolerance + 1e-12
    assert deciding(found.machine) <= deciding(machine)
    again = Games(words, wanted)(found.machine, open_loop=found.open_loop, rows=range(games))
    assert np.array_equal(again.returns, found.outcome.returns)


def test_a_move_keeps_what_was_counted() -> None:
    machine, _, _ = chain([0.0])
    hub = next(iter(branches(machine)))
    a, b = branches(machine)[hub]
    after = apply(machine, Move(mode="branch", state=hub, source=a, target=b))
    assert after.counts.sum() == machine.counts.sum()
    assert np.array_equal(np.bincount(after.symbols, after.counts), np.bincount(machine.symbols, machine.counts))
