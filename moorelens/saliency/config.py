"""What an explainer can be told: one frozen record for each, without torch."""

from __future__ import annotations

from typing import Literal

import msgspec

from moorelens.errors import OptionError

Rule = Literal["midpoint", "trapezoid", "gauss_legendre", "right", "mean"]


MOST_CELLS = 2**28  # of RISE's masks, 4 bytes each


class SettingError(OptionError):
    """A setting, `name`, has a value that cannot be used; `rule` is the rest of the sentence."""

    def __init__(self, name: str, rule: str) -> None:
        super().__init__(f"{name} {rule}")
        self.name, self.rule = name, rule


class IntegratedGradientsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Integrated gradients (sundararajan2017axiomatic): `steps` on the straight path, under a quadrature `rule`.

    32 midpoint steps keep the completeness gap of small ReLU networks below 1 % (tests/saliency). A gap above
    `max_gap` (share of |f(x) - f(b)|) is flagged in the diagnostics as `incomplete`. `min_gap`: see `Attribution`.
    """

    steps: int = 32
    rule: Rule = "midpoint"
    max_gap: float = 0.01
    min_gap: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what cannot be computed; raises `OptionError`."""
        at_least(self, "steps", 2 if self.rule in ("trapezoid", "mean") else 1)


class SmoothGradConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SmoothGrad (smilkov2017smoothgrad): the gradient averaged over `samples` noisy copies of the input.

    `noise`: standard deviation as a share of the input's range (paper: 0.1 to 0.2). `times_input`: multiply by input
    minus baseline, which makes the map signed; else the channels' magnitudes are added up.
    """

    samples: int = 32
    noise: float = 0.15
    times_input: bool = False
    min_gap: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what cannot be computed; raises `OptionError`."""
        at_least(self, "samples", 1)
        at_least(self, "noise", 0)


class GradCAMConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Grad-CAM (selvaraju2017gradcam) at `layer`, the name of a submodule; the last convolution where it is None.

    `signed`: keep what speaks against the score (without the paper's ReLU). `tokens`: height and width of the patch
    grid of a layer that returns tokens (N, T, D) (transformers); one leading class token is left out.
    """

    layer: str | None = None
    signed: bool = False
    tokens: tuple[int, int] | None = None
    min_gap: float = 0.1


class OcclusionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Occlusion (zeiler2014visualizing) by square windows of `size` pixels, every `stride` pixels.

    Defaults: a seventh of the shorter side, and half the size; of vectors one entry. The last window ends at the edge.
    """

    size: int | None = None
    stride: int | None = None
    min_gap: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what cannot be computed; raises `OptionError`."""
        for name in ("size", "stride"):
            if getattr(self, name) is not None:
                at_least(self, name, 1)


class RISEConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """RISE (petsiuk2018rise): `masks` random masks of `cells` x `cells` cells, each shown with probability `p`.

    `form`: `mean` is the mean score over the masks that show a pixel (divided by how much each pixel was shown, hence
    unbiased at the borders, where the paper divides by N p); `centred` is the slope of the score over the mask,
    cov(f, m) / var(m), which is 0 for a pixel that does not matter. `confidence` of the half-width in the diagnostics.
    """

    masks: int = 2000
    cells: int = 7
    p: float = 0.5
    form: Literal["mean", "centred"] = "mean"
    confidence: float = 0.95
    min_gap: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what cannot be computed; raises `OptionError`."""
        at_least(self, "masks", 2)
        at_least(self, "cells", 2)
        if self.masks * self.cells**2 > MOST_CELLS:
            raise SettingError(
                "cells",
                f"of {self.cells} makes {self.masks:,} x {self.cells} x {self.cells} cells of masks, and at most "
                f"{MOST_CELLS:,} are kept in memory: pass fewer cells or masks.",
            )
        for name in ("p", "confidence"):
            if not 0 < getattr(self, name) < 1:
                raise SettingError(name, f"lies between 0 and 1 and {getattr(self, name)} does not: pass such as 0.5.")


class PerturbationConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Perturbation saliency (greydanus2018visualizing): a Gaussian spot of the baseline every `stride` pixels.

    `sigma`: of the spot, in pixels (paper: 5, stride 5, over a blur of sigma 3 as baseline). Vectors: one entry each.
    """

    stride: int = 5
    sigma: float = 5.0
    min_gap: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what cannot be computed; raises `OptionError`."""
        at_least(self, "stride", 1)
        if self.sigma <= 0:
            raise SettingError("sigma", f"of a spot is positive and {self.sigma} was given: pass such as 5.")


class IGOSConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """I-GOS (qi2020igos), iGOS+ and iGOS++ (khorram2021igospp): small masks that an optimiser finds.

    `variant`: `ours`; `2019` and `2021`, the two released versions; `nag`, the released accelerated gradient without a
    line search. A setting left None is the variant's own (`moorelens.saliency.igos_variants`).

    `size`: cells of the mask, one number for the longer side or (h, w); never above the input; None: 28 for I-GOS, 56
    for the others, the input where it is smaller. `iterations`; `steps` S of the path; `l1`, `l2`: weights of how much
    is hidden and of roughness, in `ours` shares of the gap, and l1, unless it is given, a quarter, then a sixteenth,
    for rows in which nothing would be hidden. `l1_schedule`: factors of l1 from the first iteration to the last, linear
    in between. `step0`: length of the first step tried. `noise`: standard deviation on the path, in `ours` in units of
    each input's own. `sigma`: of the edges that bilateral total variation lets a mask jump at, in squared units of
    model-input space. `tolerance`: a row stops once no cell of its masks moves further. `start`: (K, cell), hide one
    cell of a K x K grid by `start_depth` at first, which leads to another optimum.
    """

    variant: Literal["ours", "2019", "2021", "nag"] = "ours"
    size: int | tuple[int, int] | None = None
    iterations: int | None = None
    steps: int | None = None
    l1: float | None = None
    l2: float | None = None
    l1_schedule: tuple[float, ...] = (1.0,)
    step0: float | None = None
    noise: float | None = None
    sigma: float = 0.01
    tolerance: float | None = None
    start: tuple[int, int] | None = None
    start_depth: float = 1.0
    min_gap: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what cannot be computed; raises `OptionError`."""
        for name, least in (("iterations", 1), ("steps", 1), ("l1", 0), ("l2", 0), ("noise", 0), ("tolerance", 0)):
            if getattr(self, name) is not None:
                at_least(self, name, least)
        if self.sigma <= 0 or (self.step0 is not None and self.step0 <= 0):
            raise OptionError(
                f"sigma and step0 are positive and {self.sigma} and {self.step0} were given: pass such as 0.01 and 10."
            )
        sides = (self.size,) if isinstance(self.size, int) else self.size or ()
        if any(side < 1 for side in sides):
            raise OptionError(f"A mask has at least 1 cell a side and size {self.size} was given: pass such as 28.")
        if not self.l1_schedule or min(self.l1_schedule) < 0:
            raise OptionError(
                f"l1_schedule holds factors of l1, one or more and none below 0, and {self.l1_schedule} was given: "
                "pass such as (10, 1)."
            )
        if not 0 < self.start_depth <= 1:
            raise OptionError(f"start_depth is above 0 and at most 1 and {self.start_depth} was given: pass such as 1.")
        if self.start is not None and not (self.start[0] >= 1 and 0 <= self.start[1] < self.start[0] ** 2):
            raise OptionError(
                f"start is (K, cell) with a cell from 0 to K x K - 1 and {self.start} was given: pass such as (2, 3)."
            )


class CaptumConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A method of Captum: `saliency` (the gradient's magnitude) or `input_x_gradient` (signed)."""

    attribution: Literal["saliency", "input_x_gradient"] = "saliency"
    min_gap: float = 0.1


def at_least(config: msgspec.Struct, name: str, least: float) -> None:
    """Raise `OptionError` where a setting is below `least`."""
    value = getattr(config, name)
    if value < least:
        raise SettingError(name, f"is at least {least} and {value} was given: pass a larger number.")
