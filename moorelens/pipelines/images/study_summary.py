"""The numbers of a study: from the records of single pictures to what `summary.json` says of the models."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from moorelens.pipelines.images.study_config import CountConfig, CrosstestConfig, StudyConfig, settings_of_study
from moorelens.pipelines.images.study_records import CountRecord, CrossRecord
from moorelens.pipelines.images.study_subject import Study
from moorelens.pipelines.images.study_work import MODES, RANDOM, TRUTH, bins_of
from moorelens.reports.format import plural
from moorelens.reports.study import (
    MAPPED,
    CountSummary,
    CrosstestSummary,
    Matrix,
    Measure,
    SearchFacts,
    StudiedModel,
    StudyHead,
    Transfer,
    TruthFacts,
)
from moorelens.saliency.studies.embedding import landscape, relative, similarity
from moorelens.saliency.studies.statistics import holm, paired_tests, sign_flip_p, spread
from moorelens.stats import Estimate, estimate

Floats = npt.NDArray[np.float64]

# What is measured of each picture: key in the records, title, unit.
MEASURES = (
    ("sub_explanations", "Sub-explanations", "sets"),
    ("mean_size", "Patches of an MSE", "patches"),
    ("mses", "MSEs", "sets"),
    ("disjoint", "MSEs that share no patch", "sets"),
    ("apart", "MSEs of which no two share more than {overlap}", "sets"),
    ("union", "Patches in any MSE", "patches"),
    ("drop", "Fall by a patch taken away", "share"),
)


def head_of(study: Study, config: StudyConfig, *, source: str) -> StudyHead:
    """Return what was compared."""
    models = study.models
    return StudyHead(
        source=source,
        bundled=config.images is None,
        models=tuple(
            StudiedModel(name=name, reference=reference, identity=identity, right=study.picked.right[name])
            for name, reference, identity in zip(models.names, models.references, models.identities, strict=True)
        ),
        classes=models.classes,
        shown=study.picked.shown,
        pictures=study.picked.total,
        correct=len(study.subjects),
        skipped=study.picked.skipped,
        settings=settings_of_study(config),
    )


def count_summary(head: StudyHead, records: list[CountRecord], config: CountConfig) -> CountSummary:
    """Return the summary of a count.

    A picture that cannot be explained under some model is compared under none: without an MSE, or where nothing shown
    keeps `p_low` of the probability, so that any set at all would be a sub-explanation.
    """
    by_model = {model.name: [record for record in records if record.model == model.name] for model in head.models}
    rows = zip(*by_model.values(), strict=True)
    whole = [place for place, row in enumerate(rows) if all(explained(record, config) for record in row)]
    kept = {name: [found[place] for place in whole] for name, found in by_model.items()}
    bins = bins_of(config)
    return CountSummary(
        head=head,
        compared=len(whole),
        of_class=_of_class(head, [next(iter(by_model.values()))[place].label for place in whole]),
        searches=tuple(_searches(found, config) for found in by_model.values()),
        measures=tuple(_measure(kept, *what, config=config) for what in MEASURES) if whole else (),
        bins=bins,
        histogram=tuple(
            tuple(_estimate([record.histogram[bin_] for record in found], config.seed) for bin_ in range(len(bins)))
            for found in kept.values()
        )
        if whole
        else (),
        truth=tuple(_truth(found, config.seed) for found in kept.values()) if whole and head.bundled else None,
    )


def _of_class(head: StudyHead, labels: list[str]) -> tuple[int, ...]:
    """Return how many of the compared pictures show each class."""
    return tuple(labels.count(name) for name in head.classes)


def explained(record: CountRecord, config: CountConfig) -> bool:
    """Say whether a picture has an MSE under a model, and needs to be seen for its class to be named."""
    return record.mses > 0 and not _blind(record, config)


def _blind(record: CountRecord, config: CountConfig) -> bool:
    return record.blank >= config.p_low * record.probability


def _searches(found: list[CountRecord], config: CountConfig) -> SearchFacts:
    return SearchFacts(
        blind=sum(_blind(record, config) for record in found),
        none=sum(not record.mses and not _blind(record, config) for record in found),
        search_cut=sum(record.search_cut for record in found),
        count_cut=sum(record.count_cut for record in found),
        capped=sum(record.capped for record in found),
        evaluated=float(np.mean([record.n_evaluated for record in found])),
    )


def _measure(kept: dict[str, list[CountRecord]], key: str, title: str, unit: str, *, config: CountConfig) -> Measure:
    values = {name: [float(getattr(record, key)) for record in found] for name, found in kept.items()}
    return Measure(
        key=key,
        title=title.format(overlap=plural(config.overlap, "patch", "patches")),
        unit=unit,
        models=tuple(spread(sample, seed=config.seed) for sample in values.values()),
        tests=paired_tests(values, seed=config.seed),
    )


def _truth(found: list[CountRecord], seed: int) -> TruthFacts:
    return TruthFacts(
        on_truth=_estimate([record.on_truth or 0.0 for record in found], seed),
        meet_any=_estimate([(record.meet_any or 0) / record.mses for record in found], seed),
        meet_all=_estimate([(record.meet_all or 0) / record.mses for record in found], seed),
    )


def _estimate(values: list[float] | list[int], seed: int) -> Estimate:
    return estimate(values, seed=seed)


def crosstest_summary(head: StudyHead, records: list[CrossRecord], config: CrosstestConfig) -> CrosstestSummary:
    """Return the summary of a cross-test; a picture whose map is noise under some model is compared under none."""
    names = [model.name for model in head.models]
    rows = [*names, RANDOM, *([TRUTH] if head.bundled else [])]
    noise = {record.image for record in records if record.explainable is False}
    found: dict[tuple[str, str, str], list[CrossRecord]] = {}
    for record in records:
        if record.image not in noise:
            found.setdefault((record.mode, record.map, record.judge), []).append(record)
    matrices = tuple(_matrix(found, mode, rows, names, config.seed) for mode in MODES) if found else ()
    own = [record for record in records if record.map == record.judge and record.mode == MODES[0]]
    return CrosstestSummary(
        head=head,
        compared=head.correct - len(noise),
        of_class=_of_class(
            head, list({record.image: record.label for record in records if record.image not in noise}.values())
        ),
        rows=tuple(rows),
        shares=records[0].shares,
        matrices=matrices,
        transfers=_transfers(found, rows, names, config.seed) if found else (),
        unexplainable=tuple(sum(not one.explainable for one in own if one.map == name) for name in names),
        landscape=landscape(similarity([[cell.mean for cell in row] for row in matrices[0].area[: len(names)]]))
        if matrices and len(names) >= MAPPED
        else None,
    )


def _matrix(
    found: dict[tuple[str, str, str], list[CrossRecord]], mode: str, rows: list[str], names: list[str], seed: int
) -> Matrix:
    area = [[_estimate([one.area for one in found[mode, row, name]], seed) for name in names] for row in rows]
    shares = relative([[cell.mean for cell in line] for line in area])
    return Matrix(
        mode="insertion" if mode == "insertion" else "deletion",
        area=tuple(map(tuple, area)),
        relative=tuple(tuple(float(value) for value in line) for line in shares),
        curves=tuple(
            tuple(
                tuple(float(value) for value in np.mean([one.scores for one in found[mode, row, name]], axis=0))
                for name in names
            )
            for row in rows
        ),
    )


def _transfers(
    found: dict[tuple[str, str, str], list[CrossRecord]], rows: list[str], names: list[str], seed: int
) -> tuple[Transfer, ...]:
    """Compare each judge's own map with every other, by insertion; p-values are corrected for all of them together."""
    pairs = [(judge, row) for judge in names for row in rows if row != judge]
    differences = [
        np.array([one.area for one in found["insertion", judge, judge]])
        - np.array([one.area for one in found["insertion", row, judge]])
        for judge, row in pairs
    ]
    raw = [sign_flip_p(difference, seed=seed) for difference in differences]
    return tuple(
        Transfer(
            judge=judge,
            map=row,
            difference=estimate(difference, seed=seed),
            median=float(np.median(difference)),
            p=p,
            p_holm=corrected,
        )
        for (judge, row), difference, p, corrected in zip(pairs, differences, raw, holm(raw), strict=True)
    )
