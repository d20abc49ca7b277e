"""Cross-testing: does the region that matters to one model serve another? Heat maps of each shown to all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moorelens.errors import InvariantError, OptionError
from moorelens.saliency.curves import Mode, rank_parts, ranks_of
from moorelens.saliency.meter import MAX_BATCH, Meter, take
from moorelens.saliency.patches import PatchGrid
from moorelens.saliency.scores import ScoreFn

# Shares of the picture that are shown (or hidden), beside nothing and everything. `p` in percent: 1, 2, 5, 10, 20, 50.
FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """A model that is shown regions: its score of the label, and the pictures and their baseline as it reads them."""

    name: str
    score: ScoreFn
    x: Tensor
    baseline: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossTest:
    """Scores `y (R, M, B, F)` of M judges for B images while the top shares `x (F,)` of R maps are shown or hidden.

    `area (R, M, B)`: the trapezoid area under each, over the whole picture: of insertion large where the map's region
    suffices, of deletion small where it is needed. `rows`: whose maps; `columns`: who tests.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    mode: Mode
    x: Tensor
    y: Tensor
    area: Tensor
    n_forward: int


def cross_test(
    judges: Sequence[Judge],
    maps: Mapping[str, Tensor],
    *,
    mode: Mode = "insertion",
    fractions: Sequence[float] = FRACTIONS,
    side: int = 28,
    seed: int = 0,
    max_batch: int = MAX_BATCH,
) -> CrossTest:
    """Show each judge the top p % of each of `maps`, name -> (B, H, W), larger = more important (jiang2024comparing).

    Maps are averaged on a grid of `side` x `side` cells (28, as in the paper) and their cells ranked, equal ones in
    an order drawn from `seed`, the same for all maps. Insertion moves the top cells from the picture into the
    baseline, deletion from the baseline into the picture. Raises `OptionError` for pictures and maps of unlike sizes.
    """
    shapes = {tuple(judge.x.shape[2:]) for judge in judges} | {tuple(found.shape[1:]) for found in maps.values()}
    batches = {len(judge.x) for judge in judges} | {len(found) for found in maps.values()}
    if len(shapes) != 1 or len(batches) != 1:
        raise OptionError(
            f"Regions of one model are shown to another on the same pictures, and these have sizes {sorted(shapes)} "
            f"and counts {sorted(batches)}: bring all models to one size."
        )
    (size,) = shapes
    grid = PatchGrid.regular(min(side, size[0]), min(side, size[1]), (size[0], size[1]))
    edges = _edges(fractions, grid.count)
    places = {
        name: ranks_of(rank_parts(found, grid=grid, generator=torch.Generator().manual_seed(seed)))
        for name, found in maps.items()
    }
    meters = [Meter(judge.score, max_batch=max_batch) for judge in judges]
    y = torch.stack(
        [
            torch.stack([_scores(t, m, ranks, grid, edges, mode) for t, m in zip(judges, meters, strict=True)])
            for ranks in places.values()
        ]
    ).double()
    x = edges.double() / grid.count
    return CrossTest(
        rows=tuple(maps),
        columns=tuple(judge.name for judge in judges),
        mode=mode,
        x=x,
        y=y,
        area=((y[..., 1:] + y[..., :-1]) * x.diff()).sum(dim=-1) / 2,
        n_forward=sum(meter.n_forward for meter in meters),
    )


def random_maps(count: int, side: int, size: tuple[int, int], *, generator: torch.Generator) -> Tensor:
    """Return maps (count, H, W) of independent uniform cells: what a map is worth that knows nothing of the picture."""
    if side < 1:
        raise InvariantError(f"A map has 1 cell or more on a side, and {side} was asked for.")
    cells = torch.rand(count, min(side, size[0]) * min(side, size[1]), generator=generator)
    grid = PatchGrid.regular(min(side, size[0]), min(side, size[1]), size)
    return cells[:, grid.labels]


def _edges(fractions: Sequence[float], count: int) -> Tensor:
    """Return how many cells are moved at each point: none, each share of all, all."""
    if not fractions or not all(0 < share <= 1 for share in fractions):
        raise OptionError(
            f"Shares of a picture lie above 0 and up to 1, and {list(fractions)} do not: pass such as 0.05, 0.1."
        )
    cells = {max(1, round(share * count)) for share in fractions}
    return torch.tensor(sorted(cells | {0, count}))


def _scores(judge: Judge, meter: Meter, places: Tensor, grid: PatchGrid, edges: Tensor, mode: Mode) -> Tensor:
    """Return (B, F): the judge's score of each picture at each edge."""
    inside, outside = (judge.x, judge.baseline) if mode == "insertion" else (judge.baseline, judge.x)
    count = len(judge.x)

    def make(index: Tensor) -> tuple[Tensor, Tensor]:
        rows = index % count
        moved = places.index_select(0, rows)[:, grid.labels] < edges[index // count].reshape(-1, 1, 1)
        return torch.where(moved[:, None], take(inside, rows), take(outside, rows)), rows

    return meter.values_of(len(edges) * count, make).reshape(len(edges), count).T
