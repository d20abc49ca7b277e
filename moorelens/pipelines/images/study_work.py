"""The work of a study on a few pictures: a pure function of a task that any process can be handed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from moorelens.errors import ModelError
from moorelens.pipelines.images.study_config import BaselineName, CountConfig, CrosstestConfig, fractions_of
from moorelens.pipelines.images.study_records import CountRecord, CrossRecord
from moorelens.pipelines.images.study_subject import Models, Study, Subject, open_models
from moorelens.runs.arrays import encode_arrays
from moorelens.saliency.baselines import Baseline, Normaliser, constant, gaussian_blur, mean_colour
from moorelens.saliency.curves import Mode
from moorelens.saliency.images.faults import blaming
from moorelens.saliency.images.models import ImageModel
from moorelens.saliency.patches import PatchGrid
from moorelens.saliency.registry import make_explainer
from moorelens.saliency.scores import class_score
from moorelens.saliency.sets.records import MSE
from moorelens.saliency.sets.search import find_mse
from moorelens.saliency.sets.values import class_value
from moorelens.saliency.studies.counting import count_subexplanations
from moorelens.saliency.studies.crosstest import Judge, cross_test, random_maps

Array = npt.NDArray[Any]
RANDOM, TRUTH = "random", "truth"
MODES: tuple[Mode, ...] = ("insertion", "deletion")
_RAW: dict[str, float] = {"black": 0.0, "grey": 0.5, "white": 1.0}


@dataclass(frozen=True, kw_only=True, eq=False)
class Shard:
    """Pictures `subjects` (name, label, raw, causes) from number `first` on, and what they are asked.

    Models are named, not sent: a process opens them itself, and refuses where they are not those of `identities`.
    """

    first: int
    subjects: tuple[tuple[str, int, Array, Array | None], ...]
    references: tuple[str, ...]
    identities: tuple[str, ...]
    config: CountConfig | CrosstestConfig


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What a shard came to: its records as JSON, and arrays by name as `.npz`."""

    records: bytes
    arrays: bytes


def shards_of(study: Study, config: CountConfig | CrosstestConfig) -> list[Shard]:
    """Cut a study into pieces of `config.shard` pictures."""
    size = config.shard
    return [
        Shard(
            first=first,
            subjects=tuple(_packed(one) for one in study.subjects[first : first + size]),
            references=study.models.references,
            identities=study.models.identities,
            config=config,
        )
        for first in range(0, len(study.subjects), size)
    ]


def work(shard: Shard) -> Done:
    """Measure the pictures of a shard under every model."""
    models = open_models(shard.references)
    if models.identities != shard.identities:
        raise ModelError(
            f"A model is the same whenever it is opened, and of {', '.join(shard.references)} one came out with other "
            "weights: let its factory load them from a file that nobody replaces meanwhile, or seed what it draws."
        )
    subjects = [_unpacked(packed) for packed in shard.subjects]
    if isinstance(shard.config, CountConfig):
        counted: list[CountRecord] = []
        for one in subjects:
            with blaming(*models.opened, name=one.name):
                counted += count_picture(one, models, shard.config)
        return Done(records=msgspec.json.encode(counted), arrays=encode_arrays({}))
    crossed: list[CrossRecord] = []
    maps: dict[str, Array] = {}
    for number, one in enumerate(subjects, start=shard.first):
        with blaming(*models.opened, name=one.name):
            records, found = cross_picture(one, models, shard.config, number=number)
        crossed += records
        maps |= {f"{number:06d}/{place}": found[name].numpy() for place, name in enumerate(models.names)}
    return Done(records=msgspec.json.encode(crossed), arrays=encode_arrays(maps))


def count_picture(subject: Subject, models: Models, config: CountConfig) -> list[CountRecord]:
    """Return what `config` asks of one picture, under each model: same grid, beam and budget for all."""
    height, width = subject.raw.shape[1:]
    grid = PatchGrid.regular(min(config.grid, height), min(config.grid, width), (height, width))
    causes = None if subject.causes is None else [grid.touched(cause) for cause in subject.causes]
    return [
        _counted(subject, name, model, grid, causes, config)
        for name, model in zip(models.names, models.opened, strict=True)
    ]


def _counted(
    subject: Subject, name: str, model: ImageModel, grid: PatchGrid, causes: list[int] | None, config: CountConfig
) -> CountRecord:
    x = model.normaliser(subject.raw[None])
    baseline = baseline_of(config.baseline, model.normaliser)
    v = class_value(model.module, x, subject.label, baseline, grid, max_batch=config.max_batch)
    # Half of the budget at most is the search's: a count of nothing would look like a simple picture.
    search = find_mse(
        v, p_high=config.p_high, beam=config.beam, q=config.q, max_roots=config.max_roots,
        budget=max(2, config.budget // 2), certify=0,
    )  # fmt: skip
    counts = count_subexplanations(
        v, search.found, p_low=config.p_low, bins=bins_of(config), overlap=config.overlap,
        budget=max(0, config.budget - v.n_evals),
    )  # fmt: skip
    return CountRecord(
        image=subject.name,
        label=model.classes[subject.label],
        model=name,
        probability=search.full,
        blank=search.empty,
        vacuous=search.vacuous,
        mses=counts.mses,
        mse_patches=tuple(mse.patches for mse in search.found),
        mse_relative=tuple(mse.relative for mse in search.found),
        mean_size=counts.mean_size,
        disjoint=counts.disjoint,
        apart=counts.apart,
        union=counts.union,
        sub_explanations=counts.count,
        histogram=counts.histogram,
        drop=counts.drop,
        search_cut=search.exhausted,
        count_cut=counts.exhausted,
        capped=counts.mses >= config.max_roots,
        n_evaluated=v.n_evals,
        on_truth=_on_truth(search.found, causes),
        meet_any=None if causes is None else sum(any(m.bits & c for c in causes) for m in search.found),
        meet_all=None if causes is None else sum(all(m.bits & c for c in causes) for m in search.found),
    )


def bins_of(config: CountConfig) -> tuple[float, ...]:
    """Return the lower edges of the histogram: tenths from `p_low` up to 0.9."""
    return (config.p_low, *(edge / 10 for edge in range(1, 10) if edge / 10 > config.p_low + 1e-9))


def _on_truth(found: Sequence[MSE], causes: list[int] | None) -> float | None:
    total = sum(mse.size for mse in found)
    if causes is None or total == 0:
        return None
    truth = 0
    for cause in causes:
        truth |= cause
    return sum((mse.bits & truth).bit_count() for mse in found) / total


def cross_picture(
    subject: Subject, models: Models, config: CrosstestConfig, *, number: int
) -> tuple[list[CrossRecord], dict[str, Tensor]]:
    """Return what every model says of the regions of every map of one picture, and the maps by name, cell by cell."""
    height, width = subject.raw.shape[1:]
    judges, maps, explainable = [], {}, {}
    explainer = make_explainer(config.explainer, **config.settings)
    for name, model in zip(models.names, models.opened, strict=True):
        x = model.normaliser(subject.raw[None])
        baseline = baseline_of(config.baseline, model.normaliser)
        score = class_score(model.module, subject.label, space="prob")
        generator = torch.Generator().manual_seed(config.seed)
        found = explainer.attribute(x, score, baseline, generator=generator, max_batch=config.max_batch)
        judges.append(Judge(name=name, score=score, x=x, baseline=baseline(x, None)))
        maps[name], explainable[name] = found.saliency(), bool(found.explainable[0])
    drawn = torch.Generator().manual_seed(1_000_003 * config.seed + number)
    maps[RANDOM] = random_maps(1, config.cells, (height, width), generator=drawn)
    if subject.causes is not None:
        maps[TRUTH] = subject.causes.any(dim=0, keepdim=True).to(torch.float32)
    records = []
    for mode in MODES:
        crossed = cross_test(
            judges, maps, mode=mode, fractions=fractions_of(config), side=config.cells, seed=config.seed,
            max_batch=config.max_batch,
        )  # fmt: skip
        records += [
            CrossRecord(
                image=subject.name,
                label=models.classes[subject.label],
                map=row,
                judge=column,
                mode=mode,
                area=float(crossed.area[i, j, 0]),
                shares=tuple(crossed.x.tolist()),
                scores=tuple(crossed.y[i, j, 0].tolist()),
                explainable=explainable.get(row),
            )
            for i, row in enumerate(crossed.rows)
            for j, column in enumerate(crossed.columns)
        ]
    rows, columns = min(config.cells, height), min(config.cells, width)
    grid = PatchGrid.regular(rows, columns, (height, width))
    return records, {name: grid.means(found)[0].reshape(rows, columns) for name, found in maps.items()}


def baseline_of(name: BaselineName, normalise: Normaliser) -> Baseline:
    """Return the baseline that a request names."""
    if name == "blur":
        return gaussian_blur()
    return mean_colour() if name == "mean" else constant(_RAW[name], normalise)


def _packed(one: Subject) -> tuple[str, int, Array, Array | None]:
    # Arrays, not tensors: torch would send these through shared memory, which is scarce in containers.
    return one.name, one.label, one.raw.numpy(), None if one.causes is None else one.causes.numpy()


def _unpacked(packed: tuple[str, int, Array, Array | None]) -> Subject:
    name, label, raw, causes = packed
    known = None if causes is None else torch.from_numpy(np.array(causes))
    return Subject(name=name, label=label, raw=torch.from_numpy(np.array(raw)), causes=known)
