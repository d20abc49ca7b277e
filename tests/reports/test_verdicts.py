"""The findings follow from the numbers, say so when a number is missing, and name where it can be checked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from moorelens.reports.data import ReportData
from moorelens.reports.summary import (
    Decisions,
    Fidelity,
    FoldedSize,
    Loss,
    Memory,
    Returns,
    RunSummary,
    SaliencyTotals,
    Score,
    Sizes,
    Stability,
)
from moorelens.reports.tables import tables
from moorelens.reports.verdicts import Verdict, headline, kept_level, verdicts


def with_summary(data: ReportData, **parts: Any) -> ReportData:
    return msgspec.structs.replace(data, summary=msgspec.structs.replace(data.summary, **parts), intervals={})


def verdict(data: ReportData, key: str) -> Verdict:
    return next(item for item in verdicts(data) if item.key == key)


def score(mean: float, low: float | None = None, high: float | None = None, bound: float | None = None) -> Score:
    return Score(mean=mean, low=low, high=high, n=20, bound=bound)


@pytest.mark.parametrize(
    ("loss", "level"),
    [
        (score(0.0, 0.0, 0.0, 0.15), "good"),
        (score(-3.0, -9.0, 2.0), "good"),
        (score(10.0, 0.0, 20.0), "good"),
        (score(10.0, 0.0, 90.0), "mixed"),
        (score(11.0, 9.0, 12.0), "mixed"),
        (score(51.0, 40.0, 60.0), "poor"),
    ],
)
def test_two_percent_of_the_return_is_kept_and_ten_mostly(loss: Score, level: str) -> None:
    assert kept_level(500.0, loss) == level
    assert kept_level(-500.0, loss) == level


def test_the_first_finding_says_what_is_lost_and_how_sure_that_is(cart_pole: ReportData) -> None:
    data = with_summary(cart_pole, loss=Loss(reduced=score(10.0, 0.0, 20.0)))
    answer = verdict(data, "faithful").answer
    assert "keeps the policy's return" in answer
    assert "it loses 10 of 500, 95\u202f% interval 0 to 20" in answer
    assert "97.1\u202f% of steps" in answer


def test_no_loss_in_any_game_still_has_its_limit(cart_pole: ReportData) -> None:
    data = with_summary(cart_pole, loss=Loss(reduced=score(0.0, 0.0, 0.0, 0.15)))
    assert "up to 15.0\u202f% of games may still differ" in verdict(data, "faithful").answer


def test_two_games_are_too_few_to_call_a_return_kept(cart_pole: ReportData) -> None:
    loss = msgspec.structs.replace(cart_pole.summary.loss, reduced=Score(mean=0.0, low=0.0, high=0.0, n=2, bound=1.0))
    data = msgspec.structs.replace(cart_pole, summary=msgspec.structs.replace(cart_pole.summary, loss=loss))
    found = verdicts(data)[0]
    assert found.level == "mixed"
    assert "2 games are too few to be sure" in found.answer


def test_playing_as_well_is_not_playing_alike(cart_pole: ReportData) -> None:
    data = with_summary(
        cart_pole, loss=Loss(reduced=score(0.0, 0.0, 0.0, 0.15)), fidelity=Fidelity(teacher_forced_policy=0.658)
    )
    found = verdict(data, "faithful")
    assert (found.level, found.word) == ("mixed", "partly")
    assert "does not play alike" in found.answer
    assert "interval" not in found.answer


def test_a_machine_that_contradicts_its_traces_is_called_unsound(cart_pole: ReportData) -> None:
    data = with_summary(cart_pole, fidelity=Fidelity(replay=0.98))
    assert verdict(data, "faithful").level == "poor"
    assert "not sound" in verdict(data, "faithful").answer


def test_minimal_is_said_only_where_proven(cart_pole: ReportData) -> None:
    for folded, words in (
        (FoldedSize(states=5, symbols=9, method="exact", lower_bound=5, proven=True), "proven to be the fewest"),
        (FoldedSize(states=5, symbols=9, method="fold", lower_bound=4), "no fewer than 4 can do"),
        (FoldedSize(states=5, symbols=9, method="fold", zero_evidence_merges=3), "3 merges rested on no common"),
    ):
        answer = verdict(with_summary(cart_pole, sizes=Sizes(folded=folded)), "size").answer
        assert words in answer
        assert "minimal" not in answer
        assert ("proven" in answer) == folded.proven


@pytest.mark.parametrize(("gain", "word"), [(0.08, "It seems so"), (0.02, "Hardly"), (-0.01, "Hardly")])
def test_memory_is_used_where_it_gains_agreement(cart_pole: ReportData, gain: float, word: str) -> None:
    assert verdict(with_summary(cart_pole, memory=Memory(memory_gain=gain)), "memory").answer.startswith(word)


def test_what_was_not_measured_is_said(cart_pole: ReportData) -> None:
    bare = msgspec.structs.replace(
        cart_pole, summary=RunSummary(policy="p", env="e"), intervals={}, decisions=(), reductions=(), seed_returns=()
    )
    found = {item.key: item for item in verdicts(bare)}
    assert {found[key].level for key in ("faithful", "decisions", "memory", "stability")} == {"unknown"}
    assert "not measured" in found["memory"].answer
    assert "did not measure" in found["unmeasured"].answer
    assert headline(bare) == "No machine was extracted in this run."


def test_only_what_evaluate_measures_is_missing_where_all_else_was(cart_pole: ReportData) -> None:
    every = {name: score(1.0) for name in ("policy", "policy_stochastic", "mmn")}
    machines = {name: msgspec.convert({**msgspec.to_builtins(score(1.0)), "decided": 1.0}, type=_machine_score())
                for name in ("machine", "reduced", "folded", "pruned")}  # fmt: skip
    full = Returns(**every, **machines)
    data = with_summary(
        cart_pole,
        returns=full,
        returns_published=full,
        returns_assisted=full,
        saliency=SaliencyTotals(decision_points=3, flip_salient=0.8, flip_other=0.1, pairs=40),
        stability=Stability(repeats=5, states=15.2, decisions=6.0, agreement=0.97, recurring=0.75),
        decisions=Decisions(structural=8, action=6, semantic=7, dwell=2, after_pruning=3),
    )
    found = {item.key: item for item in verdicts(data)}
    assert found["unmeasured"].answer.startswith("This run did not measure disturbed games and players without memory")
    assert "80.0\u202f% of 40 pairs" in found["saliency"].answer
    assert "5 extractions" in found["stability"].answer
    assert "75.0\u202f% of this machine's decision points" in found["stability"].answer
    assert "3 decisions survive pruning" in found["decisions"].answer
    assert "policy scores 1, the machine 1" in found["published"].answer


@pytest.mark.parametrize(
    ("left", "says"),
    [
        (8, "All 8 decisions survive pruning: none can go"),
        (7, "7 decisions survive pruning: the other does not change"),
        (1, "1 decision survives pruning: the others do not change"),
        (0, "0 decisions survive pruning: the others do not change"),
    ],
)
def test_only_where_decisions_went_are_there_others(cart_pole: ReportData, left: int, says: str) -> None:
    data = with_summary(cart_pole, decisions=Decisions(structural=8, after_pruning=left))
    assert says in {item.key: item for item in verdicts(data)}["decisions"].answer


def test_findings_are_words_without_markup(cart_pole: ReportData, pong: ReportData) -> None:
    """Pages and PDF show an answer as it is: what marks code elsewhere would stand there as a backtick."""
    assert not any("`" in item.answer for data in (cart_pole, pong) for item in verdicts(data))


@pytest.mark.parametrize(("other", "level"), [(0.1, "good"), (0.8, "poor"), (None, "unknown")])
def test_saliency_without_a_control_is_not_judged(cart_pole: ReportData, other: float | None, level: str) -> None:
    totals = SaliencyTotals(decision_points=1, flip_salient=0.8, flip_other=other, pairs=40)
    found = {item.key: item for item in verdicts(with_summary(cart_pole, saliency=totals))}["saliency"]
    assert found.level == level and "80.0\u202f% of 40 pairs" in found.answer
    assert found.answer.startswith("Not to be judged: an observation has one feature only") == (other is None)


def _machine_score() -> type:
    from moorelens.reports.summary import MachineScore

    return MachineScore


def test_every_named_table_exists(cart_pole: ReportData, pong: ReportData) -> None:
    for data in (cart_pole, pong):
        known = set(tables(data))
        assert {key for item in verdicts(data) for key in item.tables} <= known


def test_the_headline_compares_states_and_returns(cart_pole: ReportData) -> None:
    assert headline(cart_pole).startswith("8 states stand in for the network and score")
