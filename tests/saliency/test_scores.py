"""Scores: one number a row, bound to rows, of classes, actions, values, distances, hidden units and code digits."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from moorelens.errors import OptionError, PolicyError
from moorelens.saliency.policy_scores import (
    action_score,
    code_score,
    distance_score,
    joint_score,
    policy_step,
    sarfa_score,
    value_score,
)
from moorelens.saliency.scores import class_score, latent_score, select_rows
from tests.saliency.models import images, small_cnn, small_policy


def test_a_class_score_is_what_its_space_says() -> None:
    model, x = small_cnn(), images(3)
    logits, target = model(x).detach(), torch.tensor([0, 3, 1])
    rows = torch.arange(3)
    assert torch.equal(class_score(model, target, space="logit")(x), logits[rows, target])
    assert torch.allclose(class_score(model, target)(x), logits.softmax(1)[rows, target])
    assert torch.allclose(class_score(model, target, space="logprob")(x), logits.log_softmax(1)[rows, target])
    for row, wanted in enumerate(target):
        others = [float(logits[row, k]) for k in range(4) if k != wanted]
        margin = class_score(model, target, space="margin")(x)[row].detach()
        assert float(margin) == pytest.approx(float(logits[row, wanted]) - max(others), abs=1e-6)


def test_rows_choose_their_own_target_and_a_plain_function_has_nothing_to_choose() -> None:
    model, x = small_cnn(), images(2)
    score = class_score(model, torch.tensor([0, 3]), space="logit")
    rows = torch.tensor([1, 0, 1])
    assert torch.allclose(select_rows(score, rows)(x[rows]), model(x)[rows, torch.tensor([3, 0, 3])], atol=1e-6)

    def plain(points: torch.Tensor) -> torch.Tensor:
        return points.sum(dim=(1, 2, 3))

    assert select_rows(plain, rows) is plain


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: class_score(small_cnn(), 4)(images()), "0 to 3"),
        (lambda: class_score(small_cnn(), torch.tensor([0, 1, 2]))(images(2)), "select"),
        (lambda: class_score(nn.Sequential(nn.Dropout(), small_cnn()).train(), 0), "call model.eval"),
        (lambda: class_score(nn.Identity().eval(), 0)(images()), "one row of numbers"),
        (lambda: latent_score(small_cnn(), 0, layer="nowhere"), "'nowhere' is not"),
        (lambda: action_score(small_policy(), 0, hidden=torch.zeros(1, 5)), "H = 6"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_sentence(build, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(OptionError, match=words):
        build()


def test_a_hidden_channel_is_averaged_over_its_pixels() -> None:
    model, x = small_cnn(inplace=True), images(2)
    found = latent_score(model, 5, layer="2")(x)
    wanted = model[2](torch.relu(model[0](x)))[:, 5].mean(dim=(1, 2))
    assert torch.allclose(found, wanted)
    assert not model[2]._forward_hooks


def test_policy_scores_are_those_of_one_step_from_the_given_state() -> None:
    policy = small_policy()
    generator = torch.Generator().manual_seed(1)
    x, hidden = torch.randn(3, 4, generator=generator), torch.randn(3, 6, generator=generator)
    kept = hidden.clone()
    logits, value, state = policy_step(policy, x, hidden)
    assert value is not None
    actions = torch.tensor([2, 0, 1])
    assert torch.allclose(action_score(policy, actions, hidden=hidden)(x), logits[torch.arange(3), actions])
    assert torch.allclose(value_score(policy, hidden=hidden)(x), value)
    assert not torch.allclose(value_score(policy)(x), value), "without a state the initial one is used"
    assert torch.allclose(code_score(policy, lambda f: 2 * f, 4, hidden=hidden)(x), 2 * policy.features(x)[:, 4])
    of_state = code_score(policy, torch.tanh, 4, hidden=hidden, level="state")
    assert torch.allclose(of_state(x), state[:, 4].tanh())
    joint = joint_score(action_score(policy, actions, hidden=hidden), (4,))
    assert torch.allclose(joint(torch.cat([x, hidden], dim=1)), logits[torch.arange(3), actions])
    assert torch.equal(hidden, kept)


def test_a_bound_state_is_a_copy() -> None:
    policy, hidden = small_policy(), torch.ones(1, 6)
    score, x = value_score(policy, hidden=hidden), torch.ones(1, 4)
    before = score(x).clone()
    hidden.zero_()
    assert torch.equal(score(x), before)


@pytest.mark.parametrize("kind", ["half_sq", "value_half_sq", "kl", "tv"])
def test_a_distance_is_zero_at_its_reference_and_negative_elsewhere(kind) -> None:  # type: ignore[no-untyped-def]
    policy = small_policy()
    x, far = torch.randn(2, 2, 4, generator=torch.Generator().manual_seed(0))
    score = distance_score(policy, x, kind=kind)
    assert torch.allclose(score(x), torch.zeros(2), atol=1e-7)
    assert (score(far) < 0).all()
    if kind == "half_sq":
        start = policy.initial_state(2)
        wanted = -0.5 * (policy_step(policy, x, start)[0] - policy_step(policy, far, start)[0]).square().sum(1)
        assert torch.allclose(score(far), wanted)


def test_sarfa_follows_its_definition_written_out() -> None:
    policy = small_policy()
    x, changed = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(2))
    action = torch.tensor([0, 1, 2, 0, 1])
    found = -sarfa_score(policy, x, action)(changed).detach()
    before = policy_step(policy, x, policy.initial_state(5))[0].detach()
    after = policy_step(policy, changed, policy.initial_state(5))[0].detach()
    for row in range(5):
        a = int(action[row])
        p, q = before[row].softmax(0), after[row].softmax(0)
        rest = [k for k in range(3) if k != a]
        old, new = p[rest] / p[rest].sum(), q[rest] / q[rest].sum()
        fall, relevance = max(float(p[a] - q[a]), 0.0), 1 / (1 + float((new * (new / old).log()).sum()))
        assert float(found[row]) == pytest.approx(2 * relevance * fall / (relevance + fall), abs=1e-6)
    assert (found > 0).any() and (found == 0).any()


def test_a_policy_without_a_value_cannot_be_asked_for_it() -> None:
    policy = copy.deepcopy(small_policy())
    policy.critic = None
    with pytest.raises(PolicyError, match="returns None"):
        value_score(policy)(torch.zeros(1, 4))
