"""The lines at the end of a job."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from moorelens.cli.summary_text import summary_lines
from moorelens.reports.summary import (
    Decisions,
    Fidelity,
    FoldedSize,
    Loss,
    MachineScore,
    MachineSize,
    Memory,
    ReducedSize,
    Returns,
    RunSummary,
    SaliencyTotals,
    Score,
    Sizes,
)

EMPTY = RunSummary(policy="cartpole", env="CartPole-v1")
FULL = RunSummary(
    policy="cartpole",
    env="CartPole-v1",
    returns=Returns(
        policy=Score(mean=500.0, low=500.0, high=500.0, n=20, bound=0.15),
        machine=MachineScore(mean=487.4, low=481.0, high=495.25, n=20, decided=0.973),
        reduced=MachineScore(mean=487.4, low=481.0, high=495.25, n=20, decided=0.973),
        folded=MachineScore(mean=21.0, low=None, high=None, n=1, decided=1.0),
    ),
    loss=Loss(machine=Score(mean=12.6, low=4.0, high=19.0, n=20), folded=Score(mean=-3.0, low=None, high=None, n=1)),
    fidelity=Fidelity(replay=1.0, teacher_forced_policy=0.9975, closed_loop=0.975, symbol_novelty=0.002),
    sizes=Sizes(
        machine=MachineSize(states=15, symbols=178, transitions=420, conflicts=0),
        reduced=ReducedSize(states=12, symbols=40, edges=33),
        folded=FoldedSize(states=7, symbols=67, method="fold", lower_bound=4),
    ),
    decisions=Decisions(structural=9, action=5, semantic=3, dwell=1),
    memory=Memory(reactivity=0.8, memory_gain=0.15, open_loop_index=0.1, best_tree=0.91),
    saliency=SaliencyTotals(decision_points=5, flip_salient=0.825, flip_other=0.1, pairs=20),
)


def lines(summary: RunSummary) -> list[str]:
    return summary_lines(msgspec.to_builtins(summary))


def test_ten_lines_that_anyone_can_read() -> None:
    assert lines(FULL) == [
        "cartpole in CartPole-v1: the machine loses 12.6 of 500",
        "             return  95 % interval       games     loss  recorded steps",
        "policy          500  500 to 500             20",
        "machine       487.4  481 to 495.2           20     12.6  97.3 %",
        "reduced       487.4  481 to 495.2           20           97.3 %",
        "folded           21  one game                1       -3  100 %",
        "Faithful  own traces 100 %, policy 99.75 %, closed loop 97.5 %, novel 0.2 %",
        "Sizes     machine 15 states, 178 symbols; reduced 12, 40; folded 7, 67",
        "Decisions 9 structural, 5 action, 3 semantic, 1 dwell, salient parts flip 82.5 %",
        "Memory    reactivity 0.80, gain +0.15, open loop 0.10, best tree 0.91",
    ]


def test_atari_policies_have_a_line_about_the_papers_game() -> None:
    played = Returns(
        policy=Score(mean=18.0, low=None, high=None, n=1),
        machine=MachineScore(mean=20.0, low=None, high=None, n=1, decided=1.0),
        folded=MachineScore(mean=-20.5, low=None, high=None, n=1, decided=1.0),
    )
    found = lines(msgspec.structs.replace(FULL, returns_published=played))
    assert found[6] == "Published policy 18, machine 20, folded -20.5, in the papers' game"
    assert found[:6] + found[7:] == lines(FULL)
    large = MachineScore(mean=12_345.6, low=None, high=None, n=1, decided=1.0)
    wide = Returns(policy=Score(mean=12_345.6, low=None, high=None, n=1), machine=large, reduced=large, folded=large)
    assert lines(msgspec.structs.replace(FULL, returns_published=wide))[6].endswith("folded 12 345.6")


def test_what_was_not_measured_is_said_so_and_is_never_zero() -> None:
    assert lines(EMPTY) == [
        "cartpole in CartPole-v1: return not measured",
        "             return  95 % interval       games     loss  recorded steps",
        "policy    not measured",
        "machine   not measured",
        "reduced   not measured",
        "folded    not measured",
        "Faithful  not measured",
        "Sizes     not measured",
        "Decisions not measured",
        "Memory    not measured",
    ]


@pytest.mark.parametrize("summary", [EMPTY, FULL])
@pytest.mark.parametrize("name", ["p" * 100, "ünïcödé"])
def test_no_line_is_wider_than_a_terminal(summary: RunSummary, name: str) -> None:
    long: Any = msgspec.structs.replace(summary, policy=name)
    assert len(lines(long)) == 10
    assert max(map(len, lines(long))) <= 80
