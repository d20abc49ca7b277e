"""The parts of an observation that alone make a policy act as it did, against what it saw on the other branch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import torch
from torch import Tensor

from moorelens.errors import OptionError
from moorelens.fsm.medoids import medoid
from moorelens.policies.base import to_input
from moorelens.saliency.baselines import other
from moorelens.saliency.differential.analysis import Scene
from moorelens.saliency.differential.branches import BranchPairs, Rows
from moorelens.saliency.patches import PatchGrid
from moorelens.saliency.policy_scores import action_score
from moorelens.saliency.scores import Space
from moorelens.saliency.sets.graph import build_sag, sag_grid
from moorelens.saliency.sets.sag import SAG
from moorelens.saliency.sets.search import find_mse
from moorelens.saliency.sets.values import SetValue

CELLS = 10  # rows and columns of the patches of an image, at most
_MAX_BATCH = 64
_SPACES: tuple[Space, Space] = ("prob", "margin")


@dataclass(frozen=True, kw_only=True, eq=False)
class BranchSets:
    """One branch: the step `row` that stands for it, explained against the step `counterpart` of the other branch.

    `action`: what was done at `row`; `greedy`: the policy gives it the highest probability there, and then a sufficient
    set has to leave it that; `v`: the probability of that action with only some parts of the observation, from
    the policy's own memory before the step.
    """

    target: int
    action: int
    row: int
    counterpart: int
    greedy: bool
    v: SetValue
    sag: SAG


def sufficient_parts(
    scene: Scene, pairs: BranchPairs, *, names: Sequence[str] = (), p_high: float = 0.9, p_low: float = 0.4
) -> tuple[BranchSets, BranchSets]:
    """Return for both branches the minimal parts of a typical observation that keep its action's probability.

    To keep is `p_high` of it, and that the action is still the likeliest one. Typical: the medoid of the compared steps
    of a branch. A hidden part shows what the other branch's typical observation shows there. Parts are the features of
    vectors (`names`), of images the cells of a 10 x 10 grid. A branch that takes the same action on both observations
    is vacuous.
    """
    assert scene.hidden is not None, "scores of a policy need its memories"
    first, second = (_typical(scene, rows) for rows in (pairs.first, pairs.second))
    return (
        _branch(scene, pairs.targets[0], first, second, names=names, p_high=p_high, p_low=p_low),
        _branch(scene, pairs.targets[1], second, first, names=names, p_high=p_high, p_low=p_low),
    )


def _branch(
    scene: Scene, target: int, row: int, counterpart: int, *, names: Sequence[str], p_high: float, p_low: float
) -> BranchSets:
    assert scene.hidden is not None
    x, baseline = (to_input(scene.observations[at : at + 1]) for at in (row, counterpart))
    grid = observation_grid(x)
    action = int(scene.traces.actions[row])
    score, margin = (
        action_score(scene.network.policy, action, hidden=scene.hidden[row : row + 1], space=space) for space in _SPACES
    )
    with torch.no_grad():
        greedy = bool(margin(x)[0] > 0)
    v = SetValue(x, score, other(baseline), grid, keep=margin if greedy else None, max_batch=_MAX_BATCH)
    sag = build_sag(v, find_mse(v, p_high=p_high), p_low=p_low)
    sag = msgspec.structs.replace(sag, grid=sag_grid(grid, names=names if x.ndim == 2 else ()))
    return BranchSets(target=target, action=action, row=row, counterpart=counterpart, greedy=greedy, v=v, sag=sag)


def observation_grid(x: Tensor) -> PatchGrid:
    """Return the parts of observations (1, F) or (1, C, H, W); raises `OptionError` for other shapes."""
    if x.ndim == 2:
        return PatchGrid.features(x.shape[1])
    if x.ndim != 4:
        raise OptionError(
            f"Parts are features of vectors (F,) or patches of images (C, H, W), and observations of this run are "
            f"{tuple(x.shape[1:])}: use another method."
        )
    height, width = x.shape[2:]
    return PatchGrid.regular(min(CELLS, height), min(CELLS, width), (height, width))


def _typical(scene: Scene, rows: Rows) -> int:
    distinct = np.unique(rows)
    spread = scene.observations[distinct].std(axis=0) if scene.observations.ndim == 2 else None
    return int(distinct[medoid(scene.observations[distinct], scale=spread)])


def shown_image(v: SetValue, patches: Sequence[int]) -> Tensor:
    """Return what the policy saw of a set of patches as a grey or coloured image (1 | 3, H, W) in [0, 1].

    Of stacked frames the newest is shown. Values outside [0, 1] are scaled by the range of the two observations.
    """
    operator = v.operators[0]
    seen = v.shown([sum(1 << patch for patch in patches)])[0]
    low = float(torch.minimum(operator.x, operator.baseline).min())
    high = float(torch.maximum(operator.x, operator.baseline).max())
    if low < 0 or high > 1:
        seen = (seen - low) / max(high - low, 1e-12)
    return seen if seen.shape[0] in (1, 3) else seen[-1:]
