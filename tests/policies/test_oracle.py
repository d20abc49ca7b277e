"""Policies of memory tasks, taught with right answers: in slices, with a card, and only where answers are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from moorelens.errors import OptionError, RunFolderError
from moorelens.pipelines.train import run_train
from moorelens.policies.training.config import TrainConfig
from moorelens.policies.training.oracle import TASKS, OracleTraining, lesson_for

TOMITA = TrainConfig(env="moorelens/Tomita4-v0", teacher="oracle", units=8)


def test_a_taught_policy_has_a_file_and_an_honest_card(tmp_path: Path) -> None:
    outcome = run_train(TrainConfig(env="moorelens/Tomita1-v0", teacher="oracle", units=8), out=tmp_path / "t")
    card = outcome.card
    assert outcome.finished and outcome.policy is not None and card is not None
    assert (card.name, card.cell, card.units, card.held_out.score.mean) == ("tomita1", "gru", 8, 1.0)
    assert card.command == "moorelens train moorelens/Tomita1-v0 --teacher oracle --units 8"
    assert any("right answer at every step" in words for words in card.words)


def test_a_training_that_was_interrupted_ends_as_if_it_had_not_been() -> None:
    whole, first = OracleTraining(TOMITA), OracleTraining(TOMITA)
    first.advance()
    second = OracleTraining(TOMITA)
    second.restore(first.save())
    for training in (whole, second):
        while training.steps < 60_000 and not training.finished:
            training.advance()
        training.evaluate()
    one, other = (training.save() for training in (whole, second))
    assert [row | {"seconds": 0} for row in whole.curve] == [row | {"seconds": 0} for row in second.curve]
    assert whole.best_policy is not None and second.best_policy is not None
    for name, tensor in whole.best_policy.tensors().items():
        assert tensor.equal(second.best_policy.tensors()[name])
    assert len(one) == len(other)


def test_a_checkpoint_of_another_task_is_refused() -> None:
    other = OracleTraining(TrainConfig(env="moorelens/Tomita5-v0", teacher="oracle", units=8))
    with pytest.raises(RunFolderError, match="made with others"):
        other.restore(OracleTraining(TOMITA).save())


@pytest.mark.parametrize("env", ["CartPole-v1", "moorelens/TMaze-v0", "Tomita5-v0", "moorelens/Tomita8-v0"])
def test_a_task_without_known_answers_is_refused(env: str) -> None:
    with pytest.raises(OptionError, match="whose right answers are known"):
        OracleTraining(TrainConfig(env=env, teacher="oracle"))


def test_every_task_that_is_named_has_its_lesson() -> None:
    assert {lesson_for(f"moorelens/{name}-v0").env_id for name in TASKS} == {f"moorelens/{name}-v0" for name in TASKS}
