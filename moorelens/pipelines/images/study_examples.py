"""Pictures for the page of a study: exactly what the models were shown of a few of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor

from moorelens.pipelines.images.drawing import as_rgb, enlarged, png
from moorelens.pipelines.images.study_config import CountConfig, CrosstestConfig
from moorelens.pipelines.images.study_records import CountRecord
from moorelens.pipelines.images.study_subject import Study, Subject
from moorelens.pipelines.images.study_summary import explained
from moorelens.pipelines.images.study_work import baseline_of
from moorelens.reports.format import share
from moorelens.reports.study_html import Example, Shown
from moorelens.saliency.baselines import Normaliser
from moorelens.saliency.curves import rank_parts, ranks_of
from moorelens.saliency.patches import PatchGrid

_PICTURES = 4
_SIDE = 168  # pixels of the page
_TOP = 0.1  # share of the picture that is shown of a heat map


def count_examples(study: Study, records: Sequence[CountRecord], config: CountConfig) -> tuple[Example, ...]:
    """Return the first compared pictures, each with the first MSE of every model: the rest shows the baseline."""
    by_image: dict[str, list[CountRecord]] = {}
    for record in records:
        by_image.setdefault(record.image, []).append(record)
    chosen = [one for one in study.subjects if all(explained(record, config) for record in by_image[one.name])]
    found = []
    for subject in chosen[:_PICTURES]:
        grid = _grid(subject, config.grid)
        shown = [Shown(caption="the picture", png=_png(subject.raw))]
        for record in by_image[subject.name]:
            patches = record.mse_patches[0]
            keep = grid.keep([sum(1 << patch for patch in patches)])[0]
            words = f"{record.model}: {len(patches)} of {grid.count} patches, {share(record.mse_relative[0])}"
            shown.append(Shown(caption=words, png=_png(_only(subject, keep, config))))
        found.append(Example(title=f"{subject.name}: {study.models.classes[subject.label]}", pictures=tuple(shown)))
    return tuple(found)


def crosstest_examples(study: Study, maps: Mapping[str, Tensor], config: CrosstestConfig) -> tuple[Example, ...]:
    """Return the first pictures, each with the top tenth of every model's map, as it is shown to the others."""
    found = []
    for number, subject in enumerate(study.subjects[:_PICTURES]):
        shown = [Shown(caption="the picture", png=_png(subject.raw))]
        grid = _grid(subject, config.cells)
        for place, name in enumerate(study.models.names):
            heat = maps[f"{number:06d}/{place}"].flatten()[None, grid.labels]
            generator = torch.Generator().manual_seed(config.seed)
            ranks = ranks_of(rank_parts(heat, grid=grid, generator=generator))[0]
            keep = (ranks[grid.labels] < round(_TOP * grid.count)).to(torch.float32)
            shown.append(
                Shown(caption=f"top {_TOP:.0%} of the map of {name}", png=_png(_only(subject, keep[None], config)))
            )
        found.append(Example(title=f"{subject.name}: {study.models.classes[subject.label]}", pictures=tuple(shown)))
    return tuple(found)


def _grid(subject: Subject, side: int) -> PatchGrid:
    height, width = subject.raw.shape[1:]
    return PatchGrid.regular(min(side, height), min(side, width), (height, width))


def _hidden(subject: Subject, config: CountConfig | CrosstestConfig) -> Tensor:
    """Return the baseline (C, H, W) in [0, 1]; blurring and averaging commute with an affine normaliser."""
    channels = len(subject.raw)
    plain = Normaliser(mean=(0.0,) * channels, std=(1.0,) * channels)
    return baseline_of(config.baseline, plain)(subject.raw[None], None)[0]


def _only(subject: Subject, keep: Tensor, config: CountConfig | CrosstestConfig) -> Tensor:
    return torch.lerp(_hidden(subject, config), subject.raw, keep.expand_as(subject.raw))


def _png(raw: Tensor) -> bytes:
    return png(enlarged(Image.fromarray(as_rgb(raw)), side=_SIDE))
