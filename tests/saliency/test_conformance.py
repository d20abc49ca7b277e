"""Every explainer of the registry keeps the rules of all explainers, and the suite sees it where one does not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.saliency.attribution import Attribution
from moorelens.saliency.baselines import Baseline
from moorelens.saliency.explainer import Explainer, begin, finish
from moorelens.saliency.integrated_gradients import IntegratedGradients
from moorelens.saliency.registry import EXPLAINERS, config_type, make_explainer
from moorelens.saliency.scores import ScoreFn
from moorelens.testing.explainers import CHECKS, ExplainerConformance, check_explainer

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "integrated_gradients": ("integrated_gradients", {"steps": 6}),
    "gauss": ("integrated_gradients", {"steps": 4, "rule": "gauss_legendre"}),
    "smoothgrad": ("smoothgrad", {"samples": 5}),
    "smoothgrad_signed": ("smoothgrad", {"samples": 5, "times_input": True}),
    "gradcam": ("gradcam", {}),
    "gradcam_signed": ("gradcam", {"signed": True, "layer": "0"}),
    "occlusion": ("occlusion", {"size": 4, "stride": 2}),
    "perturbation": ("perturbation", {"stride": 3, "sigma": 1.5}),
    "rise": ("rise", {"masks": 300, "cells": 4}),
    "rise_centred": ("rise", {"masks": 300, "cells": 4, "form": "centred"}),
    "igos": ("igos", {"iterations": 2, "steps": 3}),
    "igos_plus": ("igos+", {"iterations": 2, "steps": 3}),
    "igos_plus_plus": ("igos++", {"iterations": 2, "steps": 3}),
    "captum_saliency": ("captum", {"attribution": "saliency"}),
    "captum_input_x_gradient": ("captum", {"attribution": "input_x_gradient"}),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_explainer_keeps_the_rules(variant, check) -> None:  # type: ignore[no-untyped-def]
    name, settings = VARIANTS[variant]
    check(make_explainer(name, **settings))


def test_no_explainer_of_the_registry_is_left_out() -> None:
    assert {name for name, _ in VARIANTS.values()} >= set(EXPLAINERS)


def test_ig_is_integrated_gradients() -> None:
    assert isinstance(make_explainer("ig", steps=3), IntegratedGradients)
    assert config_type("ig") is config_type("integrated_gradients")
    with pytest.raises(OptionError, match=r"ig, .*integrated_gradients, .*'gi' is not"):
        make_explainer("gi")


class TestTheMixin(ExplainerConformance):
    """The suite as users run it."""

    def make_explainer(self) -> Explainer:
        return IntegratedGradients()


class Wrong(IntegratedGradients):
    """An explainer with one fault at a time."""

    fault = "inverted"

    def attribute(
        self,
        x: Tensor,
        score: ScoreFn,
        baseline: Baseline,
        *,
        generator: torch.Generator | None = None,
        max_batch: int = 256,
    ) -> Attribution:
        if self.fault == "unchunked":
            return super().attribute(x, score, baseline, generator=generator, max_batch=10_000)
        work = begin(x, score, baseline, generator=generator, max_batch=max_batch)
        if self.fault == "global randomness":
            native = work.x * torch.rand(x.shape)
        elif self.fault == "batch":
            native = work.x - work.x.mean(dim=0, keepdim=True)
        else:
            found = super().attribute(x, score, baseline, max_batch=max_batch)
            native = -found.native if self.fault == "inverted" else found.native
            if self.fault == "hooks":
                score.module[0].register_forward_hook(lambda *_: None)  # type: ignore[attr-defined]
            if self.fault == "nan":
                native = native / native.abs().amax()
        return finish(work, native, kind="signed", method=self.fault, config=self.config)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("inverted", "inverted|reversed"),
        ("global randomness", "draw from the generator only"),
        ("batch", "must not depend on its batch"),
        ("unchunked", "at most max_batch"),
        ("uncounted", "n_forward must count"),
        ("hooks", "changed its hooks"),
        ("nan", "finite|NaN"),
    ],
)
def test_a_fault_is_found_and_named(fault, words) -> None:  # type: ignore[no-untyped-def]
    explainer = Wrong()
    explainer.fault = fault
    with pytest.raises(AssertionError, match=words):
        check_explainer(explainer)
