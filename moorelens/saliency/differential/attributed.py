"""Two branches explained by any explainer: what of an observation its action rests on, against the other branch's."""

from __future__ import annotations

import numpy as np
import torch

from moorelens.policies.base import to_input
from moorelens.saliency.baselines import other
from moorelens.saliency.differential.analysis import BranchSaliency, Scene, proof_of
from moorelens.saliency.differential.branches import BranchPairs
from moorelens.saliency.differential.config import DifferentialConfig
from moorelens.saliency.explainer import Explainer
from moorelens.saliency.policy_scores import action_score, value_score


def attributed_branches(
    scene: Scene, pairs: BranchPairs, explainer: Explainer, *, score: str, config: DifferentialConfig
) -> BranchSaliency:
    """Explain each observation of the pairs by `explainer`, with that of the other branch as its baseline.

    `score`: `action`, the margin of the action that the branch took, or `value`; of the policy itself, from its own
    memory before the step (`scene.hidden`). The record is that of differential saliency, so that methods compare.
    Raises what the explainer raises, PolicyError where a value is asked for and there is none.
    """
    rows, opposite, _ = pairs.both_ways()
    assert scene.hidden is not None, "scores of a policy need its memories"
    hidden = scene.hidden[torch.from_numpy(rows)]
    policy = scene.network.policy
    actions = torch.from_numpy(scene.traces.actions[rows].astype(np.int64))
    fn = action_score(policy, actions, hidden=hidden, space="margin")
    fn = value_score(policy, hidden=hidden) if score == "value" else fn
    x, baseline = (to_input(scene.observations[part]) for part in (rows, opposite))
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
