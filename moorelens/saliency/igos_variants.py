"""What the variants of I-GOS do differently: settings that are left open, filled in, and rules of the search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from moorelens.errors import OptionError
from moorelens.saliency.config import IGOSConfig

Method = Literal["igos", "igos+", "igos++"]
Search = Literal["path", "fresh", "end", "none"]
# Cells by default: of the published maps between coarse and fine; both masks of iGOS++ stay connected on finer grids.
LONGER_SIDE: Mapping[Method, int] = {"igos": 28, "igos+": 56, "igos++": 56}
_WEIGHTS: Mapping[Method, tuple[float, float]] = {"igos": (1.0, 20.0), "igos+": (5.0, 20.0), "igos++": (8.0, 15.0)}
SHRINK, SLOPE, LEAST_STEP = 0.2, 1e-4, 1e-5  # of the backtracking, as in both releases
# A row whose masks hide no cell by half begins again with l1 / 4: the cause is larger than that price allows.
HIDDEN, RELAXED = 0.5, 4.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All settings of one run, none left open.

    `search`: what the line search compares: `path`, the loss that was differentiated, under the same noise; `fresh`,
    the same under new noise each time (2021); `end`, that of the masks themselves without noise (2019); `none`.
    `relative`: scores in shares of the gap, noise and edges in units of each input's own spread. `loss_factor`: of the
    scores in the line search, compared with the gradient. `projected`: the decrease asked for is that of the step as
    cut to [0, 1], not of the whole. `creep`: the smallest step is taken even where nothing is gained. `keep_best`:
    the best masks that were visited are returned, not the last. `resume`: the first step tried is a little longer than
    the last one accepted, not `step0` anew. `anneal`: l1 falls where the score does not (2019).
    `relaxations`: how often a row in which nothing gets hidden begins again with a lower l1.
    """

    iterations: int
    steps: int
    l1: float
    l2: float
    step0: float
    noise: float
    tolerance: float
    search: Search
    relative: bool = False
    loss_factor: float = 1.0
    projected: bool = False
    creep: bool = True
    keep_best: bool = False
    resume: bool = False
    anneal: bool = False
    relaxations: int = 0


def plan_of(config: IGOSConfig, method: Method, size: tuple[int, ...]) -> Plan:
    """Return the plan of `config` for masks of `size`; raises `OptionError` for a variant that was never released."""
    if config.variant == "ours":
        base = _ours(method, size)
    elif config.variant == "2019":
        if method != "igos":
            raise OptionError(f"{method} was first released in 2021 and variant=2019 was asked for: pass 2021 or ours.")
        fine = size != (28, 28)
        base = Plan(
            iterations=15,
            steps=20,
            l1=3.0 if fine else 1.0,
            l2=60.0 if fine else 20.0,
            step0=200.0,
            noise=0.2,
            tolerance=0.0,
            search="end",
            anneal=True,
        )
    else:
        base = _release_2021(method, size, accelerated=config.variant == "nag")
    names = ("iterations", "steps", "l1", "l2", "step0", "noise", "tolerance")
    given = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    if "l1" in given:
        given["relaxations"] = 0  # a weight that is asked for is kept
    return Plan(**{**base.__dict__, **given})


def _ours(method: Method, size: tuple[int, ...]) -> Plan:
    """Settings chosen on planted shapes other than those that docs/images.md reports.

    An outline costs the same at any resolution: l2 grows with the number of cells a side. One feature of a vector is a
    large share of it, which a large l1 would never hide.
    """
    l1, l2 = _WEIGHTS[method]
    return Plan(
        iterations=10,
        steps=6,
        l1=l1 if len(size) == 2 else 1.0,
        l2=l2 * max(size) / LONGER_SIDE["igos"],
        step0=200.0,
        noise=0.2,
        tolerance=1e-3,
        search="path",
        relative=True,
        projected=True,
        creep=False,
        keep_best=True,
        resume=True,
        relaxations=2,
    )


def _release_2021(method: Method, size: tuple[int, ...], *, accelerated: bool) -> Plan:
    single = method == "igos"
    return Plan(
        iterations=20 if single else 15,
        steps=15 if single else 20,
        l1=10.0 if max(size) >= 224 else 1.0,
        l2=20.0,
        step0=8.0 if single or accelerated else 1000.0,
        noise=0.2,
        tolerance=0.0,
        search="none" if accelerated else "fresh",
        loss_factor=2.0 if method == "igos++" else 1.0,
    )


def mask_size(size: int | tuple[int, int] | None, shape: tuple[int, ...], method: Method = "igos") -> tuple[int, ...]:
    """Return the cells (h, w) of masks on images (H, W), or the entries (F,) of vectors.

    Raises `OptionError` for masks that are finer than the input, or a size of vectors, which have an entry a feature.
    """
    if len(shape) == 1:
        if size is not None:
            raise OptionError(
                f"A mask on a vector has one entry for each of its {shape[0]} features and size {size} was given: "
                "leave it out."
            )
        return shape
    if isinstance(size, tuple):
        found = size
    else:
        longer = max(shape)
        side = min(LONGER_SIDE[method], longer) if size is None else size
        found = (max(1, round(side * shape[0] / longer)), max(1, round(side * shape[1] / longer)))
    if found[0] > shape[0] or found[1] > shape[1]:
        raise OptionError(
            f"A mask is no finer than its input of {shape[0]} x {shape[1]} pixels and size {size} is: pass a smaller "
            "size."
        )
    return found
