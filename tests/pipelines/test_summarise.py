"""From counted episodes to the summary: each number beside its definition, each interval under its own name."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.automata.machine import MooreMachine
from moorelens.pipelines.extract import run_extract
from moorelens.pipelines.job import Job, open_job
from moorelens.pipelines.summarise import Evaluation, reference_of, summarise, unmeasured
from moorelens.reports.summary import Loss, MachineScore, Returns, RunSummary, Score
from moorelens.stats import paired_difference, share_of
from tests.pipelines import small

PLAYERS = ("policy", "policy_stochastic", "mmn", "machine", "reduced", "folded")
STEPS = [10, 20, 30]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("summarise")
    small.published(place / "p.p")
    return place


@pytest.fixture(scope="module")
def job(folder: Path) -> Job:
    config = small.explaining(folder / "p.p", folder / "run", held_out=3)
    run_extract(config)
    return open_job(config)


@pytest.fixture(scope="module")
def machine(job: Job, folder: Path) -> MooreMachine:
    return decode_machine((folder / "run/machine.json").read_bytes())


@pytest.fixture(scope="module")
def sizes(job: Job, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode((folder / "run/sizes.json").read_bytes())
    return found


def evaluation(**replaced: Sequence[float]) -> Evaluation:
    """Three held-out episodes of 10, 20 and 30 steps, counted; `replaced` with __ for /."""
    counted: dict[str, Sequence[float]] = {"replay": [1.0], "reactivity": [0.25]}
    for player in PLAYERS:
        counted |= {f"held_out/{player}/returns": [11.0, 22.0, 33.0], f"held_out/{player}/steps": STEPS}
    for player in ("machine", "reduced", "folded"):
        counted |= {f"held_out/{player}/decided": [10, 15, 30], f"held_out/{player}/known": [10, 18, 30]}
    counted |= {
        "held_out/mmn/machine_agrees": [9, 20, 28],
        "held_out/policy/machine_agrees": [8, 16, 30],
        "held_out/machine/policy_agrees": [7, 20, 27],
        "held_out/mmn/table": [0.5, 0.8],
        "held_out/mmn/clock": [0.2, 0.4],
        "held_out/mmn/tree": [0.9, 0.6],
        "held_out/mmn/block_steps": [40, 20],
        "assisted/machine/returns": [12.0, 22.0, 35.0],
        "assisted/machine/steps": STEPS,
        "assisted/machine/decided": [10, 15, 30],
    }
    counted |= {name.replace("__", "/"): values for name, values in replaced.items()}
    return {name: np.array(values) for name, values in counted.items() if len(values)}


def test_returns_are_means_with_their_share_of_recorded_steps(
    job: Job, machine: MooreMachine, sizes: dict[str, Any]
) -> None:
    found = summarise(job, machine=machine, sizes=sizes, evaluation=evaluation()).summary
    for player in PLAYERS:
        score: Score = getattr(found.returns, player)
        assert score.mean == pytest.approx(22.0)
        assert score.n == 3
        assert isinstance(score, MachineScore) == (player in ("machine", "reduced", "folded"))
    assert found.returns.machine is not None
    assert found.returns.machine.decided == pytest.approx((10 + 15 + 30) / (10 + 20 + 30))
    assert found.returns.pruned is None
    assert found.returns_published == Returns()
    assert found.returns_assisted.machine is not None
    assert found.returns_assisted.machine.mean == pytest.approx(23.0)
    assert found.returns_assisted.policy is None


def test_published_returns_are_one_game_without_an_interval(
    job: Job, machine: MooreMachine, sizes: dict[str, Any]
) -> None:
    counted = evaluation(published__policy__returns=[21.0], published__machine__returns=[19.0])
    found = summarise(job, machine=machine, sizes=sizes, evaluation=counted)
    assert found.summary.returns_published == Returns(
        policy=Score(mean=21.0, low=None, high=None, n=1),
        machine=MachineScore(mean=19.0, low=None, high=None, n=1, decided=None),
    )
    published = [entry for entry in found.seed_returns if entry.protocol == "published"]
    assert [(entry.player, entry.seeds, entry.values) for entry in published] == [
        ("policy", job.seeds("fit")[:1], (21.0,)),
        ("machine", job.seeds("fit")[:1], (19.0,)),
    ]


def test_the_loss_is_paired_seed_by_seed(job: Job, machine: MooreMachine, sizes: dict[str, Any]) -> None:
    counted = evaluation(
        held_out__machine__returns=[10.0, 21.0, 32.0],
        held_out__reduced__returns=[32.0, 21.0, 10.0],
        held_out__folded__returns=[11.0, 22.0, 30.0],
    )
    loss = summarise(job, machine=machine, sizes=sizes, evaluation=counted).summary.loss
    assert isinstance(loss, Loss)
    # One less on every seed: no doubt about the difference, though the returns differ much from seed to seed.
    assert loss.machine == Score(mean=1.0, low=1.0, high=1.0, n=3, bound=1.0)
    # The same returns on other seeds: the same mean, and no certainty at all.
    assert loss.reduced is not None
    assert (loss.reduced.mean, loss.reduced.low, loss.reduced.high) == (1.0, -21.0, 23.0)
    expected = paired_difference([11.0, 22.0, 33.0], [11.0, 22.0, 30.0])
    assert loss.folded is not None
    assert (loss.folded.mean, loss.folded.low, loss.folded.high) == (expected.mean, expected.low, expected.high)


def test_shares_are_over_steps_and_their_intervals_over_episodes(
    job: Job, machine: MooreMachine, sizes: dict[str, Any]
) -> None:
    found = summarise(job, machine=machine, sizes=sizes, evaluation=evaluation())
    counts = {
        "teacher_forced_mmn": [9, 20, 28],
        "teacher_forced_policy": [8, 16, 30],
        "closed_loop": [7, 20, 27],
        "symbol_novelty": [10 - 10, 20 - 18, 30 - 30],
        "undefined_rate": [10 - 10, 18 - 15, 30 - 30],
    }
    assert found.summary.fidelity.replay == 1.0
    assert found.intervals.keys() == {f"fidelity.{name}" for name in counts}
    for name, part in counts.items():
        expected = share_of(part, STEPS)
        interval = found.intervals[f"fidelity.{name}"]
        assert getattr(found.summary.fidelity, name) == pytest.approx(sum(part) / sum(STEPS))
        assert (interval.low, interval.high, interval.n) == (expected.low, expected.high, 3)
        assert interval.low is not None
        assert interval.high is not None
        assert interval.low <= getattr(found.summary.fidelity, name) <= interval.high


def test_memory_compares_the_machine_with_what_has_none(job: Job, machine: MooreMachine, sizes: dict[str, Any]) -> None:
    memory = summarise(job, machine=machine, sizes=sizes, evaluation=evaluation()).summary.memory
    weighted = {"table": (0.5 * 40 + 0.8 * 20) / 60, "clock": (0.2 * 40 + 0.4 * 20) / 60, "tree": 0.8}
    assert memory.reactivity == 0.25
    assert memory.memory_gain == pytest.approx(57 / 60 - weighted["table"])
    assert memory.open_loop_index == pytest.approx(weighted["clock"])
    assert memory.best_tree == pytest.approx(weighted["tree"])


def test_a_tree_that_was_not_grown_is_not_measured(job: Job, machine: MooreMachine, sizes: dict[str, Any]) -> None:
    counted = evaluation(held_out__mmn__tree=[])
    assert summarise(job, machine=machine, sizes=sizes, evaluation=counted).summary.memory.best_tree is None


def test_returns_seed_by_seed_belong_to_the_held_out_seeds(
    job: Job, machine: MooreMachine, sizes: dict[str, Any]
) -> None:
    found = summarise(job, machine=machine, sizes=sizes, evaluation=evaluation())
    assert {(entry.protocol, entry.player) for entry in found.seed_returns} == {
        *(("held_out", player) for player in PLAYERS),
        ("assisted", "machine"),
    }
    assert all(entry.seeds == job.seeds("held_out") for entry in found.seed_returns)
    assert found.summary.seeds.held_out == job.seeds("held_out")
    assert found.summary.seeds.selection == job.seeds("selection")


def test_an_extraction_says_what_it_did_not_measure(job: Job, machine: MooreMachine, sizes: dict[str, Any]) -> None:
    short = unmeasured(job, machine=machine, sizes=sizes, replay=1.0)
    whole = summarise(job, machine=machine, sizes=sizes, evaluation=evaluation()).summary
    assert (short.sizes, short.decisions) == (whole.sizes, whole.decisions)
    assert (short.returns, short.loss, short.memory) == (Returns(), Loss(), RunSummary(policy="", env="").memory)
    assert short.seeds.held_out == ()
    assert short.fidelity.replay == 1.0
    assert short.fidelity.closed_loop is None


@pytest.mark.parametrize(
    ("policy", "reference"),
    [
        ("mmn:/somewhere/else/p.p", "mmn:p"),
        ("zoo:p", "zoo:p"),
        ("/somewhere/else/p.safetensors", "p"),
        ("python:pkg.mod:p", "python:p"),
    ],
)
def test_a_policy_is_named_without_its_place(job: Job, policy: str, reference: str) -> None:
    elsewhere = msgspec.structs.replace(job.config, policy=policy)
    assert reference_of(with_config(job, elsewhere)) == reference


def with_config(job: Job, config: Any) -> Job:
    return dataclasses.replace(job, config=config)
