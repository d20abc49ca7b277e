"""Frames of a game: what they are, and that the score of each is that of the action that was taken."""

from __future__ import annotations

import pytest
import torch

from moorelens.errors import OptionError
from moorelens.saliency.baselines import gaussian_blur
from moorelens.saliency.images.frames import game_frames
from moorelens.saliency.policy_scores import policy_step
from moorelens.saliency.registry import make_explainer


def test_frames_of_pong_carry_memory_and_action() -> None:
    frames = game_frames("zoo:pong", count=4, max_steps=60)
    assert frames.x.shape == (4, 1, 80, 80) and frames.x.min() >= 0 and 0.9 < frames.x.max() <= 1
    assert frames.steps[0] == 0 and (frames.steps.diff() > 0).all()
    assert len({frame.numpy().tobytes() for frame in frames.x}) == 4, "frames are distinct"
    assert torch.equal(frames.hidden[:1], frames.policy.initial_state(1)) and not (frames.hidden[1:] == 0).all()
    with torch.no_grad():
        logits = policy_step(frames.policy, frames.x, frames.hidden)[0]
        score = frames.score()(frames.x)
    assert torch.equal(logits.argmax(dim=1), frames.actions), "each frame's memory is its own"
    assert torch.allclose(score, logits.softmax(dim=1).amax(dim=1))
    assert all(name in frames.policy.spec.action_names for name in frames.action_names)
    found = make_explainer("integrated_gradients", steps=8).attribute(
        frames.x, frames.score(space="logit"), gaussian_blur()
    )
    assert found.values.shape == (4, 80, 80) and found.values.isfinite().all()


def test_a_policy_that_sees_no_image_is_refused() -> None:
    with pytest.raises(OptionError, match="zoo:pong"):
        game_frames("zoo:cartpole")
