"""One picture explained: the map, the curves that try it out, and the numbers that go with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import torch
from torch import Tensor
from torch.nn import functional

from moorelens.errors import ModelFailure
from moorelens.pipelines.images.config import METHODS, settings_of
from moorelens.pipelines.images.job import ImageJob, baseline_of
from moorelens.pipelines.images.samples import Sample
from moorelens.reports.image import (
    Calls,
    ClassProbability,
    Curve,
    Explanation,
    MapFacts,
    ModelFacts,
    PictureFacts,
    RandomMaps,
    Truth,
)
from moorelens.saliency.attribution import Attribution
from moorelens.saliency.baselines import other
from moorelens.saliency.curves import Curve as CurveTensors
from moorelens.saliency.curves import causal_curve, flip_area, rank_parts, ranks_of
from moorelens.saliency.images.faults import blaming
from moorelens.saliency.images.models import ImageModel
from moorelens.saliency.localisation import mass_in, pointing_game
from moorelens.saliency.meter import Meter
from moorelens.saliency.registry import make_explainer
from moorelens.saliency.scores import BoundScore, class_score

RANDOM_MAPS, RANDOM_CELLS = 5, 7
ENOUGH = 0.9  # of the gap: what counts as bringing the score back
_TOP = 5
SCALED_MOST, SCALED_GAP = 10.0, 1e-3  # a scaled area beyond, or a gap of probabilities below, says nothing


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """An explanation with what its pictures are made from.

    `saliency (H, W)`, larger = more important; `steps (H, W)`: at which step of the curves a pixel is moved; `hidden
    (C, H, W)`: the baseline in [0, 1].
    """

    explanation: Explanation
    attribution: Attribution
    saliency: Tensor
    steps: Tensor
    hidden: Tensor


def measure(job: ImageJob, sample: Sample) -> Measured:
    """Explain one picture; raises `ModelFailure` where the model cannot answer it."""
    try:
        with blaming(job.model, name=sample.picture.name):
            return _measured(job, sample)
    except torch.OutOfMemoryError as error:
        raise ModelFailure(
            f"A model needs memory for each picture of a batch, and {job.model.name} ran out of it with "
            f"{job.config.max_batch} of {sample.picture.name}: pass a smaller --max-batch, such as 16."
        ) from error


def _measured(job: ImageJob, sample: Sample) -> Measured:
    config, model = job.config, job.model
    x = sample.picture.input(model).to(job.device)
    probabilities = answer(model, x, name=sample.picture.name).softmax(dim=1)[0]
    predicted = int(probabilities.argmax())
    target = predicted if job.target is None else job.target
    score = class_score(model.module, target, space=config.score)
    base = baseline_of(config, model)(x, _generator(job)).detach()
    explainer = make_explainer(METHODS[job.method][1], **settings_of(config))
    attribution = explainer.attribute(x, score, other(base), generator=_generator(job), max_batch=config.max_batch)
    saliency = attribution.saliency()
    order = rank_parts(saliency, generator=_generator(job))
    curves = _curves(job, score, x, base, order)
    flips = _flips(job, x, base, saliency, target=target, predicted=predicted)
    explanation = Explanation(
        method=job.method,
        explainer=attribution.method,
        settings=_plain(attribution),
        seed=config.seed,
        picture=_picture_facts(sample),
        model=model_facts(job),
        top=tuple(_class(model, probabilities, int(row)) for row in probabilities.argsort(descending=True)[:_TOP]),
        predicted=_class(model, probabilities, predicted),
        target=_class(model, probabilities, target),
        asked=job.target is not None,
        score=config.score,
        baseline=config.baseline,
        f_x=float(attribution.f_x[0]),
        f_b=float(attribution.f_b[0]),
        gap=float(attribution.gap[0]),
        explainable=bool(attribution.explainable[0]),
        map=_map_facts(attribution, saliency[0]),
        deletion=_curve(curves.deletion, attribution, config.score),
        insertion=_curve(curves.insertion, attribution, config.score),
        random=_random(curves),
        flip_area=flips.area,
        flips_to=flips.to,
        keep_area=_keep_area(curves.insertion, float(attribution.f_b[0]), float(attribution.gap[0])),
        diagnostics=_diagnostics(attribution),
        calls=Calls(forward=attribution.n_forward, backward=attribution.n_backward, curves=curves.calls + flips.calls),
        truth=None if sample.truth is None else _truth(model, sample, saliency.cpu(), predicted),
    )
    raw = base[0].cpu() * _column(base, model.normaliser.std) + _column(base, model.normaliser.mean)
    return Measured(
        explanation=explanation,
        attribution=attribution,
        saliency=saliency[0].cpu(),
        steps=_step_of(order[0].cpu(), len(explanation.deletion.area) - 1).reshape(saliency.shape[1:]),
        hidden=raw.clamp(0, 1),
    )


def answer(model: ImageModel, x: Tensor, *, name: str) -> Tensor:
    """Return the logits (N, K) of pictures; raises `ModelFailure` where there are none, or they are not finite."""
    try:
        with torch.no_grad():
            logits = model.module(x)
    except torch.OutOfMemoryError:
        raise
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())[:200]
        raise ModelFailure(
            f"A model answers each picture, and {model.name} failed on {name} at {x.shape[3]} x {x.shape[2]} pixels "
            f"({type(error).__name__}: {text}): say what it reads (--input-size, --channels)."
        ) from error
    if not isinstance(logits, Tensor) or logits.shape != (len(x), len(model.classes)):
        raise ModelFailure(
            f"A model answers each picture with {len(model.classes)} numbers, and {model.name} answered {name} with "
            "another shape: mend its forward."
        )
    if not bool(torch.isfinite(logits).all()):
        raise ModelFailure(
            f"A model answers with finite numbers, and {model.name} answered {name} with NaN or infinity: look at its "
            "weights and its normalisation (--mean, --std)."
        )
    found: Tensor = logits
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class _Curves:
    deletion: CurveTensors
    insertion: CurveTensors
    random_deletion: CurveTensors
    random_insertion: CurveTensors
    calls: int


def _curves(job: ImageJob, score: BoundScore, x: Tensor, base: Tensor, order: Tensor) -> _Curves:
    meter = Meter(score, max_batch=job.config.max_batch)
    steps = job.config.steps
    drawn = torch.rand(RANDOM_MAPS, 1, RANDOM_CELLS, RANDOM_CELLS, generator=_generator(job))
    maps = functional.interpolate(drawn, size=x.shape[2:], mode="bilinear", align_corners=True)[:, 0].to(x.device)
    many, others = (tensor.expand(RANDOM_MAPS, *tensor.shape[1:]) for tensor in (x, base))
    return _Curves(
        deletion=causal_curve(x, base, meter, order=order, mode="deletion", steps=steps),
        insertion=causal_curve(x, base, meter, order=order, mode="insertion", steps=steps),
        random_deletion=causal_curve(many, others, meter, saliency=maps, mode="deletion", steps=steps),
        random_insertion=causal_curve(many, others, meter, saliency=maps, mode="insertion", steps=steps),
        calls=meter.n_forward,
    )


class _Flips(NamedTuple):
    """The least area whose deletion changes the answer, to what, and how many pictures that took."""

    area: float | None = None
    to: str | None = None
    calls: int = 0


def _flips(job: ImageJob, x: Tensor, base: Tensor, saliency: Tensor, *, target: int, predicted: int) -> _Flips:
    """Hide the picture until the answer changes; nothing is tried of a class that is not the answer."""
    if target != predicted:
        return _Flips()
    answers: list[int] = []

    def decide(points: Tensor) -> Tensor:
        found: Tensor = job.model.module(points).argmax(dim=1)
        answers.extend(found.tolist())
        return found

    config, generator = job.config, _generator(job)
    areas = flip_area(
        x, base, decide, saliency=saliency, steps=config.steps, generator=generator, max_batch=config.max_batch
    )
    changed = next((found for found in answers if found != answers[0]), None)
    if changed is None:
        return _Flips(calls=len(answers))
    return _Flips(area=float(areas[0]), to=job.model.classes[changed], calls=len(answers))


def _keep_area(curve: CurveTensors, f_b: float, gap: float) -> float | None:
    if gap <= 0:
        return None
    enough = curve.y[0].double() >= f_b + ENOUGH * gap
    return float(curve.x[0][int(enough.to(torch.uint8).argmax())]) if bool(enough.any()) else None


def _curve(curve: CurveTensors, attribution: Attribution, score: str) -> Curve:
    """Return a curve; its area is scaled by the gap only where there is one to speak of."""
    scaled, gap = float(curve.auc_norm[0]), abs(float(attribution.gap[0]))
    tiny = not bool(attribution.explainable[0]) or (score == "prob" and gap < SCALED_GAP)
    return Curve(
        area=tuple(curve.x[0].tolist()),
        score=tuple(curve.y[0].double().tolist()),
        auc=float(curve.auc[0]),
        auc_norm=scaled if not tiny and abs(scaled) <= SCALED_MOST else None,
    )


def _random(curves: _Curves) -> RandomMaps:
    deletion, insertion = curves.random_deletion.auc, curves.random_insertion.auc
    return RandomMaps(
        cells=RANDOM_CELLS,
        deletion=tuple(deletion.tolist()),
        insertion=tuple(insertion.tolist()),
        deletion_score=tuple(curves.random_deletion.y.double().mean(dim=0).tolist()),
        insertion_score=tuple(curves.random_insertion.y.double().mean(dim=0).tolist()),
        deletion_mean=float(deletion.mean()),
        insertion_mean=float(insertion.mean()),
    )


def _map_facts(attribution: Attribution, saliency: Tensor) -> MapFacts:
    low, high = float(saliency.min()), float(saliency.max())
    flat = high - low <= 1e-6 * max(abs(low), abs(high))
    favour = saliency.clamp_min(0).double().flatten().sort(descending=True).values
    half = None
    if not flat and float(favour.sum()) > 0:
        half = int((favour.cumsum(dim=0) < favour.sum() / 2).sum() + 1) / favour.numel()
    height, width = attribution.native.shape[-2:]
    return MapFacts(kind=attribution.kind, low=low, high=high, flat=flat, height=height, width=width, half_area=half)


def _truth(model: ImageModel, sample: Sample, saliency: Tensor, predicted: int) -> Truth:
    assert sample.truth is not None and sample.label is not None
    truth = sample.truth[None]
    positive = saliency.clamp_min(0)
    known = bool(positive.sum() > 0)
    return Truth(
        label=model.classes[sample.label],
        right=predicted == sample.label,
        area=float(truth.float().mean()),
        mass=float(mass_in(positive, truth)[0]) if known else None,
        hit=bool(pointing_game(saliency, truth)[0]) if known else None,
    )


def _diagnostics(attribution: Attribution) -> dict[str, float | int | bool | str]:
    """Return what a method says of itself in single numbers; maps and histories stay in the `.npz`."""
    found: dict[str, float | int | bool | str] = {}
    for name, value in attribution.diagnostics.items():
        if isinstance(value, Tensor) and value.numel() == 1:
            value = value.item()
        if isinstance(value, bool | int | str) or (isinstance(value, float) and value == value):
            found[name] = value
    return found


def _plain(attribution: Attribution) -> dict[str, Any]:
    settings: dict[str, Any] = msgspec.to_builtins(attribution.config)
    return settings


def model_facts(job: ImageJob) -> ModelFacts:
    """Return what a page says of the model."""
    model = job.model
    height, width = (None, None) if model.size is None else model.size
    return ModelFacts(
        name=model.name,
        identity=job.model_id,
        classes=len(model.classes),
        channels=model.channels,
        height=height,
        width=width,
        mean=tuple(model.normaliser.mean),
        std=tuple(model.normaliser.std),
        assumed=model.assumed,
    )


def _picture_facts(sample: Sample) -> PictureFacts:
    picture = sample.picture
    return PictureFacts(
        file=picture.name,
        width=picture.width,
        height=picture.height,
        mode=picture.mode,
        shown_width=picture.raw.shape[2],
        shown_height=picture.raw.shape[1],
        notes=picture.notes,
    )


def _class(model: ImageModel, probabilities: Tensor, index: int) -> ClassProbability:
    return ClassProbability(index=index, name=model.classes[index], probability=float(probabilities[index]))


def _generator(job: ImageJob) -> torch.Generator:
    return torch.Generator().manual_seed(job.config.seed)


def _column(like: Tensor, values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=like.dtype)[:, None, None]


def _step_of(order: Tensor, steps: int) -> Tensor:
    """Return for each part (P,) the first step k at which round(P k / steps) parts, it among them, are moved."""
    count = len(order)
    edges = torch.tensor([(2 * count * k + steps) // (2 * steps) for k in range(steps + 1)])
    return torch.searchsorted(edges, ranks_of(order[None])[0], right=True)
