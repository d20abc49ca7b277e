"""Spec test 21 on trained networks: counting tells the task that needs two glyphs from the one that needs either."""

from __future__ import annotations

import statistics

import pytest

from moorelens.pipelines.images.study_config import CountConfig
from moorelens.pipelines.images.study_records import CountRecord
from moorelens.pipelines.images.study_subject import open_study
from moorelens.pipelines.images.study_work import count_picture
from moorelens.saliency.images.bundled import BUNDLED

_PICTURES = 12


def counted(task: str) -> list[CountRecord]:
    config = CountConfig(models=f"bundled:{task}-bn", task=task, count=_PICTURES, budget=6000)  # type: ignore[arg-type]
    study = open_study(config)
    found = [record for one in study.subjects for record in count_picture(one, study.models, config)]
    return [record for record in found if record.mses and record.blank < 0.5 * record.probability]


@pytest.mark.skipif(not {"or-bn", "and-bn"} <= set(BUNDLED), reason="the networks of the two tasks are not bundled")
def test_and_has_larger_sets_and_more_sub_explanations_and_or_more_disjoint_sets() -> None:
    either, both = counted("or"), counted("and")
    assert min(len(either), len(both)) >= 8

    def median(records: list[CountRecord], name: str) -> float:
        return statistics.median(getattr(record, name) for record in records)

    assert median(both, "mean_size") > 2 * median(either, "mean_size")
    assert median(both, "sub_explanations") > median(either, "sub_explanations")
    assert median(either, "disjoint") > median(both, "disjoint") == 1
    # Every set that suffices for a conjunction shows part of both glyphs; most for a disjunction show one of them.
    assert all(record.meet_all == record.mses for record in both)
    assert sum(record.meet_all or 0 for record in either) < sum(record.mses for record in either) / 2
