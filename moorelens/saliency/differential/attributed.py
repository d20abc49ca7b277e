"""Two branches explained by any explainer: what of an observation its action rests on, against the other branch's."""

from __future__ import annotations

import numpy as np
import torch

from moorelens.policies.base import to_input
from moorelens.saliency.baselines import other
from moorelens.saliency.differential.analysis import BranchSaliency, Scene, proof_of
from moorelens.saliency.differential.asked_scores import asked_score
from moorelens.saliency.differential.branches import BranchPairs
from moorelens.saliency.differential.config import DifferentialConfig
from moorelens.saliency.explainer import Explainer


def attributed_branches(
    scene: Scene, pairs: BranchPairs, explainer: Explainer, *, score: str, config: DifferentialConfig
) -> BranchSaliency:
    """Explain each observation of the pairs by `explainer`, with that of the other branch as its baseline.

    `score`: a name (`asked_score`), of the policy itself, from its own memory before the step. The record is that of
    differential saliency, so that methods compare.
    Raises what the explainer and the score raise.
    """
    rows, opposite, _ = pairs.both_ways()
    x, baseline = (to_input(scene.observations[part]) for part in (rows, opposite))
    fn = asked_score(scene, score, rows=rows, x=x, baseline=baseline)
    found = explainer.attribute(
        x, fn, other(baseline), generator=torch.Generator().manual_seed(config.seed), max_batch=16
    )
    values = found.saliency()
    maps = values[:, None] if x.ndim == 4 else values
    skipped = (values.flatten(1).abs().sum(dim=1) == 0).numpy()
    return BranchSaliency(
        pairs=pairs,
        maps=maps,
        memory=None,
        skipped=skipped,
        digits=np.zeros(0, dtype=np.int64),
        flips=proof_of(scene, pairs, maps, skipped, config),
        completeness=0.0,
        config=config,
        costs={name: getattr(found, name) for name in ("n_forward", "n_backward", "largest_batch")},
    )
