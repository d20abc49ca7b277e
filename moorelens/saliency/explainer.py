"""The contract of an explainer, and what every explainer does before and after its own work."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import msgspec
import torch
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.attribution import Attribution, Kind
from moorelens.saliency.baselines import Baseline
from moorelens.saliency.meter import MAX_BATCH, Meter
from moorelens.saliency.scores import ScoreFn

C = TypeVar("C", bound=msgspec.Struct)


@runtime_checkable
class Explainer(Protocol):
    """Says of each row what of it the score depends on; `moorelens.testing.check_explainer` checks the rules.

    Built from a frozen config; sees the model only as a score; changes nothing of it.
    """

    @property
    def config(self) -> msgspec.Struct:
        """The settings."""
        ...

    def attribute(
        self,
        x: Tensor,
        score: ScoreFn,
        baseline: Baseline,
        *,
        generator: torch.Generator | None = None,
        max_batch: int = MAX_BATCH,
    ) -> Attribution:
        """Return the maps of `x` (B, C, H, W) or (B, F) float32, in model-input space.

        `generator`: a fresh one with seed 0 where it is None. `max_batch`: most rows in one call of the model.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Work:
    """What an explainer works with: detached inputs, the baseline of each row, a meter, a generator on the CPU."""

    x: Tensor
    baseline: Tensor
    meter: Meter
    f_x: Tensor
    f_b: Tensor
    generator: torch.Generator
    seed: int
    started: float


def begin(
    x: Tensor,
    score: ScoreFn,
    baseline: Baseline,
    *,
    generator: torch.Generator | None = None,
    max_batch: int = MAX_BATCH,
) -> Work:
    """Check the request and score inputs and baselines; raises `OptionError` for inputs no explainer can read."""
    started = time.perf_counter()
    if x.ndim not in (2, 4) or len(x) == 0 or not x.is_floating_point() or not bool(torch.isfinite(x).all()):
        raise OptionError(
            f"Explained are finite float images (B, C, H, W) or vectors (B, F), one row or more, and this is "
            f"{tuple(x.shape)} {x.dtype}: convert it to model-input space first."
        )
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    seed = generator.initial_seed()
    x = x.detach()
    hidden = baseline(x, generator).detach()
    if hidden.shape != x.shape or not bool(torch.isfinite(hidden).all()):
        raise OptionError(
            f"A baseline is finite and has the shape of its input, {tuple(x.shape)}, and this one is "
            f"{tuple(hidden.shape)}: return one of that shape."
        )
    meter = Meter(score, max_batch=max_batch, strict=True)
    f_x, f_b = meter.values(x), meter.values(hidden)
    return Work(x=x, baseline=hidden, meter=meter, f_x=f_x, f_b=f_b, generator=generator, seed=seed, started=started)


class WorkingExplainer(Generic[C]):
    """What every `Explainer` of this package is: its settings, and its own work between `begin` and `finish`.

    A subclass names the class of its settings and gives `explain`.
    """

    settings: ClassVar[type[Any]]

    def __init__(self, config: C | None = None) -> None:
        """Take the settings, by default all defaults."""
        self.config: C = self.settings() if config is None else config

    def attribute(
        self,
        x: Tensor,
        score: ScoreFn,
        baseline: Baseline,
        *,
        generator: torch.Generator | None = None,
        max_batch: int = MAX_BATCH,
    ) -> Attribution:
        """Return the maps of `x`; see `Explainer.attribute`."""
        return self.explain(begin(x, score, baseline, generator=generator, max_batch=max_batch))

    def explain(self, work: Work) -> Attribution:
        """Return the maps of what has begun."""
        raise NotImplementedError


def finish(
    work: Work,
    native: Tensor,
    *,
    kind: Kind,
    method: str,
    config: msgspec.Struct,
    values: Tensor | None = None,
    diagnostics: Mapping[str, Any] | None = None,
) -> Attribution:
    """Return the attribution of `native` maps; `values` are by default these with their channels summed."""
    values = collapse(native, work.x) if values is None else values
    gap = work.f_x - work.f_b
    least = float(getattr(config, "min_gap", 0.1)) * work.f_x.abs()
    return Attribution(
        values=values.detach(),
        kind=kind,
        native=native.detach(),
        score=str(getattr(work.meter.score, "name", "score")),
        f_x=work.f_x,
        f_b=work.f_b,
        explainable=(gap > 0) & (gap >= least),
        n_forward=work.meter.n_forward,
        n_backward=work.meter.n_backward,
        largest_batch=work.meter.largest_batch,
        seconds=time.perf_counter() - work.started,
        method=method,
        config=config,
        seed=work.seed,
        diagnostics=dict(diagnostics or {}),
    )


def collapse(native: Tensor, x: Tensor) -> Tensor:
    """Return maps (B, H, W) of images from values for each channel (B, C, H, W); vectors stay as they are."""
    return native.sum(dim=1) if x.ndim == 4 and native.ndim == 4 else native
